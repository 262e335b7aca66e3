//! How many nodes of one level a sequence takes.

use crate::ranking::cost;

/// How many nodes a sequence takes at one depth. The ECHO paper doesn't say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Width {
    /// Its best one: a chain.
    One,
    /// Its best ones, at most this many: the paper's `k`.
    Most(usize),
    /// Those at least `mu` times as likely as the level's best, at most `most` (TALON's rule):
    /// few where the draft is sure, many where it is torn.
    Ratio {
        /// Share of the best path's probability, `0..=1`; 0.03 in TALON.
        mu: f32,
        /// Nodes at most.
        most: usize,
    },
}

impl Width {
    /// How many of a sequence's candidates at one depth, given by their keys, it asks for.
    pub(crate) fn wanted(self, keys: &[u64]) -> usize {
        match self {
            Width::One => 1,
            Width::Most(k) => k,
            Width::Ratio { mu, most } => {
                let score = |key: u64| f32::from_bits(cost(key));
                let best = keys.iter().map(|&key| score(key)).fold(f32::INFINITY, f32::min);
                let bar = best - mu.ln();
                keys.iter().filter(|&&key| score(key) <= bar).count().min(most)
            }
        }
    }
}
