//! Packed rows that outlive the call that staged them, in vectors that are refilled.

use echo_core::{Limits, PackedView, Slot, Token};

/// A copy of a [`PackedView`]. Refilling allocates nothing.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    token: Vec<Token>,
    position: Vec<u32>,
    slot: Vec<Slot>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    words: usize,
    seqs: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<Slot>,
    table_start: Vec<u32>,
    sampled: Vec<u32>,
    context_max: usize,
    /// A bit for each slot, all zero between calls.
    taken: Vec<u64>,
}

impl Staged {
    /// No rows, with room for the largest forward.
    pub(crate) fn new(limits: &Limits) -> Self {
        let (rows, seqs, words) = (limits.rows_max, limits.seqs_max, limits.ancestor_words());
        Staged {
            token: Vec::with_capacity(rows),
            position: Vec::with_capacity(rows),
            slot: Vec::with_capacity(rows),
            prefix_len: Vec::with_capacity(rows),
            ancestors: Vec::with_capacity(rows * words),
            words,
            seqs: Vec::with_capacity(seqs),
            row_start: Vec::with_capacity(seqs + 1),
            drafted_start: Vec::with_capacity(seqs),
            // Sequences may share a prefix, so tables can hold more entries than there are slots.
            table: Vec::with_capacity(seqs * limits.context_max),
            table_start: Vec::with_capacity(seqs + 1),
            sampled: Vec::with_capacity(rows),
            context_max: limits.context_max,
            taken: vec![0; limits.kv_slots.div_ceil(64)],
        }
    }

    /// Positions that a row sees at most.
    pub(crate) fn context_max(&self) -> usize {
        self.context_max
    }

    /// Takes a copy of `packed`. Panics if its parts contradict each other or exceed the limits.
    pub(crate) fn fill(&mut self, packed: PackedView<'_>) {
        check(packed);
        self.check_slots(packed.slot);
        refill(&mut self.token, packed.token);
        refill(&mut self.position, packed.position);
        refill(&mut self.slot, packed.slot);
        refill(&mut self.prefix_len, packed.prefix_len);
        refill(&mut self.ancestors, packed.ancestors);
        self.words = packed.words;
        refill(&mut self.seqs, packed.seqs);
        refill(&mut self.row_start, packed.row_start);
        refill(&mut self.drafted_start, packed.drafted_start);
        refill(&mut self.table, packed.table);
        refill(&mut self.table_start, packed.table_start);
        refill(&mut self.sampled, packed.sampled);
    }

    /// Panics if two rows share a slot: threads would write it at once.
    fn check_slots(&mut self, slots: &[Slot]) {
        for &slot in slots {
            let (word, bit) = (&mut self.taken[slot as usize / 64], 1 << (slot % 64));
            assert!(*word & bit == 0, "two rows share slot {slot}");
            *word |= bit;
        }
        for &slot in slots {
            self.taken[slot as usize / 64] = 0;
        }
    }

    pub(crate) fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: self.words,
            seqs: &self.seqs,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &self.sampled,
        }
    }
}

fn refill<T: Copy>(into: &mut Vec<T>, from: &[T]) {
    assert!(from.len() <= into.capacity(), "{} rows or entries beyond the limits", from.len());
    into.clear();
    into.extend_from_slice(from);
}

/// The lengths must agree, and every row must see at least itself.
fn check(packed: PackedView<'_>) {
    let rows = packed.rows();
    let n_seqs = packed.n_seqs();
    assert_eq!(packed.position.len(), rows, "positions per row");
    assert_eq!(packed.slot.len(), rows, "slots per row");
    assert_eq!(packed.prefix_len.len(), rows, "prefixes per row");
    assert_eq!(packed.ancestors.len(), rows * packed.words, "ancestor sets");
    assert_eq!(packed.row_start.len(), n_seqs + 1, "first rows");
    let rises = packed.row_start.is_sorted() && packed.row_start[0] == 0;
    assert!(rises && packed.row_start[n_seqs] as usize == rows, "first rows rise from 0 to all");
    assert_eq!(packed.drafted_start.len(), n_seqs, "first drafted rows");
    assert_eq!(packed.table_start.len(), n_seqs + 1, "first table entries");
    for s in 0..n_seqs {
        let table = packed.table_of(s).len();
        for row in packed.rows_of(s) {
            let prefix = packed.prefix_len[row] as usize;
            let seen = packed.ancestors_of(row).iter().any(|&word| word != 0);
            assert!(prefix > 0 || seen, "row {row} sees nothing");
            assert!(prefix <= table, "row {row} reads {prefix} of {table} positions");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Two sequences of one row each.
    fn fill(slot: &[Slot], row_start: &[u32]) -> bool {
        let limits = Limits { kv_slots: 8, ..Limits::usual(2, 8) };
        let packed = PackedView {
            token: &[1, 2],
            position: &[0, 0],
            slot,
            prefix_len: &[1, 1],
            ancestors: &[0, 0],
            words: 1,
            seqs: &[0, 1],
            row_start,
            drafted_start: &[1, 2],
            table: slot,
            table_start: &[0, 1, 2],
            sampled: &[0, 1],
        };
        let mut staged = Staged::new(&limits);
        // The second time finds nothing left of the first.
        let twice = || (0..2).for_each(|_| staged.fill(packed));
        catch_unwind(AssertUnwindSafe(twice)).is_ok()
    }

    #[test]
    fn rows_that_two_threads_would_write_are_refused() {
        assert!(fill(&[3, 5], &[0, 1, 2]));
        assert!(!fill(&[3, 3], &[0, 1, 2]), "a slot of two rows");
        assert!(!fill(&[3, 5], &[0, 2, 1]), "starts that fall");
    }
}
