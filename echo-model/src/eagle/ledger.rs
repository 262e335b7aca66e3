//! What the drafter knows of committed tokens: which have an entry, and which are to get one.

use echo_core::{Limits, Settled, Slot};
use std::ops::Range;

/// A committed row of the target's last forward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    pub(super) seq: u32,
    pub(super) position: u32,
    /// The target's slot, where the entry of this position lies too.
    pub(super) slot: Slot,
    /// The row whose tapped states are those after this position.
    pub(super) tap_row: u32,
}

/// The books of the drafter.
///
/// The entry of position `p` is made of the token there and the state after `p - 1`: a function of
/// the text up to `p`, as the target's keys and values are. So it lies in the same slot, and stays
/// right where the target's prefix cache hands a slot to another sequence.
pub(super) struct Ledger {
    notes: Vec<Note>,
    /// Whether the slot holds the entry of what the target has there.
    filled: Vec<bool>,
    /// The position after which the kept state of each place was taken.
    kept: Vec<Option<u32>>,
}

impl Ledger {
    pub(super) fn new(limits: &Limits) -> Self {
        Ledger {
            notes: Vec::with_capacity(limits.rows_max),
            filled: vec![false; limits.kv_slots],
            kept: vec![None; limits.seqs_max],
        }
    }

    /// Notes the committed rows of a forward; those of the last that nobody asked for are lost,
    /// and their slots stay without entry. Returns whether there are rows of a prompt that goes on.
    pub(super) fn note(&mut self, settled: &Settled<'_>) -> bool {
        let packed = settled.packed;
        self.notes.clear();
        let mut is_cut = false;
        for (s, &seq) in packed.seqs.iter().enumerate() {
            let committed = packed.row_start[s]..packed.drafted_start[s];
            let wants_verdict = |row: u32| packed.sampled.binary_search(&row).is_ok();
            // The rows of a prompt that is scored want verdicts, whether it is cut or not.
            let n_pending =
                settled.batch.n_tokens[seq as usize] - settled.batch.n_cached[seq as usize];
            is_cut |= n_pending > 1 || !committed.into_iter().any(wants_verdict);
            for row in packed.rows_of(s).filter(|&row| settled.kept[row]) {
                let (position, slot) = (packed.position[row], packed.slot[row]);
                self.filled[slot as usize] = false;
                self.notes.push(Note { seq, position, slot, tap_row: row as u32 });
            }
        }
        is_cut
    }

    pub(super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The notes of `seq`, in order of position.
    pub(super) fn notes_of(&self, seq: u32) -> Range<usize> {
        let start = self.notes.partition_point(|note| note.seq < seq);
        start..start + self.notes[start..].partition_point(|note| note.seq == seq)
    }

    /// Where the state after the position before `position` is: among the fused rows or among the
    /// kept ones, the other being its row of zeros. `None` if it is lost.
    pub(super) fn state_before(
        &self,
        seq: u32,
        position: u32,
        zero: (u32, u32),
    ) -> Option<(u32, u32)> {
        let before = position.checked_sub(1)?;
        let own = self.notes_of(seq);
        let noted = self.notes[own.clone()].binary_search_by_key(&before, |note| note.position);
        match noted {
            Ok(n) => Some(((own.start + n) as u32, zero.1)),
            Err(_) => (self.kept[seq as usize] == Some(before)).then_some((zero.0, seq)),
        }
    }

    /// The entry at `slot` was made.
    pub(super) fn fill(&mut self, slot: Slot) {
        self.filled[slot as usize] = true;
    }

    /// Leaves in `into` those of `slots` that hold an entry.
    pub(super) fn filled(&self, slots: &[Slot], into: &mut Vec<Slot>) {
        into.clear();
        into.extend(slots.iter().filter(|&&slot| self.filled[slot as usize]));
    }

    /// The notes were worked off: the last state of each place is kept.
    pub(super) fn close(&mut self) {
        for note in &self.notes {
            self.kept[note.seq as usize] = Some(note.position);
        }
        self.notes.clear();
    }

    /// The sequence at `seq` is gone.
    pub(super) fn forget(&mut self, seq: u32) {
        self.notes.retain(|note| note.seq != seq);
        self.kept[seq as usize] = None;
    }
}
