//! linear — multiplies each row by a weight matrix.
//! also: `echo-kernels-cuda/cu/linear.cu`, `echo-kernels-wgpu/wgsl/linear.wgsl`
//!
//! ```text
//! in   x       f32[rows, cols]
//! in   weight  weight[width, cols]   any stored type, dequantised as in dequant.rs
//! out  out     f32[rows, width]      another buffer than x
//! numerics: tolerance; float weights 1e-9 NMSE, quantised weights 2e-4 NMSE, since a backend may
//!   round x to 8 bits per block of 32 before it meets a quantised weight. panics: if an area
//!   leaves its buffer.
//! source: none needed.
//! ```

use crate::Area;

/// `out[r, n] = sum over k of x[r, k] * weight[n, k]`, `k` ascending, in f64.
pub fn linear(
    rows: usize,
    weight: &[f32],
    x: &[f32],
    x_area: Area,
    out: &mut [f32],
    out_area: Area,
) {
    let cols = x_area.width;
    assert_eq!(weight.len(), out_area.width * cols, "linear: shape of weight");
    for row in 0..rows {
        for n in 0..out_area.width {
            let mut sum = 0.0;
            for k in 0..cols {
                sum += f64::from(x[x_area.at(row, k)]) * f64::from(weight[n * cols + k]);
            }
            out[out_area.at(row, n)] = sum as f32;
        }
    }
}
