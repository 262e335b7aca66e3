//! `tree_attention` — softmax attention of each row over its prefix and its ancestors.
//! also: `echo-kernels-cuda/cu/tree_attention.cu`, `echo-kernels-wgpu/wgsl/tree_attention.wgsl`
//!
//! ```text
//! in   packed  rows with prefix_len, ancestor sets and slots, as echo_core::PackedView has them
//! in   qkv     f32[rows, (n_q + 2 n_kv) dim]   only the q columns are read, already rotated
//! in   keys    f32[slots, n_kv, dim]           only slots a row sees are read
//! in   values  f32[slots, n_kv, dim]           only slots a row sees are read
//! out  out     f32[rows, n_q dim]              another buffer than the inputs
//! numerics: tolerance 1e-9 NMSE. A row sees the slots of positions 0..prefix_len of its sequence's
//!   table, then the slots of its ancestor rows in ascending order; the j-th of them is at
//!   position j. Query head h reads key head h / (n_q / n_kv). Scores are scaled by dim^-1/2.
//! panics: if a row sees nothing, or a slot or an area leaves its buffer.
//! source: Vaswani et al. (2017), section 3.2.1; ancestor masks of Miao et al., "SpecInfer" (2024).
//! ```

use crate::Area;
use echo_core::port::Heads;
use echo_core::{PackedView, Slot};

/// Attends every staged row to what it sees.
pub fn tree_attention(
    packed: PackedView<'_>,
    heads: Heads,
    qkv: &[f32],
    qkv_area: Area,
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
    out_area: Area,
) {
    for s in 0..packed.n_seqs() {
        for row in packed.rows_of(s) {
            let seen = seen_slots(packed, s, row);
            for head in 0..heads.n_q {
                let from = qkv_area.at(row, head * heads.dim);
                let to = out_area.at(row, head * heads.dim);
                attend(
                    &qkv[from..from + heads.dim],
                    &seen,
                    heads,
                    head / (heads.n_q / heads.n_kv),
                    keys,
                    values,
                    &mut out[to..to + heads.dim],
                );
            }
        }
    }
}

/// The slots `row` of the `s`-th sequence reads, by position.
fn seen_slots(packed: PackedView<'_>, s: usize, row: usize) -> Vec<Slot> {
    let mut seen = packed.table_of(s)[..packed.prefix_len[row] as usize].to_vec();
    let ancestors = packed.ancestors_of(row);
    for (bit, drafted) in packed.drafted(s).enumerate() {
        if ancestors[bit / 64] >> (bit % 64) & 1 == 1 {
            seen.push(packed.slot[drafted]);
        }
    }
    assert!(!seen.is_empty(), "tree_attention: row {row} sees nothing");
    seen
}

fn attend(
    query: &[f32],
    seen: &[Slot],
    heads: Heads,
    kv_head: usize,
    keys: &[f32],
    values: &[f32],
    out: &mut [f32],
) {
    let dim = heads.dim;
    let place = |slot: Slot| (slot as usize * heads.n_kv + kv_head) * dim;
    let mut weights = Vec::with_capacity(seen.len());
    for &slot in seen {
        let mut score = 0.0;
        for i in 0..dim {
            score += f64::from(query[i]) * f64::from(keys[place(slot) + i]);
        }
        weights.push(score / (dim as f64).sqrt());
    }
    let max = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for weight in &mut weights {
        *weight = (*weight - max).exp();
        sum += *weight;
    }
    for (i, out) in out.iter_mut().enumerate() {
        let mut total = 0.0;
        for (&slot, weight) in seen.iter().zip(&weights) {
            total += weight * f64::from(values[place(slot) + i]);
        }
        *out = (total / sum) as f32;
    }
}
