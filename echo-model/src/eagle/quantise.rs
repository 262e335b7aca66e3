//! Weights in eight bits: a head is read once per level, so its bytes are its time.

use crate::tensor::Tensor;
use echo_core::DType;
use half::f16;
use std::borrow::Cow;

const LEN: usize = DType::Q8_0.block_len();

/// The same matrix as `Q8_0`, each block scaled by its largest weight; as it is if it is quantised
/// already or its rows are not whole blocks.
pub(super) fn to_q8_0(tensor: Tensor<'_>) -> Tensor<'_> {
    let whole = tensor.cols.is_multiple_of(LEN);
    let Some(weights) = tensor.to_f32().filter(|_| whole) else {
        return tensor;
    };
    let mut bytes = Vec::with_capacity(weights.len() / LEN * DType::Q8_0.block_bytes());
    for block in weights.chunks_exact(LEN) {
        let largest = block.iter().fold(0.0f32, |most, w| most.max(w.abs()));
        let scale = f16::from_f32(largest / 127.0);
        bytes.extend(scale.to_le_bytes());
        let inverse = if scale.to_f32() > 0.0 { scale.to_f32().recip() } else { 0.0 };
        bytes.extend(block.iter().map(|w| (w * inverse).round().clamp(-127.0, 127.0) as i8 as u8));
    }
    Tensor { dtype: DType::Q8_0, bytes: Cow::Owned(bytes), ..tensor }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(weights: &[f32]) -> Tensor<'static> {
        let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        let (name, bytes) = (Cow::Borrowed("w"), Cow::Owned(bytes));
        Tensor { name, dtype: DType::F32, rows: 1, cols: weights.len(), bytes }
    }

    #[test]
    fn a_block_keeps_its_weights_to_half_a_step() {
        let weights: Vec<f32> = (0..64).map(|i| ((i * 37) % 61) as f32 / 61.0 - 0.4).collect();
        let quantised = to_q8_0(tensor(&weights));
        assert_eq!((quantised.dtype, quantised.bytes.len()), (DType::Q8_0, 2 * 34));
        for (b, block) in quantised.bytes.chunks_exact(34).enumerate() {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (i, &q) in block[2..].iter().enumerate() {
                let error = scale * f32::from(q as i8) - weights[b * 32 + i];
                assert!(error.abs() <= scale * 0.51, "weight {i} of block {b} is off by {error}");
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_odd_rows_stay_singles() {
        assert!(to_q8_0(tensor(&[0.0; 32])).bytes[2..].iter().all(|&q| q == 0));
        assert_eq!(to_q8_0(tensor(&[1.0; 33])).dtype, DType::F32);
    }
}
