//! How attention is divided into blocks. Nothing here changes a result.

use crate::driver::{Arg, Entry, Geometry, Launch};
use crate::memory::Rows;
use crate::op::{Form, Reach};
use crate::staged::{Field, Staged};
use echo_core::DeviceError;
use echo_core::port::Heads;

/// Positions of one tile, and of one split; `cu/attention.h` has the same numbers.
const TILE: usize = 64;
const SPLIT: usize = 128;
/// Room for drafted columns is in multiples of this, the keys that are copied at a time.
const CHUNK: usize = 32;
/// Blocks that fill a large device four times. Beyond, sharing a row's splits gains nothing.
const BLOCKS: usize = 528;
/// Bytes of shared memory a block may have on every device of interest.
const SHARED_MAX: usize = 99 << 10;
/// Bytes that partial answers may take, and tickets for those who leave some; beyond, a block does
/// all splits itself.
const PARTIAL_BYTES: usize = 128 << 20;
const TICKETS: usize = 1 << 18;
/// Bytes of scratch that all attention shares: partial answers, then tickets.
pub(crate) const SCRATCH_BYTES: usize = PARTIAL_BYTES + 4 * TICKETS;

/// Attention of the rows of a stage. Of a forward it knows no length: blocks read them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attention {
    live: Arg,
    /// Fields of the stage that the kernels read, in their order, and words of an ancestor set.
    fields: [Arg; 8],
    set_words: usize,
    /// Drafted rows of a sequence, and positions of a row, at most.
    drafted_max: usize,
    seen_max: usize,
    heads: Heads,
    qkv: Rows,
    /// Addresses of keys and values.
    cache: [u64; 2],
    out: Rows,
    /// Where splits are left, and tickets are taken.
    partial: u64,
}

impl Attention {
    /// Fails for heads, or trees of the size that the stage allows, that the kernels can't hold.
    pub(crate) fn new(
        [live, partial]: [Arg; 2],
        staged: &Staged,
        heads: Heads,
        qkv: Rows,
        cache: [u64; 2],
        out: Rows,
    ) -> Result<Self, DeviceError> {
        let unsupported = |why: String| Err(DeviceError::Unsupported(why));
        let (dim, group) = (heads.dim, heads.n_q / heads.n_kv);
        if dim > 128 {
            return unsupported(format!("heads of {dim} columns; at most 128"));
        }
        if group > 32 {
            return unsupported(format!("{group} query heads to a key head; at most 32"));
        }
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
        let limits = &staged.limits;
        let attention = Attention {
            live,
            fields: fields.map(|field| staged.address(field)),
            set_words: limits.ancestor_words(),
            drafted_max: limits.tree_max,
            // A drafted row sees its ancestors beside the text.
            seen_max: limits.context_max + limits.tree_max,
            heads,
            qkv,
            cache,
            out,
            partial: partial.0,
        };
        let columns = attention.columns(limits.rows_max);
        if group > 8 && attention.shared_bytes(32, columns) > SHARED_MAX
            || attention.shared_bytes(8, columns) > SHARED_MAX
        {
            return unsupported(format!(
                "{} drafted rows of a sequence with {group} query heads to a key head; lower \
                 tree_max",
                limits.tree_max
            ));
        }
        Ok(attention)
    }

    /// How the staged rows lie.
    pub(crate) fn reach(&self, staged: &Staged) -> Reach {
        Reach {
            wide: staged.shape.rows_most * self.group() > 8,
            long: staged.shape.seen_most > SPLIT,
        }
    }

    /// Calls `each` with the launch for `form`.
    pub(crate) fn launches(
        &self,
        form: Form,
        each: &mut dyn FnMut(Launch) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let Attention { live, set_words, heads, qkv, cache, out, partial, .. } = *self;
        let [seq_of, row_start, drafted_start, prefix_len, slot, table_start, table, ancestors] =
            self.fields;
        let Plan { name, shares, columns, shared_bytes } = self.plan(form);
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
            partial.into(),
            (partial + PARTIAL_BYTES as u64).into(),
            heads.n_q.into(),
            heads.n_kv.into(),
            heads.dim.into(),
            (1.0 / (heads.dim as f64).sqrt() as f32).into(),
            columns.into(),
        ];
        let geometry = Geometry {
            grid: [form.rows as u32, heads.n_kv as u32, shares as u32],
            threads: 128,
            shared_bytes: shared_bytes as u32,
        };
        each(Launch { entry: Entry { stem: "tree_attention", name }, geometry, args: args.into() })
    }

    fn plan(&self, form: Form) -> Plan {
        let (n_kv, group) = (self.heads.n_kv, self.group());
        let columns = self.columns(form.rows);
        let wide = form.reach.wide && form.rows * group > 8;
        let small = group <= 8 && (!wide || self.shared_bytes(32, columns) > SHARED_MAX);
        let packed = if small { 8 } else { 32 };
        let name = match (self.width(), small) {
            (64, true) => "tree_attention_64_8",
            (64, false) => "tree_attention_64_32",
            (_, true) => "tree_attention_128_8",
            (_, false) => "tree_attention_128_32",
        };
        // Narrow sequences mostly have one row each.
        let runs = if wide { form.rows.div_ceil(packed / group) } else { form.rows };
        let shares = self.shares(runs * n_kv, form);
        Plan { name, shares, columns, shared_bytes: self.shared_bytes(packed, columns) }
    }

    /// Blocks that share the positions of a row, where there are `blocks` without sharing.
    fn shares(&self, blocks: usize, form: Form) -> usize {
        // Where no row has more than a split, one block for each tile, or the device is full.
        let seen_max = if form.reach.long { self.seen_max } else { SPLIT + self.drafted_max };
        let (seen_max, filled) = (seen_max.min(self.seen_max), 2 * blocks > BLOCKS);
        if !form.reach.long && filled {
            return 1;
        }
        let shares = BLOCKS.div_ceil(blocks).clamp(1, seen_max.div_ceil(TILE));
        // A row leaves tiles if there is a block for each, else splits.
        let units = shares.max(self.seen_max.div_ceil(SPLIT));
        let left = 4 * units * form.rows * self.heads.n_q * (self.heads.dim + 2);
        let has_room = left <= PARTIAL_BYTES && form.rows * self.heads.n_kv <= TICKETS;
        if has_room { shares } else { 1 }
    }

    /// Query heads to a key head.
    fn group(&self) -> usize {
        self.heads.n_q / self.heads.n_kv
    }

    /// Columns of a head in shared memory.
    fn width(&self) -> usize {
        if self.heads.dim <= 64 { 64 } else { 128 }
    }

    /// Room for drafted columns where a forward has `rows` rows, in whole chunks.
    fn columns(&self, rows: usize) -> usize {
        self.drafted_max.min(rows).next_multiple_of(CHUNK)
    }

    /// Of a block with so many packed rows and drafted columns.
    fn shared_bytes(&self, packed: usize, columns: usize) -> usize {
        // Wide blocks of wide heads have the shorter ring, else the scores of a tree had no room.
        let chunks = if packed == 32 && self.width() == 128 { 3 } else { 4 };
        let pitch = self.width() + 4;
        4 * ((packed + chunks * CHUNK) * pitch + packed * (TILE + columns + 4 + 4))
    }
}

/// A way to divide the work.
struct Plan {
    name: &'static str,
    /// Blocks that share the tiles of a row; 1 if each does all.
    shares: usize,
    columns: usize,
    shared_bytes: usize,
}
