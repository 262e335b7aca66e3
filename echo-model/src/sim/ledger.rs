//! A KV cache without floats: each slot remembers what it stands for, and reading it is checked.

use super::faults::Faults;
use super::law::{SimLaw, mix};
use echo_core::{PackedView, Slot, Token};

/// What one slot holds.
#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    position: u32,
    token: Token,
    /// Digest of the text up to this token: what its keys and values would depend on.
    digest: u64,
    /// Forward that wrote it last, and by which row.
    forward: u64,
    row: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Blank,
    Written,
    Poisoned,
}

/// The slots of a simulated target.
///
/// A row reads exactly the slots its view lets it see. The digest it ends up with equals the law's
/// digest of its text only if every slot read was written, in order of position, by a row that saw
/// the same text; anything else both changes the digest and is noted as a fault.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    entries: Vec<Entry>,
    forward: u64,
}

impl Ledger {
    pub(super) fn new(kv_slots: usize) -> Self {
        let blank =
            Entry { state: State::Blank, position: 0, token: 0, digest: 0, forward: 0, row: 0 };
        Ledger { entries: vec![blank; kv_slots], forward: 0 }
    }

    /// Makes reading `slot` a fault until it is written again.
    pub(super) fn poison(&mut self, slot: Slot) {
        let entry = &mut self.entries[slot as usize];
        entry.state = State::Poisoned;
        entry.digest = mix(entry.digest, u64::from(slot));
    }

    /// Starts a forward: claims each row's slot, which no other row may share.
    pub(super) fn claim(&mut self, packed: &PackedView<'_>, faults: &mut Faults) {
        self.forward += 1;
        for (row, &slot) in packed.slot.iter().enumerate() {
            let Some(entry) = self.entries.get_mut(slot as usize) else {
                faults.push(|| format!("row {row} writes slot {slot}, which does not exist"));
                continue;
            };
            if entry.forward == self.forward {
                let other = entry.row;
                faults.push(|| format!("rows {other} and {row} share slot {slot}"));
            }
            entry.forward = self.forward;
            entry.row = row as u32;
        }
    }

    /// Reads what `row` of the `s`-th sequence sees, writes its slot and returns the
    /// digest of its text. The rows of a sequence come in ascending order.
    pub(super) fn row(
        &mut self,
        law: &SimLaw,
        packed: &PackedView<'_>,
        s: usize,
        row: usize,
        faults: &mut Faults,
    ) -> u64 {
        let (token, position, own) = (packed.token[row], packed.position[row], packed.slot[row]);
        let first = packed.rows_of(s).start;
        let mut reader = Reader { law, row, first, digest: law.start(), seen: 0, last: None };
        let prefix = packed.prefix_len[row] as usize;
        let table = packed.table_of(s);
        faults.check(prefix <= table.len(), || {
            format!("row {row} reads {prefix} slots of a table of {}", table.len())
        });
        for &slot in &table[..prefix.min(table.len())] {
            reader.read(self, slot, own, faults);
        }
        let drafted = packed.drafted(s);
        for (word, &bits) in packed.ancestors_of(row).iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let ancestor = drafted.start + word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if drafted.contains(&ancestor) {
                    reader.read(self, packed.slot[ancestor], own, faults);
                } else {
                    faults.push(|| format!("row {row} sees row {ancestor} of another sequence"));
                }
            }
        }
        faults.check(reader.last == Some(own), || {
            format!("row {row} writes slot {own} but last sees {:?}", reader.last)
        });
        faults.check(reader.seen == position + 1, || {
            format!("row {row} at position {position} sees {} slots", reader.seen)
        });
        let digest = law.push(reader.digest, token, position);
        if let Some(entry) = self.entries.get_mut(own as usize) {
            *entry = Entry { state: State::Written, position, token, digest, ..*entry };
        }
        digest
    }
}

/// One row's way through the slots it sees.
struct Reader<'a> {
    law: &'a SimLaw,
    row: usize,
    /// First row of the sequence.
    first: usize,
    digest: u64,
    /// Slots seen, the row's own included: the position expected next.
    seen: u32,
    last: Option<Slot>,
}

impl Reader<'_> {
    fn read(&mut self, ledger: &Ledger, slot: Slot, own: Slot, faults: &mut Faults) {
        let (row, expected) = (self.row, self.seen);
        self.seen += 1;
        self.last = Some(slot);
        if slot == own {
            // Its own keys and values: what it is about to write.
            return;
        }
        let Some(entry) = ledger.entries.get(slot as usize) else {
            faults.push(|| format!("row {row} reads slot {slot}, which does not exist"));
            self.digest = mix(self.digest, u64::from(slot));
            return;
        };
        let digest = self.law.push(self.digest, entry.token, entry.position);
        let early =
            entry.forward == ledger.forward && !(self.first..row).contains(&(entry.row as usize));
        let sound = entry.state == State::Written
            && entry.position == expected
            && entry.digest == digest
            && !early;
        self.digest = if sound {
            digest
        } else {
            // What was read is folded in, so that the answer is wrong as well.
            mix(digest, entry.digest)
        };
        faults.check(sound, || {
            if early {
                let writer = entry.row;
                format!("row {row} reads slot {slot} of row {writer}, which is not before it")
            } else if entry.state != State::Written {
                format!("row {row} reads slot {slot}, which is {:?}", entry.state)
            } else if entry.position != expected {
                let position = entry.position;
                format!("row {row} reads slot {slot} as position {expected}, it holds {position}")
            } else {
                format!("row {row} reads slot {slot}, which was written after another text")
            }
        });
    }
}
