//! `silu_mul` — the gated activation between the two halves of a feed-forward block.
//! also: `echo-kernels-cuda/cu/silu_mul.cu`, `echo-kernels-wgpu/wgsl/silu_mul.wgsl`
//!
//! ```text
//! in   gate_up  f32[rows, 2 width]   gate columns first
//! out  out      f32[rows, width]     another buffer than gate_up
//! numerics: tolerance 1e-10 NMSE. panics: if an area leaves its buffer.
//! source: Shazeer, "GLU variants improve transformer" (2020), SwiGLU.
//! ```

use crate::Area;

/// `out = gate / (1 + exp(-gate)) * up`.
pub fn silu_mul(rows: usize, gate_up: &[f32], in_area: Area, out: &mut [f32], out_area: Area) {
    assert_eq!(in_area.width, 2 * out_area.width, "silu_mul: gate and up columns");
    for row in 0..rows {
        for i in 0..out_area.width {
            let gate = f64::from(gate_up[in_area.at(row, i)]);
            let up = f64::from(gate_up[in_area.at(row, out_area.width + i)]);
            out[out_area.at(row, i)] = (gate / (1.0 + (-gate).exp()) * up) as f32;
        }
    }
}
