//! Attention: what its launches are told, and where its blocks leave what they share.

use crate::division::{Division, Plan, SPLIT};
use crate::driver::{Arg, Entry, Geometry, Launch};
use crate::memory::Rows;
use crate::op::{Form, Reach};
use crate::staged::{Field, Staged};
use echo_core::DeviceError;
use echo_core::port::Heads;

/// Tickets for blocks that leave something; where there would be more, each does all splits itself.
const TICKETS: usize = 1 << 18;

/// Memory that all attention shares: tickets, which are zero between launches, then what blocks
/// leave of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Splits {
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

impl Splits {
    /// Bytes of the whole where blocks leave `left`.
    pub(crate) fn bytes(left: usize) -> usize {
        4 * TICKETS + left
    }

    fn left(&self) -> u64 {
        self.address + 4 * TICKETS as u64
    }

    /// Whether what blocks leave by `plan` has room.
    fn hold(&self, plan: &Plan, tickets: usize) -> bool {
        Splits::bytes(plan.left_bytes) <= self.bytes && tickets <= TICKETS
    }
}

/// Attention of the rows of a stage. Of a forward it knows no length: blocks read them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attention {
    live: Arg,
    /// Fields of the stage that the kernels read, in their order, and words of an ancestor set.
    fields: [Arg; 8],
    set_words: usize,
    division: Division,
    qkv: Rows,
    /// Addresses of keys and values.
    cache: [u64; 2],
    out: Rows,
    splits: Splits,
}

impl Attention {
    pub(crate) fn new(
        live: Arg,
        splits: Splits,
        staged: &Staged,
        heads: Heads,
        qkv: Rows,
        cache: [u64; 2],
        out: Rows,
    ) -> Self {
        let fields = [
            Field::SeqOf,
            Field::RowStart,
            Field::DraftedStart,
            Field::PrefixLen,
            Field::Slot,
            Field::TableStart,
            Field::Table,
            Field::Ancestors,
        ];
        let fields = fields.map(|field| staged.address(field));
        let set_words = staged.limits.ancestor_words();
        let division = Division::new(heads, &staged.limits);
        Attention { live, fields, set_words, division, qkv, cache, out, splits }
    }

    /// How the staged rows lie.
    pub(crate) fn reach(&self, staged: &Staged) -> Reach {
        Reach {
            wide: staged.shape.rows_most * self.division.group() > 8,
            long: staged.shape.seen_most > SPLIT,
        }
    }

    /// Calls `each` with the launch for `form`.
    pub(crate) fn launches(
        &self,
        form: Form,
        each: &mut dyn FnMut(Launch) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let Attention { live, set_words, division, qkv, cache, out, splits, .. } = *self;
        let heads = division.heads;
        let [seq_of, row_start, drafted_start, prefix_len, slot, table_start, table, ancestors] =
            self.fields;
        let plan = division.plan(form);
        let shares = if splits.hold(&plan, form.rows * heads.n_kv) { plan.shares } else { 1 };
        let args = [
            live,
            seq_of,
            row_start,
            drafted_start,
            prefix_len,
            slot,
            table_start,
            table,
            ancestors,
            set_words.into(),
            qkv.address.into(),
            qkv.stride.into(),
            cache[0].into(),
            cache[1].into(),
            out.address.into(),
            out.stride.into(),
            splits.left().into(),
            splits.address.into(),
            heads.n_q.into(),
            heads.n_kv.into(),
            heads.dim.into(),
            (1.0 / (heads.dim as f64).sqrt() as f32).into(),
            plan.columns.into(),
        ];
        let geometry = Geometry {
            grid: [form.rows as u32, heads.n_kv as u32, shares as u32],
            threads: 128,
            shared_bytes: plan.shared_bytes as u32,
        };
        each(Launch {
            entry: Entry { stem: "tree_attention", name: plan.name },
            geometry,
            args: args.into(),
        })
    }
}
