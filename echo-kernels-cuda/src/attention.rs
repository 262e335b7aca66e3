//! How attention is divided into blocks. Nothing here changes a result.

use crate::driver::{Arg, Entry, Geometry, Launch};
use crate::kernels::PARTIAL_BYTES;
use crate::memory::Rows;
use crate::op::{Form, Reach};
use crate::staged::{Field, Staged};
use echo_core::DeviceError;
use echo_core::port::Heads;

/// Keys of one tile.
const TILE: usize = 32;
/// Positions of one split; `cu/attention.h` has the same numbers.
const SPLIT: usize = 512;
/// Blocks that fill a large device four times. Beyond, sharing a row's splits gains nothing.
const BLOCKS: usize = 528;
/// Bytes of shared memory a block may have on every device of interest.
const SHARED_MAX: usize = 99 << 10;

/// Attention of the rows of a stage. Of a forward it knows no length: blocks read them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Attention {
    live: Arg,
    /// Fields of the stage that the kernels read, in their order, and words of an ancestor set.
    fields: [Arg; 8],
    set_words: usize,
    /// Drafted rows of a sequence, and splits of a row, at most.
    drafted_max: usize,
    splits_max: usize,
    heads: Heads,
    qkv: Rows,
    /// Addresses of keys and values.
    cache: [u64; 2],
    out: Rows,
    /// Where splits are left.
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
            splits_max: (limits.context_max + limits.tree_max).div_ceil(SPLIT),
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

    /// Calls `each` with the launches for `form`, in order.
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
        each(Launch {
            entry: Entry { stem: "tree_attention", name },
            geometry,
            args: args.into(),
        })?;
        if shares == 1 {
            return Ok(());
        }
        let args = [
            live,
            prefix_len,
            ancestors,
            set_words.into(),
            partial.into(),
            out.address.into(),
            out.stride.into(),
            heads.dim.into(),
        ];
        let grid = [form.rows as u32, heads.n_q as u32, 1];
        each(Launch {
            entry: Entry { stem: "tree_attention", name: "tree_attention_merge" },
            geometry: Geometry { grid, threads: 128, shared_bytes: 0 },
            args: args.into(),
        })
    }

    fn plan(&self, form: Form) -> Plan {
        let (Heads { n_q, n_kv, dim }, group) = (self.heads, self.group());
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
        let partial_bytes = 4 * self.splits_max * form.rows * n_q * (dim + 2);
        let shares = if form.reach.long && partial_bytes <= PARTIAL_BYTES {
            BLOCKS.div_ceil(runs * n_kv).clamp(1, self.splits_max)
        } else {
            1
        };
        Plan { name, shares, columns, shared_bytes: self.shared_bytes(packed, columns) }
    }

    /// Query heads to a key head.
    fn group(&self) -> usize {
        self.heads.n_q / self.heads.n_kv
    }

    /// Columns of a head in shared memory.
    fn width(&self) -> usize {
        if self.heads.dim <= 64 { 64 } else { 128 }
    }

    /// Room for drafted columns where a forward has `rows` rows, in whole tiles.
    fn columns(&self, rows: usize) -> usize {
        self.drafted_max.min(rows).next_multiple_of(TILE)
    }

    /// Of a block with so many packed rows and drafted columns.
    fn shared_bytes(&self, packed: usize, columns: usize) -> usize {
        4 * ((packed + 2 * TILE) * (self.width() + 4) + packed * (TILE + columns + 5))
    }
}

/// A way to divide the work.
struct Plan {
    name: &'static str,
    /// Blocks that share the splits of a row; 1 if each does all.
    shares: usize,
    columns: usize,
    shared_bytes: usize,
}
