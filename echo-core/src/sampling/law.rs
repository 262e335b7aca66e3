//! The law itself, slow and obvious. Backends have faster forms that must give the same token.

use super::noise::gumbel;
use super::spec::{SampleView, TokenEdit};
use crate::id::Token;
use crate::verdict::Verdicts;
use std::cmp::Ordering;

/// Buffers of [`sample_row`], kept between calls so that it allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    logits: Vec<f32>,
    order: Vec<Token>,
}

impl Scratch {
    /// Room for a vocabulary of `vocab` tokens.
    pub fn with_capacity(vocab: usize) -> Self {
        Scratch { logits: Vec::with_capacity(vocab), order: Vec::with_capacity(vocab) }
    }
}

/// Answers row `i` of a forward from its raw `logits`, `[vocab]`.
pub fn sample_row(
    logits: &[f32],
    sample: SampleView<'_>,
    i: usize,
    scratch: &mut Scratch,
    verdicts: &mut Verdicts,
) {
    let spec = &sample.specs[i];
    if logits.iter().any(|l| l.is_nan() || *l == f32::INFINITY) {
        verdicts.faulty[i] = true;
        return;
    }
    let processed = &mut scratch.logits;
    processed.clear();
    processed.extend_from_slice(logits);
    edit(logits, sample.edits_of(i), processed);
    edit(logits, sample.path_edits_of(i), processed);
    let best = argmax(processed);
    if processed[best as usize] == f32::NEG_INFINITY {
        verdicts.faulty[i] = true;
        return;
    }
    verdicts.token[i] = if spec.temperature == 0.0 {
        best
    } else {
        for l in processed.iter_mut() {
            *l /= spec.temperature;
        }
        truncate(processed, spec.min_p, spec.top_k as usize, spec.top_p, &mut scratch.order);
        let noisy = |&v: &Token| processed[v as usize] + gumbel(spec.seed, spec.position, v);
        let first = |a: &Token, b: &Token| {
            noisy(a).partial_cmp(&noisy(b)).unwrap_or(Ordering::Equal).then(b.cmp(a))
        };
        scratch.order.iter().copied().max_by(first).unwrap_or(best)
    };
    if let Some(alternatives) = spec.logprobs {
        log_probs(logits, i, alternatives as usize, &mut scratch.order, verdicts);
    }
}

/// Applies each edit to the raw logit; later calls override earlier ones token by token.
fn edit(raw: &[f32], edits: &[TokenEdit], processed: &mut [f32]) {
    for e in edits {
        processed[e.token as usize] = e.apply(raw[e.token as usize]);
    }
}

/// The highest logit, the lowest id among equals.
fn argmax(logits: &[f32]) -> Token {
    let mut best = 0;
    for (v, &l) in logits.iter().enumerate() {
        if l > logits[best] {
            best = v;
        }
    }
    best as Token
}

/// Leaves in `order` the tokens that min-p, top-k and top-p keep, likeliest first.
fn truncate(logits: &[f32], min_p: f32, top_k: usize, top_p: f32, order: &mut Vec<Token>) {
    let likeliest = |a: &Token, b: &Token| descending(logits, *a, *b);
    let max = logits[argmax(logits) as usize];
    let floor = if min_p > 0.0 { max + min_p.ln() } else { f32::NEG_INFINITY };
    order.clear();
    let possible = (0..logits.len() as Token).filter(|&v| {
        let l = logits[v as usize];
        l > f32::NEG_INFINITY && l >= floor
    });
    order.extend(possible);
    order.sort_unstable_by(likeliest);
    if top_k > 0 {
        order.truncate(top_k);
    }
    if top_p < 1.0 {
        let mass = |v: Token| f64::from(logits[v as usize] - max).exp();
        // Summed in order of id, so that a backend need not sort the vocabulary for it.
        order.sort_unstable();
        let wanted = f64::from(top_p) * order.iter().map(|&v| mass(v)).sum::<f64>();
        order.sort_unstable_by(likeliest);
        let mut reached = 0.0;
        let cut = order.iter().position(|&v| {
            reached += mass(v);
            reached >= wanted
        });
        order.truncate(cut.map_or(order.len(), |last| last + 1));
    }
}

fn descending(logits: &[f32], a: Token, b: Token) -> Ordering {
    let (a_logit, b_logit) = (logits[a as usize], logits[b as usize]);
    // No NaN gets here, and -0 equals 0.
    b_logit.partial_cmp(&a_logit).unwrap_or(Ordering::Equal).then(a.cmp(&b))
}

/// Log-probabilities under the softmax of the raw logits.
fn log_probs(
    logits: &[f32],
    i: usize,
    alternatives: usize,
    order: &mut Vec<Token>,
    verdicts: &mut Verdicts,
) {
    let max = logits[argmax(logits) as usize];
    let sum = logits.iter().map(|l| f64::from(l - max).exp()).sum::<f64>();
    let log_prob = |v: Token| (f64::from(logits[v as usize] - max) - sum.ln()) as f32;
    verdicts.log_prob[i] = log_prob(verdicts.token[i]);
    order.clear();
    order.extend(0..logits.len() as Token);
    order.sort_unstable_by(|a, b| descending(logits, *a, *b));
    let listed = alternatives.min(verdicts.top_stride).min(order.len());
    for (k, &v) in order[..listed].iter().enumerate() {
        verdicts.top[i * verdicts.top_stride + k] = (v, log_prob(v));
    }
    verdicts.top_len[i] = listed as u32;
}

#[cfg(test)]
mod tests {
    use super::super::spec::SampleSpec;
    use super::*;

    fn answer(logits: &[f32], spec: SampleSpec, edits: &[TokenEdit]) -> Verdicts {
        let mut verdicts = Verdicts::with_capacity(1, 3);
        verdicts.reset(1);
        let sample = SampleView { specs: &[spec], edits };
        sample_row(logits, sample, 0, &mut Scratch::default(), &mut verdicts);
        verdicts
    }

    fn edit(token: Token, bias: f32, repetition: f32, penalty: f32) -> TokenEdit {
        TokenEdit { token, bias, repetition, penalty }
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        assert_eq!(answer(&[1.0, 3.0, 3.0], SampleSpec::GREEDY, &[]).token, [1]);
        assert_eq!(answer(&[-0.0, 0.0], SampleSpec::GREEDY, &[]).token, [0]);
    }

    #[test]
    fn edits_apply_in_order_and_the_path_replaces_the_text() {
        let edits =
            [edit(1, f32::NEG_INFINITY, 1.0, 0.0), edit(2, 1.0, 2.0, 0.5), edit(2, 0.0, 1.0, 9.0)];
        let text = SampleSpec { edits: (0, 2), ..SampleSpec::GREEDY };
        // Token 1 is forbidden; token 2 becomes (3 + 1) / 2 - 0.5 = 1.5 and beats 1.
        assert_eq!(answer(&[1.0, 9.0, 3.0], text, &edits).token, [2]);
        let path = SampleSpec { path_edits: (2, 3), ..text };
        assert_eq!(answer(&[1.0, 9.0, 3.0], path, &edits).token, [0]);
    }

    #[test]
    fn truncation_keeps_what_it_says() {
        let logits = [0.0, 2.0, 1.0, 2.0];
        let kept = |min_p, top_k, top_p| {
            let mut order = Vec::new();
            truncate(&logits, min_p, top_k, top_p, &mut order);
            order
        };
        assert_eq!(kept(0.0, 0, 1.0), [1, 3, 2, 0]);
        assert_eq!(kept(0.0, 1, 1.0), [1]);
        assert_eq!(kept(0.2, 0, 1.0), [1, 3, 2]);
        assert_eq!(kept(0.0, 0, 0.35), [1]);
        assert_eq!(kept(0.0, 0, 0.5), [1, 3]);
    }

    #[test]
    fn the_law_is_the_softmax() {
        let logits: [f32; 4] = [0.3, -1.0, 1.2, 0.0];
        let temperature = 0.8;
        let weights = logits.map(|l| f64::from(l / temperature).exp());
        let total: f64 = weights.iter().sum();
        let n = 200_000;
        let mut counts = [0u32; 4];
        for position in 0..n {
            let spec = SampleSpec { seed: 11, position, temperature, ..SampleSpec::GREEDY };
            counts[answer(&logits, spec, &[]).token[0] as usize] += 1;
        }
        let chi2: f64 = (0..4)
            .map(|v| {
                let expected = weights[v] / total * f64::from(n);
                (f64::from(counts[v]) - expected).powi(2) / expected
            })
            .sum();
        // 3 degrees of freedom: P(chi2 > 43) is about 2.4e-9.
        assert!(chi2 < 43.0, "chi2 {chi2}, counts {counts:?}");
    }

    #[test]
    fn faulty_rows_are_marked() {
        for bad in [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            assert!(answer(&bad, SampleSpec::GREEDY, &[]).faulty[0], "{bad:?}");
        }
        let ban = [edit(0, f32::NEG_INFINITY, 1.0, 0.0)];
        let spec = SampleSpec { edits: (0, 1), ..SampleSpec::GREEDY };
        assert!(answer(&[1.0], spec, &ban).faulty[0]);
    }

    #[test]
    fn log_probs_are_of_the_raw_law() {
        let spec = SampleSpec { logprobs: Some(2), ..SampleSpec::GREEDY };
        let verdicts = answer(&[0.0, 0.0], spec, &[]);
        assert!((verdicts.log_prob[0] + std::f32::consts::LN_2).abs() < 1e-6);
        assert_eq!(verdicts.top_of(0).iter().map(|t| t.0).collect::<Vec<_>>(), [0, 1]);
        assert!(answer(&[0.0, 0.0], SampleSpec::GREEDY, &[]).log_prob[0].is_nan());
    }
}
