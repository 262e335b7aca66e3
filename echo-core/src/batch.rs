//! The live sequences, as drafters see them.

use crate::id::{Slot, Token};

/// What a drafter may read of the live sequences. Flat, one stride per place in the batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchView<'a> {
    /// Tokens of each place, `[seqs_max, stride]`; only the first `n_tokens[seq]` are meaningful.
    pub tokens: &'a [Token],
    /// KV slots of each place by position, `[seqs_max, stride]`; only the first `n_cached[seq]` are
    /// meaningful.
    pub slots: &'a [Slot],
    /// Distance between two places in `tokens` and `slots`.
    pub stride: usize,
    /// Tokens of the sequence, prompt and committed, `[seqs_max]`; 0 where no sequence lives.
    pub n_tokens: &'a [u32],
    /// Leading tokens whose keys and values the target holds, `[seqs_max]`.
    pub n_cached: &'a [u32],
    /// Seed of the request's noise, `[seqs_max]`, for drafting aligned with the target's sample.
    pub seed: &'a [u64],
    /// Temperature of the request, `[seqs_max]`.
    pub temperature: &'a [f32],
}

impl<'a> BatchView<'a> {
    /// All tokens of `seq`: the prompt and what was committed since.
    pub fn tokens(&self, seq: u32) -> &'a [Token] {
        let start = seq as usize * self.stride;
        &self.tokens[start..start + self.n_tokens[seq as usize] as usize]
    }

    /// The KV slots of the cached tokens of `seq`, by position.
    pub fn slots(&self, seq: u32) -> &'a [Slot] {
        let start = seq as usize * self.stride;
        &self.slots[start..start + self.n_cached[seq as usize] as usize]
    }
}
