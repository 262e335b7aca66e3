//! `rms_norm` — scales groups of columns to unit mean square, then by a weight.
//! also: `echo-kernels-cuda/cu/rms_norm.cu`, `echo-kernels-wgpu/wgsl/rms_norm.wgsl`
//!
//! ```text
//! in   x       f32[rows, width]   width is a multiple of group
//! in   weight  f32[group]         its length is the size of a group
//! in   eps     f32                added to the mean square
//! out  out     f32[rows, width]   may be x itself; otherwise no element of x
//! numerics: tolerance 1e-10 NMSE. panics: if width is no multiple of group or an area leaves its
//!   buffer.
//! source: Zhang and Sennrich, "Root mean square layer normalization" (2019), equation 4.
//! ```

use crate::Area;

/// `out = x / sqrt(mean(x²) + eps) * weight` for each group of `weight.len()` columns.
pub fn rms_norm(
    rows: usize,
    x: &[f32],
    x_area: Area,
    weight: &[f32],
    eps: f32,
    out: &mut [f32],
    out_area: Area,
) {
    let group = weight.len();
    assert_eq!(x_area.width, out_area.width, "rms_norm: widths differ");
    assert!(
        x_area.width.is_multiple_of(group),
        "rms_norm: width {} is no multiple of {group}",
        x_area.width
    );
    for row in 0..rows {
        for first in (0..x_area.width).step_by(group) {
            let mut squares = 0.0;
            for i in 0..group {
                let value = f64::from(x[x_area.at(row, first + i)]);
                squares += value * value;
            }
            let scale = 1.0 / (squares / group as f64 + f64::from(eps)).sqrt();
            for i in 0..group {
                let value = f64::from(x[x_area.at(row, first + i)]);
                out[out_area.at(row, first + i)] = (value * scale * f64::from(weight[i])) as f32;
            }
        }
    }
}
