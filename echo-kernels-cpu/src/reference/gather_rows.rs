//! `gather_rows` — copies chosen rows of a matrix.
//! also: `echo-kernels-cuda/cu/gather_rows.cu`, `echo-kernels-wgpu/wgsl/gather_rows.wgsl`
//!
//! ```text
//! in   index  u32[rows]          rows of x, any order, repeats allowed
//! in   x      f32[any, width]
//! out  out    f32[rows, width]   another buffer than x
//! numerics: exact. panics: if an index or an area leaves its buffer.
//! source: none needed; only rows that want a verdict go through the output projection.
//! ```

use crate::Area;

/// `out[i] = x[index[i]]` for `i < rows`.
pub fn gather_rows(
    rows: usize,
    index: &[u32],
    x: &[f32],
    x_area: Area,
    out: &mut [f32],
    out_area: Area,
) {
    assert_eq!(x_area.width, out_area.width, "gather_rows: widths differ");
    for row in 0..rows {
        for i in 0..out_area.width {
            out[out_area.at(row, i)] = x[x_area.at(index[row] as usize, i)];
        }
    }
}
