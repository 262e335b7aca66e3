//! The tokens that truncation keeps, found without sorting the vocabulary.
//!
//! Of the tokens near the best logit as many are put in order as are kept. How much probability
//! top-p wants follows from a sum over the whole vocabulary, for which bounds mostly suffice: where
//! both lead to the same cut, the sum of the law does.

use super::mass;
use crate::linear::Isa;
use echo_core::Token;
use echo_core::sampling::SampleSpec;

/// How far below the best logit the first search goes; each further one goes half as far again, and
/// from there on to the end. A search costs a few microseconds, tokens in no need cost more.
const REACH: f32 = 4.0;
const REACH_MAX: f32 = 64.0;
/// Tokens that are put in order at first; each further time four times as many.
const SORTED_FIRST: usize = 32;
/// Logits that are compared at once.
const RUN: usize = 32;

/// Buffers of the search, kept between rows.
#[derive(Default)]
pub(super) struct Candidates {
    /// Tokens near the best with their logits, see [`key`].
    keys: Vec<u64>,
    /// How many of them are in order, and before all others.
    sorted: usize,
    order: Vec<Token>,
}

impl Candidates {
    /// The tokens that min-p, top-k and top-p keep, likeliest first. `max` is the best logit, and
    /// above −∞.
    pub(super) fn keep(
        &mut self,
        isa: Isa,
        logits: &[f32],
        max: f32,
        spec: &SampleSpec,
    ) -> &[Token] {
        // Whatever is asked, −∞ is never kept.
        let floor = if spec.min_p > 0.0 { max + spec.min_p.ln() } else { f32::MIN };
        let floor = floor.max(f32::MIN);
        if spec.top_k > 0 {
            self.likeliest(logits, max, floor, spec.top_k as usize);
        } else if spec.top_p == 1.0 {
            self.gather(logits, floor);
        }
        if spec.top_p == 1.0 {
            self.sort_to(self.keys.len());
        } else if spec.top_k > 0 {
            self.cut_among_kept(logits, max, spec.top_p);
        } else {
            self.nucleus(isa, logits, max, floor, spec.top_p);
        }
        self.tokens()
    }

    /// The `n` best tokens, best first, ties by lowest id. `max` is the best logit.
    pub(super) fn best(&mut self, logits: &[f32], max: f32, n: usize) -> &[Token] {
        self.likeliest(logits, max, f32::NEG_INFINITY, n);
        self.sort_to(self.keys.len());
        self.tokens()
    }

    fn tokens(&mut self) -> &[Token] {
        self.order.clear();
        self.order.extend(self.keys.iter().map(|&key| token(key)));
        &self.order
    }

    /// Gathers the `n` likeliest of the tokens from `floor` on, or all if they are fewer.
    fn likeliest(&mut self, logits: &[f32], max: f32, floor: f32, n: usize) {
        let mut reach = REACH;
        loop {
            let near = (max - reach).max(floor);
            self.gather(logits, near);
            if self.keys.len() >= n || near == floor {
                break;
            }
            reach = further(reach);
        }
        if n < self.keys.len() {
            self.keys.select_nth_unstable(n);
            self.keys.truncate(n);
        }
    }

    /// Cuts those that top-k has kept to the smallest set of the likeliest with mass `top_p`.
    fn cut_among_kept(&mut self, logits: &[f32], max: f32, top_p: f32) {
        self.order.clear();
        self.order.extend(self.keys.iter().map(|&key| token(key)));
        self.order.sort_unstable();
        let sum: f64 = self.order.iter().map(|&v| mass_of(logits, max, v)).sum();
        let wanted = f64::from(top_p) * sum;
        let kept = self.reaching(logits, max, (wanted, wanted), || wanted);
        self.keys.truncate(kept.unwrap_or(self.keys.len()));
    }

    /// Gathers the smallest set of likeliest tokens with mass `top_p`, of those from `floor` on.
    fn nucleus(&mut self, isa: Isa, logits: &[f32], max: f32, floor: f32, top_p: f32) {
        let top_p = f64::from(top_p);
        let possible = |l: &&f32| **l >= floor;
        let exact = || {
            let masses = logits.iter().filter(possible).map(|l| f64::from(l - max).exp());
            top_p * masses.sum::<f64>()
        };
        let (least, most) = if floor > f32::MIN {
            let wanted = exact();
            (wanted, wanted)
        } else {
            let (least, most) = mass::bounds(isa, logits, max);
            (top_p * least, top_p * most)
        };
        let mut reach = REACH;
        loop {
            let near = (max - reach).max(floor);
            self.gather(logits, near);
            if let Some(kept) = self.reaching(logits, max, (least, most), exact) {
                self.keys.truncate(kept);
                return;
            }
            if near == floor {
                return;
            }
            reach = further(reach);
        }
    }

    /// How many of the gathered tokens, likeliest first, reach a mass that lies between two bounds
    /// and is `exact()`, which is asked only if the bounds leave it open; `None` if all do not.
    fn reaching(
        &mut self,
        logits: &[f32],
        max: f32,
        (mut least, mut most): (f64, f64),
        exact: impl Fn() -> f64,
    ) -> Option<usize> {
        let mut reached = 0.0;
        for i in 0..self.keys.len() {
            if i == self.sorted {
                self.sort_to((4 * i).max(SORTED_FIRST));
            }
            reached += mass_of(logits, max, token(self.keys[i]));
            if reached >= least && reached < most {
                least = exact();
                most = least;
            }
            if reached >= least {
                return Some(i + 1);
            }
        }
        None
    }

    /// Puts the `n` likeliest tokens in order.
    fn sort_to(&mut self, n: usize) {
        let rest = &mut self.keys[self.sorted..];
        let more = n.saturating_sub(self.sorted).min(rest.len());
        if more < rest.len() {
            rest.select_nth_unstable(more);
        }
        rest[..more].sort_unstable();
        self.sorted += more;
    }

    /// Gathers the tokens whose logit is at least `near`, in no order.
    fn gather(&mut self, logits: &[f32], near: f32) {
        self.keys.clear();
        self.order.clear();
        // Room for all at once: how many are near differs from row to row.
        self.keys.reserve(logits.len());
        self.order.reserve(logits.len());
        self.sorted = 0;
        for (run, logits) in logits.chunks(RUN).enumerate() {
            // Most runs have none, which is seen faster without a branch for each.
            let mut any = false;
            for &l in logits {
                any |= l >= near;
            }
            if any {
                let ids = (run * RUN) as Token..;
                let found = ids.zip(logits).filter(|&(_, &l)| l >= near);
                self.keys.extend(found.map(|(v, &l)| key(l, v)));
            }
        }
    }
}

fn further(reach: f32) -> f32 {
    if reach < REACH_MAX { 1.5 * reach } else { f32::INFINITY }
}

/// A logit and its token as one number: lower for the likelier token, and of equals for the lower
/// id; −0 equals 0.
fn key(logit: f32, v: Token) -> u64 {
    let bits = (logit + 0.0).to_bits();
    let rising = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    u64::from(!rising) << 32 | u64::from(v)
}

fn token(key: u64) -> Token {
    key as Token
}

/// Probability of `v` relative to that of the best token, as the law takes it.
fn mass_of(logits: &[f32], max: f32, v: Token) -> f64 {
    f64::from(logits[v as usize] - max).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::sampling::philox;
    use std::cmp::Ordering;

    fn draw(i: usize, seed: usize) -> f32 {
        let [bits, ..] = philox([i as u32, seed as u32, 0, 0], [5, 6]);
        (f64::from(bits) / f64::from(u32::MAX)) as f32
    }

    /// Logits of several kinds: steep, flat, equal, with −∞ and zeros of both signs.
    fn logits(seed: usize, vocab: usize) -> Vec<f32> {
        let spread = [30.0, 6.0, 0.5, 0.0][seed % 4];
        let value = |i: usize| match (draw(i, seed + 1000) * 20.0) as u32 {
            0 => f32::NEG_INFINITY,
            1 => 0.0,
            2 => -0.0,
            // Many equals, so that ties fall on cuts.
            3..8 => (draw(i, seed) * spread).floor(),
            _ => draw(i, seed) * spread - 0.4 * spread,
        };
        (0..vocab).map(value).collect()
    }

    /// What is to be kept, as `echo_core::sampling` says it.
    fn slow(logits: &[f32], max: f32, spec: &SampleSpec) -> Vec<Token> {
        let logit = |v: &Token| logits[*v as usize];
        let likeliest = |a: &Token, b: &Token| {
            logit(b).partial_cmp(&logit(a)).unwrap_or(Ordering::Equal).then(a.cmp(b))
        };
        let floor = if spec.min_p > 0.0 { max + spec.min_p.ln() } else { f32::NEG_INFINITY };
        let mut order: Vec<Token> = (0..logits.len() as Token).collect();
        order.retain(|v| logit(v) > f32::NEG_INFINITY && logit(v) >= floor);
        order.sort_by(likeliest);
        if spec.top_k > 0 {
            order.truncate(spec.top_k as usize);
        }
        if spec.top_p < 1.0 {
            let mass = |v: &Token| f64::from(logit(v) - max).exp();
            order.sort_unstable();
            let wanted = f64::from(spec.top_p) * order.iter().map(mass).sum::<f64>();
            order.sort_by(likeliest);
            let mut reached = 0.0;
            let cut = order.iter().position(|v| {
                reached += mass(v);
                reached >= wanted
            });
            order.truncate(cut.map_or(order.len(), |last| last + 1));
        }
        order
    }

    #[test]
    fn what_is_kept_is_what_the_law_keeps() {
        let mut candidates = Candidates::default();
        for seed in 0..400 {
            let logits = logits(seed, [1, 33, 500, 3000][seed / 4 % 4]);
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if max == f32::NEG_INFINITY {
                continue;
            }
            for top_p in [1.0, 0.999_999, 0.9, 0.5, 0.2, 1e-6] {
                for top_k in [0, 1, 7, 200, 5000] {
                    for min_p in [0.0, 1e-30, 0.1, 1.0] {
                        let spec = SampleSpec { top_p, top_k, min_p, ..SampleSpec::GREEDY };
                        let want = slow(&logits, max, &spec);
                        for &isa in Isa::available() {
                            let kept = candidates.keep(isa, &logits, max, &spec);
                            assert_eq!(kept, want, "{isa}, seed {seed}: {spec:?}");
                        }
                    }
                }
            }
            let mut all: Vec<Token> = (0..logits.len() as Token).collect();
            all.sort_by_key(|&v| key(logits[v as usize], v));
            for n in [0, 1, 20, logits.len()] {
                let n = n.min(logits.len());
                assert_eq!(candidates.best(&logits, max, n), &all[..n], "seed {seed}: best {n}");
            }
        }
    }

    #[test]
    fn keys_are_in_the_order_of_the_law() {
        let falling = [9.0, 0.5, 0.0, -0.0, -0.5, -9.0, f32::MIN, f32::NEG_INFINITY];
        for (i, pair) in falling.windows(2).enumerate() {
            let order = key(pair[0], 7).cmp(&key(pair[1], 7));
            let want = if i == 2 { Ordering::Equal } else { Ordering::Less };
            assert_eq!(order, want, "{pair:?}");
        }
        assert!(key(1.0, 3) < key(1.0, 4));
        assert_eq!(token(key(-3.0, 49_151)), 49_151);
    }
}
