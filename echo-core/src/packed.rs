//! One target forward, laid out as rows.

use crate::id::{Slot, Token};
use std::ops::Range;

/// The rows of one forward, grouped by sequence.
///
/// A sequence's rows are a run of *context rows* (prompt tokens, or tokens to be recomputed), then
/// its *root* (the last committed token) if it decodes in this step, then its *drafted rows*,
/// parents before children. Context rows and the root are committed tokens: they see what precedes
/// them. A drafted row sees the prefix up to the root and its own ancestors, never a sibling.
///
/// A row reads keys and values in ascending order of position: first
/// `table[seq][0..prefix_len]`, then the slots of its ancestor rows. That order, and nothing else,
/// is the order of accumulation; so a row's bits do not depend on the tree it was packed in.
#[derive(Clone, Copy, Debug)]
pub struct PackedView<'a> {
    /// Input token, `[rows]`.
    pub token: &'a [Token],
    /// Absolute position, `[rows]`: committed length + depth, never an index into the tree.
    pub position: &'a [u32],
    /// Where the row's keys and values are written, `[rows]`; no two rows share one.
    pub slot: &'a [Slot],
    /// Leading positions of the sequence's table that the row reads, `[rows]`; itself included if
    /// it is a context row or a root.
    pub prefix_len: &'a [u32],
    /// Ancestors among the drafted rows of the sequence, itself included, `[rows, words]`: bit `i`
    /// is row `drafted(s).start + i`. Zero at context rows and roots.
    pub ancestors: &'a [u64],
    /// Words in one ancestor set.
    pub words: usize,
    /// Place in the batch of each sequence that has rows, ascending, `[n_seqs]`.
    pub seqs: &'a [u32],
    /// First row of each sequence and, last, the number of rows, `[n_seqs + 1]`.
    pub row_start: &'a [u32],
    /// First drafted row of each sequence; its end if it has none, `[n_seqs]`.
    pub drafted_start: &'a [u32],
    /// Slots of positions `0..n` of each sequence, this forward's context rows and root included,
    /// one sequence after another.
    pub table: &'a [Slot],
    /// First entry of each sequence in `table` and, last, its length, `[n_seqs + 1]`.
    pub table_start: &'a [u32],
    /// Rows that want a verdict, ascending, `[n_sampled]`: roots, drafted rows, and the context
    /// rows of a prompt that is scored.
    pub sampled: &'a [u32],
}

impl<'a> PackedView<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.token.len()
    }

    /// Number of sequences that have rows.
    pub fn n_seqs(&self) -> usize {
        self.seqs.len()
    }

    /// The rows of the `s`-th sequence.
    pub fn rows_of(&self, s: usize) -> Range<usize> {
        self.row_start[s] as usize..self.row_start[s + 1] as usize
    }

    /// The drafted rows of the `s`-th sequence.
    pub fn drafted(&self, s: usize) -> Range<usize> {
        self.drafted_start[s] as usize..self.row_start[s + 1] as usize
    }

    /// The slots of the `s`-th sequence by position.
    pub fn table_of(&self, s: usize) -> &'a [Slot] {
        &self.table[self.table_start[s] as usize..self.table_start[s + 1] as usize]
    }

    /// The ancestor set of `row`.
    pub fn ancestors_of(&self, row: usize) -> &'a [u64] {
        &self.ancestors[row * self.words..(row + 1) * self.words]
    }
}
