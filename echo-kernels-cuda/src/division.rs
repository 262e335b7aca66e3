//! How attention is divided into blocks. Nothing here changes a result.

use crate::graphs::TIERS;
use crate::op::{Form, Reach};
use echo_core::port::Heads;
use echo_core::{DeviceError, Limits};

/// Positions of one tile, and of one split; `cu/attention.h` has the same numbers.
const TILE: usize = 64;
pub(crate) const SPLIT: usize = 128;
/// Room for drafted columns is in multiples of this, the keys that are copied at a time.
const CHUNK: usize = 32;
/// Blocks that fill a large device four times. Beyond, sharing a row's splits gains nothing.
const BLOCKS: usize = 528;
/// Bytes of shared memory a block may have on every device of interest.
const SHARED_MAX: usize = 99 << 10;
/// Rows of a forward whose blocks share splits however long texts may be: more rows mostly fill a
/// device by themselves. Bytes that are taken for it at most, and for forwards of more rows.
const FEW_ROWS: usize = 64;
const FEW_BYTES: usize = 1 << 30;
const MANY_BYTES: usize = 128 << 20;

/// What decides how the attention of a stage is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Division {
    pub(crate) heads: Heads,
    /// Drafted rows of a sequence, and positions of a row, at most.
    drafted_max: usize,
    seen_max: usize,
}

/// A way to divide the work.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Blocks that share the tiles of a row; 1 if each does all.
    pub(crate) shares: usize,
    /// Bytes that these leave for the last of them.
    pub(crate) left_bytes: usize,
    pub(crate) columns: usize,
    pub(crate) shared_bytes: usize,
}

impl Division {
    pub(crate) fn new(heads: Heads, limits: &Limits) -> Self {
        Division {
            heads,
            drafted_max: limits.tree_max,
            // A drafted row sees its ancestors beside the text.
            seen_max: limits.context_max + limits.tree_max,
        }
    }

    /// Fails for heads, or trees of the size that `limits` allow, that the kernels can't hold.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), DeviceError> {
        let unsupported = |why: String| Err(DeviceError::Unsupported(why));
        let (dim, group) = (self.heads.dim, self.group());
        if dim > 128 {
            return unsupported(format!("heads of {dim} columns; at most 128"));
        }
        if group > 32 {
            return unsupported(format!("{group} query heads to a key head; at most 32"));
        }
        let columns = self.columns(limits.rows_max);
        if group > 8 && self.shared_bytes(32, columns) > SHARED_MAX
            || self.shared_bytes(8, columns) > SHARED_MAX
        {
            return unsupported(format!(
                "{} drafted rows of a sequence with {group} query heads to a key head; lower \
                 tree_max",
                limits.tree_max
            ));
        }
        Ok(())
    }

    /// Of the larger limits of both; the heads are the same.
    pub(crate) fn or(self, other: Division) -> Self {
        Division {
            heads: self.heads,
            drafted_max: self.drafted_max.max(other.drafted_max),
            seen_max: self.seen_max.max(other.seen_max),
        }
    }

    pub(crate) fn plan(&self, form: Form) -> Plan {
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
        let shares = self.shares(runs * n_kv, form.reach);
        let left_bytes = if shares > 1 { self.left_bytes(shares, form) } else { 0 };
        Plan { name, shares, left_bytes, columns, shared_bytes: self.shared_bytes(packed, columns) }
    }

    /// Blocks that share the positions of a row, where there are `blocks` without sharing.
    fn shares(&self, blocks: usize, reach: Reach) -> usize {
        // Where no row has more than a split, one block for each tile, or the device is full.
        let seen_max = if reach.long { self.seen_max } else { SPLIT + self.drafted_max };
        let (seen_max, filled) = (seen_max.min(self.seen_max), 2 * blocks > BLOCKS);
        if !reach.long && filled {
            return 1;
        }
        BLOCKS.div_ceil(blocks).clamp(1, seen_max.div_ceil(TILE))
    }

    /// Bytes that `shares` blocks a row leave at most. A row leaves tiles if there is a block for
    /// each, else splits.
    fn left_bytes(&self, shares: usize, form: Form) -> usize {
        let seen_max = if form.reach.long { self.seen_max } else { self.seen_max.min(SPLIT) };
        let units = shares.min(seen_max.div_ceil(TILE)).max(seen_max.div_ceil(SPLIT));
        // The sums in whole fours, and one four for maximum and weight.
        let floats = self.heads.dim.next_multiple_of(4) + 4;
        4 * units * form.rows * self.heads.n_q * floats
    }

    /// Bytes to take for what blocks leave, where forwards have at most `rows_most` rows: what a
    /// tier of few rows leaves at most, or more of them, as far as that is not much.
    pub(crate) fn bytes_wanted(&self, rows_most: usize) -> usize {
        let left = |rows| {
            let plans = Reach::ALL.map(|reach| self.plan(Form { rows, reach }));
            plans.iter().map(|plan| plan.left_bytes).max().unwrap_or(0)
        };
        let tiers = || TIERS.into_iter().filter(|&rows| rows <= rows_most);
        let few = tiers().filter(|&rows| rows <= FEW_ROWS).map(left).max().unwrap_or(0);
        let all = tiers().map(left).max().unwrap_or(0).max(left(rows_most.max(1)));
        few.min(FEW_BYTES).max(all.min(MANY_BYTES))
    }

    /// Query heads to a key head.
    pub(crate) fn group(&self) -> usize {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// For contexts of `context_max` tokens and 32 heads.
    fn division(context_max: usize) -> Division {
        let heads = Heads { n_q: 32, n_kv: 8, dim: 128 };
        Division::new(heads, &Limits::usual(8, context_max))
    }

    /// Whether blocks share splits in every tier up to `rows_max`.
    fn is_shared(context_max: usize, rows_max: usize) -> bool {
        let division = division(context_max);
        let bytes = division.bytes_wanted(512);
        let mut forms = TIERS.into_iter().filter(|&rows| rows <= rows_max).flat_map(|rows| {
            let long = Reach::ALL.into_iter().filter(|reach| reach.long);
            long.map(move |reach| Form { rows, reach })
        });
        forms.all(|form| {
            let plan = division.plan(form);
            plan.shares > 1 && plan.left_bytes <= bytes
        })
    }

    #[test]
    fn few_rows_share_splits_at_every_context() {
        for context_max in [1000, 4096, 32 << 10, 64 << 10] {
            assert!(is_shared(context_max, FEW_ROWS), "{context_max} tokens");
        }
        assert!(is_shared(128 << 10, 48), "a GiB does for the tier below");
    }

    #[test]
    fn what_is_left_has_a_bound_and_short_texts_leave_little() {
        assert!(division(2048).bytes_wanted(512) <= MANY_BYTES);
        assert!(division(1 << 20).bytes_wanted(512) <= FEW_BYTES);
        for rows in TIERS {
            let plan = division(1 << 20).plan(Form { rows, reach: Reach::default() });
            assert!(plan.left_bytes <= MANY_BYTES, "{rows} rows");
        }
    }
}
