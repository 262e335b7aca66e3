//! add — adds one matrix to another in place.
//! also: `echo-kernels-cuda/cu/add.cu`, `echo-kernels-wgpu/wgsl/add.wgsl`
//!
//! ```text
//! in      x     f32[rows, width]
//! in out  into  f32[rows, width]   another buffer than x
//! numerics: exact (one f32 addition per element). panics: if an area leaves its buffer.
//! source: the residual connection of He et al., "Deep residual learning" (2016).
//! ```

use crate::Area;

/// `into += x`, element by element.
pub fn add(rows: usize, x: &[f32], x_area: Area, into: &mut [f32], into_area: Area) {
    assert_eq!(x_area.width, into_area.width, "add: widths differ");
    for row in 0..rows {
        for i in 0..into_area.width {
            into[into_area.at(row, i)] += x[x_area.at(row, i)];
        }
    }
}
