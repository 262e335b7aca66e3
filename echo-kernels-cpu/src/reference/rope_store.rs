//! `rope_store` — rotates q and k by position, then writes k and v into the row's slot.
//! also: `echo-kernels-cuda/cu/rope_store.cu`, `echo-kernels-wgpu/wgsl/rope_store.wgsl`
//!
//! ```text
//! in      position  u32[rows]
//! in      slot      u32[rows]                     no two rows share one
//! in      rope      f32[positions, dim / 2, 2]    cosine, sine
//! in out  qkv       f32[rows, (n_q + 2 n_kv) dim] q and k columns are rotated in place, v is read
//! out     keys      f32[slots, n_kv, dim]         only the rows' slots are written
//! out     values    f32[slots, n_kv, dim]         only the rows' slots are written
//! numerics: tolerance 1e-12 NMSE for q and k; v is exact. panics: if a position, a slot or an area
//!   leaves its buffer.
//! source: Su et al., "RoFormer" (2021), equation 34, with column i paired with i + dim / 2 as in
//!   the checkpoints of the Llama family.
//! ```

use crate::Area;
use echo_core::PackedView;
use echo_core::port::Heads;

/// Rotates the q and k heads of each staged row and stores its keys and values.
pub fn rope_store(
    packed: PackedView<'_>,
    heads: Heads,
    rope: &[f32],
    qkv: &mut [f32],
    area: Area,
    keys: &mut [f32],
    values: &mut [f32],
) {
    let half = heads.dim / 2;
    let first_v = heads.n_q + heads.n_kv;
    for row in 0..packed.rows() {
        let angles = packed.position[row] as usize * heads.dim;
        for head in 0..first_v {
            for i in 0..half {
                let cos = f64::from(rope[angles + 2 * i]);
                let sin = f64::from(rope[angles + 2 * i + 1]);
                let low = area.at(row, head * heads.dim + i);
                let high = area.at(row, head * heads.dim + half + i);
                let (a, b) = (f64::from(qkv[low]), f64::from(qkv[high]));
                qkv[low] = (a * cos - b * sin) as f32;
                qkv[high] = (b * cos + a * sin) as f32;
            }
        }
        let place = packed.slot[row] as usize * heads.n_kv * heads.dim;
        for i in 0..heads.n_kv * heads.dim {
            keys[place + i] = qkv[area.at(row, heads.n_q * heads.dim + i)];
            values[place + i] = qkv[area.at(row, first_v * heads.dim + i)];
        }
    }
}
