//! The rows of one forward on the device: one copy, at addresses that never change.

use crate::attention::Splits;
use crate::driver::{Arg, Driver};
use echo_core::{DeviceError, Limits, PackedView};

/// Where the fields of a forward lie, and what the host must know of it to launch.
pub(crate) struct Staged {
    pub(crate) limits: Limits,
    address: u64,
    /// The block that is copied, refilled in place.
    words: Vec<u32>,
    pub(crate) n_rows: usize,
    pub(crate) shape: Shape,
    /// Where its attention leaves splits, once it was met: graphs hold it, so it stays.
    pub(crate) splits: Option<Splits>,
}

/// Sizes of a forward that choose a launch, never a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Most rows of a sequence.
    pub(crate) rows_most: usize,
    /// Most positions that a row sees.
    pub(crate) seen_most: usize,
}

/// The fields in the order in which they lie.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    Ancestors,
    Token,
    Position,
    Slot,
    PrefixLen,
    SeqOf,
    RowStart,
    DraftedStart,
    TableStart,
    Table,
}

impl Staged {
    pub(crate) fn new(driver: &dyn Driver, limits: &Limits) -> Result<Self, DeviceError> {
        let mut staged = Staged {
            limits: *limits,
            address: 0,
            words: Vec::new(),
            n_rows: 0,
            shape: Shape::default(),
            splits: None,
        };
        // Sequences may share a prefix, so tables can hold more entries than there are slots.
        let all = staged.start(Field::Table) + limits.seqs_max * limits.context_max;
        staged.address = driver.alloc(4 * all, "packed rows and slot tables")?;
        staged.words.reserve_exact(all);
        Ok(staged)
    }

    /// First word of a field in the block.
    fn start(&self, field: Field) -> usize {
        let Limits { rows_max, seqs_max, .. } = self.limits;
        let sets = 2 * rows_max * self.limits.ancestor_words();
        match field {
            Field::Ancestors => 0,
            Field::Token => sets,
            Field::Position => sets + rows_max,
            Field::Slot => sets + 2 * rows_max,
            Field::PrefixLen => sets + 3 * rows_max,
            Field::SeqOf => sets + 4 * rows_max,
            Field::RowStart => sets + 5 * rows_max,
            Field::DraftedStart => sets + 5 * rows_max + seqs_max + 1,
            Field::TableStart => sets + 5 * rows_max + 2 * seqs_max + 1,
            Field::Table => sets + 5 * rows_max + 3 * seqs_max + 2,
        }
    }

    pub(crate) fn address(&self, field: Field) -> Arg {
        Arg(self.address + 4 * self.start(field) as u64)
    }

    /// Copies `packed` to the device. Panics if its parts contradict each other or exceed the
    /// limits.
    pub(crate) fn fill(
        &mut self,
        driver: &dyn Driver,
        packed: PackedView<'_>,
    ) -> Result<(), DeviceError> {
        let Limits { rows_max, seqs_max, context_max, .. } = self.limits;
        let set_words = self.limits.ancestor_words();
        assert!(packed.rows() <= rows_max, "{} rows, at most {rows_max}", packed.rows());
        assert!(packed.n_seqs() <= seqs_max, "{} sequences, at most {seqs_max}", packed.n_seqs());
        assert!(packed.words <= set_words, "{} words of an ancestor set", packed.words);
        assert!(packed.table.len() <= seqs_max * context_max, "{} positions", packed.table.len());
        self.shape = shape(packed, &self.limits);
        self.n_rows = packed.rows();
        self.words.clear();
        self.words.resize(self.start(Field::Table), 0);
        for row in 0..packed.rows() {
            for (i, set) in packed.ancestors_of(row).iter().enumerate() {
                let at = 2 * (row * set_words + i);
                self.words[at] = *set as u32;
                self.words[at + 1] = (set >> 32) as u32;
            }
        }
        let seq_of = self.start(Field::SeqOf);
        for s in 0..packed.n_seqs() {
            let rows = packed.rows_of(s);
            self.words[seq_of + rows.start..seq_of + rows.end].fill(s as u32);
        }
        for (field, values) in [
            (Field::Token, packed.token),
            (Field::Position, packed.position),
            (Field::Slot, packed.slot),
            (Field::PrefixLen, packed.prefix_len),
            (Field::RowStart, packed.row_start),
            (Field::DraftedStart, packed.drafted_start),
            (Field::TableStart, packed.table_start),
        ] {
            let start = self.start(field);
            self.words[start..start + values.len()].copy_from_slice(values);
        }
        self.words.extend_from_slice(packed.table);
        driver.write(self.address, bytemuck::cast_slice(&self.words))
    }
}

/// The lengths must agree and keep to the limits, and every row must see at least itself.
fn shape(packed: PackedView<'_>, limits: &Limits) -> Shape {
    let (tree_max, seen_max) = (limits.tree_max, limits.context_max + limits.tree_max);
    let (rows, n_seqs) = (packed.rows(), packed.n_seqs());
    assert_eq!(packed.position.len(), rows, "positions per row");
    assert_eq!(packed.slot.len(), rows, "slots per row");
    assert_eq!(packed.prefix_len.len(), rows, "prefixes per row");
    assert_eq!(packed.ancestors.len(), rows * packed.words, "ancestor sets");
    assert_eq!(packed.row_start.len(), n_seqs + 1, "first rows");
    assert_eq!(packed.drafted_start.len(), n_seqs, "first drafted rows");
    assert_eq!(packed.table_start.len(), n_seqs + 1, "first table entries");
    let mut shape = Shape::default();
    for s in 0..n_seqs {
        let (table, drafted) = (packed.table_of(s).len(), packed.drafted(s).len());
        assert!(drafted <= tree_max, "{drafted} drafted rows of a sequence, at most {tree_max}");
        shape.rows_most = shape.rows_most.max(packed.rows_of(s).len());
        for row in packed.rows_of(s) {
            let prefix = packed.prefix_len[row] as usize;
            let ancestors: u32 = packed.ancestors_of(row).iter().map(|w| w.count_ones()).sum();
            assert!(prefix > 0 || ancestors > 0, "row {row} sees nothing");
            assert!(prefix <= table, "row {row} reads {prefix} of {table} positions");
            shape.seen_most = shape.seen_most.max(prefix + ancestors as usize);
        }
    }
    assert!(shape.seen_most <= seen_max, "a row sees {} of {seen_max}", shape.seen_most);
    shape
}
