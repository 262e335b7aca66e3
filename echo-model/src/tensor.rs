//! A tensor of a checkpoint, in the row order the forward wants.

use std::borrow::Cow;

use echo_core::{DType, TensorView};
use half::{bf16, f16};

/// A stored matrix, borrowed from the file unless its rows had to be put in another order.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    /// Its name in the file.
    pub name: Cow<'a, str>,
    /// Element type.
    pub dtype: DType,
    /// Output features; 1 for a vector.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
    /// `rows * dtype.row_bytes(cols)` bytes.
    pub bytes: Cow<'a, [u8]>,
}

impl Tensor<'_> {
    /// The same as kernels take it.
    pub fn view(&self) -> TensorView<'_> {
        TensorView {
            name: &self.name,
            dtype: self.dtype,
            rows: self.rows,
            cols: self.cols,
            bytes: &self.bytes,
        }
    }

    /// All elements as F32, exactly; `None` for quantised types.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let pairs = || self.bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        match self.dtype {
            DType::F32 => Some(floats(&self.bytes)),
            DType::F16 => Some(pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect()),
            DType::BF16 => Some(pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect()),
            _ => None,
        }
    }
}

/// The weights of whole blocks of `Q8_0`: a scale in half precision and 32 bytes each.
pub(crate) fn floats_of_q8_0(bytes: &[u8]) -> Vec<f32> {
    let block = |block: &[u8]| {
        let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
        block[2..].iter().map(|&q| scale * f32::from(q as i8)).collect::<Vec<_>>()
    };
    bytes.chunks_exact(DType::Q8_0.block_bytes()).flat_map(block).collect()
}

/// Little-endian singles.
pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Undoes the row order in which GGUF stores q and k of the Llama family.
///
/// GGUF's rotation pairs neighbouring columns, so its converter lays row `j * dim / 2 + i` of a
/// head (`j` = 0, 1) at `2 i + j`. The forward pairs column `i` with `i + dim / 2`, as the original
/// checkpoints do. Rows move whole, so this works on quantised ones.
pub(crate) fn deinterleave(bytes: &[u8], n_heads: usize, head_dim: usize) -> Vec<u8> {
    let row = bytes.len() / (n_heads * head_dim);
    let half = head_dim / 2;
    let mut out = Vec::with_capacity(bytes.len());
    for head in 0..n_heads {
        for j in 0..2 {
            for i in 0..half {
                let from = (head * head_dim + 2 * i + j) * row;
                out.extend_from_slice(&bytes[from..from + row]);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_return_to_halves() {
        // Two heads of six rows, two bytes a row; the stored order is 0 3 1 4 2 5.
        let stored: Vec<u8> = [0, 3, 1, 4, 2, 5, 10, 13, 11, 14, 12, 15]
            .into_iter()
            .flat_map(|row| [row, row + 100])
            .collect();
        let expected: Vec<u8> = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
            .into_iter()
            .flat_map(|row| [row, row + 100])
            .collect();
        assert_eq!(deinterleave(&stored, 2, 6), expected);
        // One head of twelve rows is another order: the head count matters.
        assert_ne!(deinterleave(&stored, 1, 12), expected);
    }

    #[test]
    fn halves_widen_exactly() {
        let tensor = |dtype, bytes: &[u8]| Tensor {
            name: "t".into(),
            dtype,
            rows: 1,
            cols: 1,
            bytes: Cow::Owned(bytes.to_vec()),
        };
        let f32 = |t: Tensor<'_>| t.to_f32();
        assert_eq!(f32(tensor(DType::F16, &[0x00, 0x3e])), Some(vec![1.5]));
        assert_eq!(f32(tensor(DType::BF16, &[0xc0, 0x3f])), Some(vec![1.5]));
        assert_eq!(f32(tensor(DType::F32, &1.5f32.to_le_bytes())), Some(vec![1.5]));
        assert_eq!(f32(tensor(DType::Q8_0, &[0; 34])), None);
    }
}
