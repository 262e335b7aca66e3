//! A drafter without a model: what followed the last words the last times they were written.
//!
//! Prompt lookup: the end of a sequence's text, extended by the drafted path, is searched in the
//! sequence's own committed text, and what followed there is proposed. Several occurrences give
//! several children, so copied passages become chains and recurring phrases become trees.
//!
//! The estimate of `P(token | end of the text)` is a smoothed back-off over the length `l` of the
//! match, from `n_min` to `n_max`:
//!
//! ```text
//! p_l(v) = (c_l(v) + k p_{l-1}(v)) / (N_l + k),   p_{n_min - 1}(v) = 0
//! ```
//!
//! where `c_l(v)` is the weight of the occurrences that match at least `l` tokens and go on with
//! `v`, and `N_l` the weight of all that match at least `l`. The mass that is missing from 1 is
//! that of tokens never seen there, so scores of short or contradicting matches are low by
//! themselves.
//!
//! Memory is fixed at start: at most 12 bytes per token of context and place in the batch.

mod drafter;
mod index;
mod tally;

pub use drafter::NgramDrafter;

/// How an [`NgramDrafter`] searches and how much it believes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NgramOptions {
    /// Shortest end of the text that counts as a match, at least 1.
    pub n_min: usize,
    /// Longest end of the text that is compared, from `n_min` to [`NgramOptions::N_MAX`].
    pub n_max: usize,
    /// Latest occurrences looked at for one node, at least 1. The cost of a node is at most in
    /// proportion to `scan_max * n_max`.
    pub scan_max: usize,
    /// Weight of an occurrence relative to the one after it, in (0, 1]; 1 counts all alike.
    pub recency: f32,
    /// The `k` of the smoothing, above 0: how many occurrences the shorter match is worth.
    pub smoothing: f32,
    /// Children less likely than this are not proposed, in [0, 1].
    pub prob_min: f32,
}

impl NgramOptions {
    /// The longest match that can be asked for.
    pub const N_MAX: usize = 16;

    /// Settings that suit text with copied passages; not tuned on any.
    pub fn usual() -> Self {
        NgramOptions {
            n_min: 2,
            n_max: 6,
            scan_max: 32,
            recency: 0.9,
            smoothing: 1.0,
            prob_min: 0.05,
        }
    }

    fn check(&self) {
        let NgramOptions { n_min, n_max, scan_max, recency, smoothing, prob_min } = *self;
        assert!(
            1 <= n_min && n_min <= n_max && n_max <= Self::N_MAX,
            "matches of {n_min}..={n_max} tokens"
        );
        assert!(scan_max >= 1, "no occurrence may be looked at");
        assert!(recency > 0.0 && recency <= 1.0, "recency {recency}");
        assert!(smoothing > 0.0 && smoothing.is_finite(), "k {smoothing}");
        assert!((0.0..=1.0).contains(&prob_min), "prob_min {prob_min}");
    }
}
