//! The law of the simulated model: logits as a hash of all visible tokens and their positions.

use echo_core::Token;
use echo_core::sampling::gumbel;

/// What a simulated model "knows": the same law gives the same logits after the same text.
///
/// The text before a row enters as one rolling digest, so the law of a prefix of `n` tokens costs
/// `n` multiplications and the law of one more token costs one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimLaw {
    /// Stands for the weights: another seed is another model.
    pub seed: u64,
    /// Tokens in the vocabulary, at least 2.
    pub vocab: usize,
    /// Mean distance between the two likeliest logits; about 0.2 is flat, 1 is a wide choice of
    /// words, 6 is nearly certain.
    pub spread: f32,
    /// Share of prefixes, in [0, 1], at which the two likeliest logits are made exactly equal, one
    /// float apart, equal as `0.0` and `-0.0`, or all logits the same.
    pub ties: f32,
}

impl SimLaw {
    /// The digest of the empty text.
    pub fn start(&self) -> u64 {
        mix(0x6563_686F_5349_4D00, self.seed)
    }

    /// The digest of a text with `token` at absolute `position` after a text with `digest`.
    pub fn push(&self, digest: u64, token: Token, position: u32) -> u64 {
        mix(digest, u64::from(token) << 32 | u64::from(position))
    }

    /// The digest of a whole text.
    pub fn digest(&self, tokens: &[Token]) -> u64 {
        let positions = 0u32..;
        tokens
            .iter()
            .zip(positions)
            .fold(self.start(), |digest, (&token, position)| self.push(digest, token, position))
    }

    /// Fills `out`, `[vocab]`, with the raw logits after the text with `digest`.
    pub fn logits(&self, digest: u64, out: &mut [f32]) {
        assert_eq!(out.len(), self.vocab, "one logit per token");
        for (v, logit) in out.iter_mut().enumerate() {
            *logit = -self.spread * unit(mix(digest, v as u64)).ln();
        }
        let draw = mix(digest, u64::MAX);
        if unit(draw) <= self.ties {
            tie(mix(draw, 1), out);
        }
    }

    /// The token a request commits at `position` after the text with `digest`, if it asks for
    /// nothing but `seed` and `temperature`; `scratch` is `[vocab]` and receives the raw logits.
    pub fn next(
        &self,
        digest: u64,
        position: u32,
        seed: u64,
        temperature: f32,
        scratch: &mut [f32],
    ) -> Token {
        self.logits(digest, scratch);
        best_of(scratch, |v| {
            let logit = scratch[v as usize];
            if temperature == 0.0 { logit } else { logit / temperature + gumbel(seed, position, v) }
        })
    }
}

/// The token with the highest value, the lowest id among equals.
fn best_of(tokens: &[f32], value: impl Fn(Token) -> f32) -> Token {
    let mut best = (0, value(0));
    for v in 1..tokens.len() as Token {
        let x = value(v);
        if x > best.1 {
            best = (v, x);
        }
    }
    best.0
}

/// Makes some token as likely as the likeliest, in one of four ways that `draw` chooses.
fn tie(draw: u64, logits: &mut [f32]) {
    let best = best_of(logits, |v| logits[v as usize]) as usize;
    let max = logits[best];
    let other = (best + 1 + (draw >> 8) as usize % (logits.len() - 1)) % logits.len();
    match draw % 4 {
        0 => logits[other] = max,
        1 => logits[other] = max.next_down(),
        2 => {
            for l in logits.iter_mut() {
                *l -= max;
            }
            logits[other] = -0.0;
        }
        _ => logits.fill(max),
    }
}

/// A hash of two words: multiply, fold, multiply.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let x = (a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let y = (x ^ x >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    y ^ y >> 29
}

/// A number in (0, 1] from the upper bits of a hash.
pub(super) fn unit(hash: u64) -> f32 {
    ((hash >> 40) + 1) as f32 / (1u64 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAW: SimLaw = SimLaw { seed: 3, vocab: 32, spread: 1.0, ties: 0.0 };

    fn logits(law: SimLaw, tokens: &[Token]) -> Vec<f32> {
        let mut out = vec![0.0; law.vocab];
        law.logits(law.digest(tokens), &mut out);
        out
    }

    #[test]
    fn everything_seen_matters() {
        let base = logits(LAW, &[1, 2, 3]);
        assert_eq!(base, logits(LAW, &[1, 2, 3]));
        let other_seed = SimLaw { seed: 4, ..LAW };
        for other in [
            logits(LAW, &[2, 1, 3]),
            logits(LAW, &[1, 2]),
            logits(LAW, &[1, 2, 3, 3]),
            logits(LAW, &[0, 2, 3]),
            logits(other_seed, &[1, 2, 3]),
        ] {
            assert_ne!(base, other);
        }
        // The same tokens at other positions are another text.
        assert_ne!(LAW.push(LAW.start(), 5, 0), LAW.push(LAW.start(), 5, 1));
    }

    #[test]
    fn spread_is_the_mean_distance_of_the_best_two() {
        for spread in [0.2, 1.0, 6.0] {
            let law = SimLaw { spread, ..LAW };
            let n = 4000;
            let gaps = (0..n).map(|t| {
                let mut sorted = logits(law, &[t]);
                sorted.sort_by(f32::total_cmp);
                sorted[31] - sorted[30]
            });
            let mean = gaps.sum::<f32>() / n as f32;
            assert!((mean / spread - 1.0).abs() < 0.1, "{mean} for {spread}");
        }
    }

    #[test]
    fn ties_come_in_all_kinds_and_only_when_asked() {
        let tied = |law: SimLaw| {
            let all: Vec<_> = (0..1000).map(|t| logits(law, &[t])).collect();
            let count = |kind: fn(&[f32], f32) -> bool| {
                let is = |l: &&Vec<f32>| kind(l, l.iter().copied().fold(f32::MIN, f32::max));
                all.iter().filter(is).count()
            };
            [
                count(|l, max| l.iter().filter(|&&x| x == max).count() == 2 && max > 0.0),
                count(|l, max| l.contains(&max.next_down())),
                count(|l, max| max == 0.0 && l.iter().any(|x| x.to_bits() == 1 << 31)),
                count(|l, max| l.iter().all(|&x| x == max)),
            ]
        };
        let kinds = tied(SimLaw { ties: 0.5, ..LAW });
        assert!(kinds.iter().all(|n| (80..170).contains(n)), "{kinds:?}");
        assert_eq!(tied(LAW), [0; 4]);
    }

    #[test]
    fn greedy_and_cold_sampling_agree() {
        let mut scratch = vec![0.0; 32];
        let digest = LAW.digest(&[9, 9]);
        let greedy = LAW.next(digest, 2, 1, 0.0, &mut scratch);
        assert_eq!(greedy, LAW.next(digest, 2, 1, 1e-4, &mut scratch));
        let warm: Vec<_> =
            (0..64).map(|seed| LAW.next(digest, 2, seed, 1.0, &mut scratch)).collect();
        assert!(warm.iter().any(|t| *t != warm[0]));
    }
}
