//! The fast form of [`sample_rows`](crate::reference::sample_rows()): rows in parallel, and no
//! vocabulary is sorted.
//!
//! Gives exactly the tokens and log-probabilities of [`echo_core::sampling`]. One pass finds the
//! best logit and whether the row is sound; at temperature 0 that is nearly all. Otherwise
//! [`Candidates`] holds the few tokens that truncation keeps, or noise is drawn only where it could
//! still make a token win.

use super::Fast;
use super::candidates::Candidates;
use crate::area::Area;
use crate::linear::Isa;
use echo_core::sampling::{SampleSpec, SampleView, gumbel, gumbel_max, philox};
use echo_core::{Token, TokenEdit, Verdicts};
use parking_lot::Mutex;

/// Rows for which each thread takes room at its first call.
const ROWS_USUAL: usize = 1024;

/// What each thread keeps between calls.
pub(super) struct Scratch {
    workers: Vec<Mutex<Worker>>,
}

#[derive(Default)]
struct Worker {
    processed: Vec<f32>,
    candidates: Candidates,
    verdicts: Verdicts,
}

impl Scratch {
    pub(super) fn new(threads: usize) -> Self {
        Scratch { workers: (0..threads).map(|_| Mutex::default()).collect() }
    }
}

impl Fast {
    pub(crate) fn sample_rows(
        &self,
        logits: &[f32],
        area: Area,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) {
        let rows = sample.specs.len();
        let workers = &self.sampling.workers;
        let share =
            |worker: usize| worker * rows / workers.len()..(worker + 1) * rows / workers.len();
        let stride = verdicts.top_stride;
        let isa = self.isa;
        self.pool.run(workers.len(), &|w| {
            let worker = &mut *workers[w].lock();
            let rows = share(w);
            worker.begin(rows.len(), stride);
            for (i, row) in rows.enumerate() {
                let logits = &logits[area.at(row, 0)..area.at(row, area.width)];
                worker.answer(isa, logits, sample, row, i);
            }
        });
        verdicts.reset(rows);
        for (w, worker) in workers.iter().enumerate() {
            copy(&worker.lock().verdicts, share(w).start, verdicts);
        }
    }
}

impl Worker {
    /// Room for the answers of `rows` rows, all blank.
    fn begin(&mut self, rows: usize, top_stride: usize) {
        if self.verdicts.top_stride != top_stride || self.verdicts.token.capacity() < rows {
            self.verdicts = Verdicts::with_capacity(rows.max(ROWS_USUAL), top_stride);
        }
        self.verdicts.reset(rows);
    }

    /// Answers row `row` of the forward, the `i`-th of this thread.
    fn answer(&mut self, isa: Isa, logits: &[f32], sample: SampleView<'_>, row: usize, i: usize) {
        let spec = &sample.specs[row];
        let (edits, path_edits) = (sample.edits_of(row), sample.path_edits_of(row));
        let (raw_max, is_sound) = scan(logits);
        if !is_sound {
            self.verdicts.faulty[i] = true;
            return;
        }
        let is_greedy = spec.temperature == 0.0;
        let edited = !(edits.is_empty() && path_edits.is_empty());
        let (processed, max) = if edited || !(is_greedy || spec.temperature == 1.0) {
            process(logits, edits, path_edits, spec, &mut self.processed);
            (&self.processed[..], scan(&self.processed).0)
        } else {
            (logits, raw_max)
        };
        if max == f32::NEG_INFINITY {
            self.verdicts.faulty[i] = true;
            return;
        }
        let truncated = spec.min_p > 0.0 || spec.top_k > 0 || spec.top_p < 1.0;
        self.verdicts.token[i] = if is_greedy {
            first(processed, max)
        } else if truncated {
            let kept = self.candidates.keep(isa, processed, max, spec);
            noisiest_of(kept, processed, spec).unwrap_or_else(|| first(processed, max))
        } else {
            noisiest(processed, first(processed, max), spec)
        };
        if let Some(alternatives) = spec.logprobs {
            self.log_probs(logits, raw_max, i, alternatives as usize);
        }
    }

    /// Log-probabilities under the softmax of the raw logits.
    fn log_probs(&mut self, logits: &[f32], max: f32, i: usize, alternatives: usize) {
        let verdicts = &mut self.verdicts;
        let sum = logits.iter().map(|l| f64::from(l - max).exp()).sum::<f64>();
        let log_prob = |v: Token| (f64::from(logits[v as usize] - max) - sum.ln()) as f32;
        verdicts.log_prob[i] = log_prob(verdicts.token[i]);
        let listed = alternatives.min(verdicts.top_stride).min(logits.len());
        let best = self.candidates.best(logits, max, listed);
        for (k, &v) in best.iter().enumerate() {
            verdicts.top[i * verdicts.top_stride + k] = (v, log_prob(v));
        }
        verdicts.top_len[i] = listed as u32;
    }
}

/// The highest logit, and whether none is NaN or +∞.
fn scan(logits: &[f32]) -> (f32, bool) {
    let mut max = [f32::NEG_INFINITY; 16];
    let mut sound = [true; 16];
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for lane in 0..16 {
            sound[lane] &= chunk[lane] < f32::INFINITY;
            max[lane] = max[lane].max(chunk[lane]);
        }
    }
    let all_sound = sound.iter().all(|&s| s) && rest.iter().all(|&l| l < f32::INFINITY);
    let max = max.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    (max, all_sound)
}

/// The first token with the highest logit.
fn first(logits: &[f32], max: f32) -> Token {
    logits.iter().position(|&l| l == max).expect("the maximum is there") as Token
}

/// Raw logits after the edits and the temperature.
fn process(
    logits: &[f32],
    edits: &[TokenEdit],
    path_edits: &[TokenEdit],
    spec: &SampleSpec,
    processed: &mut Vec<f32>,
) {
    processed.clear();
    processed.extend_from_slice(logits);
    for edit in edits.iter().chain(path_edits) {
        processed[edit.token as usize] = edit.apply(logits[edit.token as usize]);
    }
    if spec.temperature != 0.0 {
        for l in processed.iter_mut() {
            *l /= spec.temperature;
        }
    }
}

/// The winner of `processed + noise` over the whole vocabulary.
///
/// Four neighbouring tokens share a block of random bits. The bits alone rule most tokens out;
/// noise is worked out for those that are left.
fn noisiest(processed: &[f32], best: Token, spec: &SampleSpec) -> Token {
    let noise = |v: Token| gumbel(spec.seed, spec.position, v);
    let key = [spec.seed as u32, (spec.seed >> 32) as u32];
    let bound = gumbel_max();
    let mut won = (best, processed[best as usize] + noise(best));
    for (block, logits) in processed.chunks(4).enumerate() {
        if logits.iter().all(|l| l + bound < won.1) {
            continue;
        }
        let bits = philox([block as u32, spec.position, 0, 0], key);
        for (i, (&l, bits)) in logits.iter().zip(bits).enumerate() {
            if l > f32::NEG_INFINITY && may_reach(bits, won.1 - l) {
                let v = (4 * block + i) as Token;
                won = wins(won, v, l + noise(v));
            }
        }
    }
    won.0
}

/// The winner of `processed + noise` among `kept`, likeliest first.
fn noisiest_of(kept: &[Token], processed: &[f32], spec: &SampleSpec) -> Option<Token> {
    let bound = gumbel_max();
    let mut won: Option<(Token, f32)> = None;
    for &v in kept {
        let l = processed[v as usize];
        if won.is_some_and(|won| l + bound < won.1) {
            break;
        }
        let value = l + gumbel(spec.seed, spec.position, v);
        won = Some(won.map_or((v, value), |won| wins(won, v, value)));
    }
    won.map(|won| won.0)
}

/// Whether noise from `bits` may be as large as `wanted`; never wrong when it says no.
///
/// Noise `-ln(-ln(1 - u))` reaches `w` only if `u <= e^-w`, so only if the bits are below
/// `2^32 e^-w`. The bound is taken at the next whole power of two, a hundredth further out than
/// rounding needs.
fn may_reach(bits: u32, wanted: f32) -> bool {
    let powers = wanted * std::f32::consts::LOG2_E - 0.01;
    powers <= 0.0 || u64::from(bits) >> (32 - (powers as u32).min(32)) == 0
}

/// The better of two tokens, the lower id among equals.
fn wins(won: (Token, f32), v: Token, value: f32) -> (Token, f32) {
    if value > won.1 || (value == won.1 && v < won.0) { (v, value) } else { won }
}

/// Puts the answers of one thread in their place among all.
fn copy(from: &Verdicts, first: usize, into: &mut Verdicts) {
    let rows = first..first + from.len();
    into.token[rows.clone()].copy_from_slice(&from.token);
    into.log_prob[rows.clone()].copy_from_slice(&from.log_prob);
    into.faulty[rows.clone()].copy_from_slice(&from.faulty);
    into.top_len[rows.clone()].copy_from_slice(&from.top_len);
    into.top[rows.start * from.top_stride..rows.end * from.top_stride].copy_from_slice(&from.top);
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::sampling::{self, sample_row};

    /// Logits with ties, zeros of both signs and −∞ among them.
    fn logits(seed: u32, vocab: usize) -> Vec<f32> {
        let draw = |v: usize| philox([v as u32, seed, 0, 0], [1, 2]);
        let value = |v: usize| {
            let [kind, bits, ..] = draw(v);
            match kind % 20 {
                0 => f32::NEG_INFINITY,
                1 => 0.0,
                2 => -0.0,
                3 => 2.5,
                _ => (f64::from(bits) / f64::from(u32::MAX) * 24.0 - 18.0) as f32,
            }
        };
        (0..vocab).map(value).collect()
    }

    fn specs(seed: u32) -> Vec<SampleSpec> {
        let pick = |i: usize, n: usize| philox([i as u32, seed, 9, 9], [3, 4])[0] as usize % n;
        let spec = |i: usize| SampleSpec {
            seed: u64::from(seed),
            position: i as u32,
            temperature: [0.0, 0.3, 1.0, 2.0][pick(i, 4)],
            top_k: [0, 0, 1, 7, 5000][pick(i + 100, 5)],
            top_p: [1.0, 0.9, 0.5, 0.2, 1e-6][pick(i + 200, 5)],
            min_p: [0.0, 0.0, 0.1, 1.0][pick(i + 300, 4)],
            edits: [(0, 0), (0, 3)][pick(i + 400, 2)],
            path_edits: [(0, 0), (3, 5)][pick(i + 500, 2)],
            logprobs: [None, Some(0), Some(4)][pick(i + 600, 3)],
        };
        (0..40).map(spec).collect()
    }

    #[test]
    fn answers_are_those_of_the_law() {
        let edit =
            |token, bias, repetition, penalty| TokenEdit { token, bias, repetition, penalty };
        let edits = [
            edit(1, f32::NEG_INFINITY, 1.0, 0.0),
            edit(2, 9.0, 1.5, 0.5),
            edit(5, 0.0, 0.7, 0.0),
            edit(2, 0.0, 1.0, 3.0),
            edit(6, 30.0, 1.0, 0.0),
        ];
        let mut worker = Worker::default();
        for seed in 0..300 {
            let vocab = [17, 100, 1000][seed as usize % 3];
            let specs = specs(seed);
            let sample = SampleView { specs: &specs, edits: &edits };
            worker.begin(specs.len(), 3);
            let mut law = Verdicts::with_capacity(specs.len(), 3);
            law.reset(specs.len());
            for i in 0..specs.len() {
                let mut logits = logits(seed + i as u32 * 1000, vocab);
                match i {
                    7 => logits[3] = f32::NAN,
                    8 => logits[16] = f32::INFINITY,
                    9 => logits.fill(f32::NEG_INFINITY),
                    10 => logits.fill(1.0),
                    _ => {}
                }
                let isas = Isa::available();
                worker.answer(isas[i % isas.len()], &logits, sample, i, i);
                sample_row(&logits, sample, i, &mut sampling::Scratch::default(), &mut law);
            }
            let bits = |v: &Verdicts| v.log_prob.iter().map(|lp| lp.to_bits()).collect::<Vec<_>>();
            assert_eq!(worker.verdicts.token, law.token, "seed {seed}");
            assert_eq!(worker.verdicts.faulty, law.faulty, "seed {seed}");
            assert_eq!(bits(&worker.verdicts), bits(&law), "seed {seed}");
            assert_eq!(worker.verdicts.top, law.top, "seed {seed}");
            assert_eq!(worker.verdicts.top_len, law.top_len, "seed {seed}");
        }
        // The noise of a neighbouring position must show, else the comparison proves nothing.
        let hot = |position| SampleSpec { temperature: 2.0, position, ..SampleSpec::GREEDY };
        let logits = logits(1, 1000);
        let differ =
            (0..50).filter(|&p| noisiest(&logits, 0, &hot(p)) != noisiest(&logits, 0, &hot(p + 1)));
        assert!(differ.count() > 10);
    }
}
