//! embed — looks up the embedding of each staged row's token.
//! also: `echo-kernels-cuda/cu/embed.cu`, `echo-kernels-wgpu/wgsl/embed.wgsl`
//!
//! ```text
//! in   token  u32[rows]           below vocab
//! in   table  weight[vocab, width]  any stored type, dequantised as in dequant.rs
//! out  out    f32[rows, width]
//! numerics: exact. panics: if a token is not in the table or an area leaves its buffer.
//! source: Vaswani et al., "Attention is all you need" (2017), section 3.4.
//! ```

use crate::Area;
use echo_core::Token;

/// `out[r] = table[token[r]]` where `table` is row-major with `out_area.width` columns.
pub fn embed(token: &[Token], table: &[f32], out: &mut [f32], out_area: Area) {
    for (row, &token) in token.iter().enumerate() {
        for i in 0..out_area.width {
            out[out_area.at(row, i)] = table[token as usize * out_area.width + i];
        }
    }
}
