//! How attention is divided into blocks. Nothing here changes a result.

use crate::driver::{Driver, Entry, Geometry};
use crate::kernels::PARTIAL_BYTES;
use crate::memory::{Rows, Scratch};
use crate::ops;
use crate::staged::{Field, SPLIT, Staged};
use echo_core::DeviceError;
use echo_core::port::Heads;

/// Keys of one tile.
const TILE: usize = 32;
/// Blocks below which splits are given to blocks of their own.
const BLOCKS: usize = 264;
/// Bytes of shared memory a block may have on every device of interest.
const SHARED_MAX: usize = 99 << 10;

/// Enqueues attention of the staged rows; `cache` are the addresses of keys and values.
pub(crate) fn launch(
    driver: &dyn Driver,
    scratch: &mut Scratch,
    staged: &Staged,
    heads: Heads,
    qkv: Rows,
    cache: [u64; 2],
    out: Rows,
) -> Result<(), DeviceError> {
    if staged.n_rows == 0 {
        return Ok(());
    }
    let shape = staged.shape;
    let plan = plan(staged, heads)?;
    let splits = if plan.splits > 1 {
        scratch.reserve(driver, plan.partial_bytes, "splits of attention")?
    } else {
        0
    };
    let rows = staged.n_rows as u32;
    let args = [
        staged.seq_of(),
        staged.address(Field::RowStart),
        staged.address(Field::DraftedStart),
        staged.address(Field::PrefixLen),
        staged.address(Field::Slot),
        staged.address(Field::TableStart),
        staged.address(Field::Table),
        staged.address(Field::Ancestors),
        shape.set_words.into(),
        qkv.address.into(),
        qkv.stride.into(),
        cache[0].into(),
        cache[1].into(),
        out.address.into(),
        out.stride.into(),
        splits.into(),
        heads.n_q.into(),
        heads.n_kv.into(),
        heads.dim.into(),
        (1.0 / (heads.dim as f64).sqrt() as f32).into(),
        plan.columns.into(),
    ];
    let geometry = Geometry {
        grid: [rows, heads.n_kv as u32, plan.splits as u32],
        threads: 128,
        shared_bytes: plan.shared_bytes as u32,
    };
    ops::launch(driver, Entry { stem: "tree_attention", name: plan.name }, geometry, &args)?;
    if plan.splits == 1 {
        return Ok(());
    }
    let args = [
        staged.address(Field::PrefixLen),
        staged.address(Field::Ancestors),
        shape.set_words.into(),
        splits.into(),
        out.address.into(),
        out.stride.into(),
        heads.dim.into(),
    ];
    let grid = [rows, heads.n_q as u32, 1];
    let entry = Entry { stem: "tree_attention", name: "tree_attention_merge" };
    ops::launch(driver, entry, Geometry { grid, threads: 128, shared_bytes: 0 }, &args)
}

/// A way to divide the work.
struct Plan {
    name: &'static str,
    /// Blocks that share the splits of a row; 1 if each does all.
    splits: usize,
    /// Room for drafted columns, in whole tiles.
    columns: usize,
    shared_bytes: usize,
    partial_bytes: usize,
}

fn plan(staged: &Staged, heads: Heads) -> Result<Plan, DeviceError> {
    let shape = staged.shape;
    let Heads { n_q, n_kv, dim } = heads;
    let group = n_q / n_kv;
    let unsupported = |why: String| Err(DeviceError::Unsupported(why));
    if dim > 128 {
        return unsupported(format!("heads of {dim} columns; at most 128"));
    }
    if group > 32 {
        return unsupported(format!("{group} query heads to a key head; at most 32"));
    }
    let columns = shape.drafted_most.next_multiple_of(TILE);
    let width = if dim <= 64 { 64 } else { 128 };
    let shared = |rows: usize| 4 * ((rows + 2 * TILE) * (width + 4) + rows * (TILE + columns + 5));
    let few = group <= 8 && (shape.rows_most * group <= 8 || shared(32) > SHARED_MAX);
    let rows = if few { 8 } else { 32 };
    if shared(rows) > SHARED_MAX {
        return unsupported(format!(
            "{} drafted rows of a sequence with {group} query heads to a key head; lower tree_max",
            shape.drafted_most
        ));
    }
    let name = match (width, rows) {
        (64, 8) => "tree_attention_64_8",
        (64, _) => "tree_attention_64_32",
        (_, 8) => "tree_attention_128_8",
        _ => "tree_attention_128_32",
    };
    let splits = shape.seen_most.div_ceil(SPLIT);
    let partial_bytes = 4 * splits * staged.n_rows * n_q * (dim + 2);
    // An estimate from below: sequences rarely have the same number of rows.
    let blocks = staged.n_rows.div_ceil(rows / group).max(shape.n_seqs) * n_kv;
    let splits = if blocks < BLOCKS && partial_bytes <= PARTIAL_BYTES { splits } else { 1 };
    Ok(Plan { name, splits, columns, shared_bytes: shared(rows), partial_bytes })
}
