//! Packed rows as the kernels read them: one array of words.
//!
//! Row `r` has eight words from `8 r` on: token, position, slot, prefix length, where in the array
//! its sequence's table begins, where its ancestors' slots begin, how many they are, and nothing.
//! The slots of ancestors follow, row by row in order of position, then the tables.

use crate::gpu::{Array, Gpu};
use echo_core::{DeviceError, Limits, PackedView};

const ROW_WORDS: usize = 8;

/// The rows of one stage.
pub(crate) struct Staged {
    pub(crate) array: Array,
    pub(crate) rows: usize,
    words: Vec<u32>,
    rows_max: usize,
}

impl Staged {
    /// No rows, with room for the largest forward.
    pub(crate) fn new(gpu: &mut Gpu, limits: &Limits) -> Result<Self, DeviceError> {
        let rows_max = limits.rows_max;
        let ancestors = (64 * limits.ancestor_words()).min(rows_max);
        // Sequences may share a prefix, so tables can hold more entries than there are slots.
        let len = rows_max * (ROW_WORDS + ancestors) + limits.seqs_max * limits.context_max;
        let array = gpu.array(len, "staged rows")?;
        Ok(Staged { array, rows: 0, words: Vec::with_capacity(len), rows_max })
    }

    /// What is to be uploaded.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// Lays out `packed`. Panics if its parts contradict each other or exceed the limits.
    pub(crate) fn fill(&mut self, packed: PackedView<'_>) {
        let rows = packed.rows();
        assert!(rows <= self.rows_max, "{rows} rows, at most {}", self.rows_max);
        assert_eq!(packed.ancestors.len(), rows * packed.words, "ancestor sets");
        assert_eq!(packed.table_start.len(), packed.n_seqs() + 1, "first table entries");
        self.rows = rows;
        self.words.clear();
        self.words.resize(rows * ROW_WORDS, 0);
        for s in 0..packed.n_seqs() {
            let table = packed.table_of(s).len();
            for row in packed.rows_of(s) {
                let ancestors_at = self.words.len();
                let set = packed.ancestors_of(row);
                for (bit, drafted) in packed.drafted(s).enumerate() {
                    if set[bit / 64] >> (bit % 64) & 1 == 1 {
                        self.words.push(packed.slot[drafted]);
                    }
                }
                let ancestors = self.words.len() - ancestors_at;
                let prefix = packed.prefix_len[row] as usize;
                assert!(prefix + ancestors > 0, "row {row} sees nothing");
                assert!(prefix <= table, "row {row} reads {prefix} of {table} positions");
                self.words[row * ROW_WORDS..][..ROW_WORDS].copy_from_slice(&[
                    packed.token[row],
                    packed.position[row],
                    packed.slot[row],
                    prefix as u32,
                    0,
                    ancestors_at as u32,
                    ancestors as u32,
                    0,
                ]);
            }
        }
        let tables_at = self.words.len() as u32;
        for s in 0..packed.n_seqs() {
            for row in packed.rows_of(s) {
                self.words[row * ROW_WORDS + 4] = tables_at + packed.table_start[s];
            }
        }
        self.words.extend_from_slice(packed.table);
        assert!(self.words.len() <= self.array.len, "rows or entries beyond the limits");
    }
}
