//! How one row is sampled: plain numbers that a device can read.

use crate::id::Token;

/// A change to one token's logit, before temperature.
///
/// `l := l + bias`; then `l := l / repetition` if `l > 0` else `l * repetition`; then
/// `l := l - penalty`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenEdit {
    /// The token meant.
    pub token: Token,
    /// Logit bias; −∞ forbids the token.
    pub bias: f32,
    /// Repetition penalty, 1 for none.
    pub repetition: f32,
    /// Frequency and presence penalties together, 0 for none.
    pub penalty: f32,
}

impl TokenEdit {
    /// The logit after this edit.
    pub fn apply(&self, logit: f32) -> f32 {
        let biased = logit + self.bias;
        let repeated =
            if biased > 0.0 { biased / self.repetition } else { biased * self.repetition };
        repeated - self.penalty
    }
}

/// How one row is sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleSpec {
    /// Seed of the request's noise.
    pub seed: u64,
    /// Absolute position of the token to be committed: the row's position + 1.
    pub position: u32,
    /// 0 takes the likeliest token; otherwise positive and finite.
    pub temperature: f32,
    /// Keep this many likeliest tokens; 0 keeps all.
    pub top_k: u32,
    /// Keep the smallest set of likeliest tokens with at least this mass; 1 keeps all.
    pub top_p: f32,
    /// Drop tokens less likely than this times the likeliest; 0 keeps all.
    pub min_p: f32,
    /// `edits[start..end]` that hold for the sequence's committed text.
    pub edits: (u32, u32),
    /// `edits[start..end]` that replace those above for tokens on the row's drafted path.
    pub path_edits: (u32, u32),
    /// Alternatives to list beside the token's log-probability; `None` computes neither.
    pub logprobs: Option<u32>,
}

impl SampleSpec {
    /// The likeliest token and nothing else.
    pub const GREEDY: SampleSpec = SampleSpec {
        seed: 0,
        position: 0,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        edits: (0, 0),
        path_edits: (0, 0),
        logprobs: None,
    };
}

/// How each sampled row of a forward is sampled.
#[derive(Clone, Copy, Debug)]
pub struct SampleView<'a> {
    /// One per entry of [`PackedView::sampled`](crate::PackedView::sampled).
    pub specs: &'a [SampleSpec],
    /// Shared by all rows. The edits of one range name each token once.
    pub edits: &'a [TokenEdit],
}

impl<'a> SampleView<'a> {
    /// The edits of the sequence's text that apply to row `i`.
    pub fn edits_of(&self, i: usize) -> &'a [TokenEdit] {
        let (start, end) = self.specs[i].edits;
        &self.edits[start as usize..end as usize]
    }

    /// The edits of the drafted path that apply to row `i`.
    pub fn path_edits_of(&self, i: usize) -> &'a [TokenEdit] {
        let (start, end) = self.specs[i].path_edits;
        &self.edits[start as usize..end as usize]
    }
}
