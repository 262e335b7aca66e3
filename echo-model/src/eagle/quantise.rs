//! Weights in four bits: a head is read once per level, so its bytes are its time.

use crate::tensor::{Tensor, floats_of_q8_0};
use echo_core::DType;
use half::f16;
use std::borrow::Cow;

const LEN: usize = DType::Q4_1.block_len();

/// The same matrix as `Q4_1`, each block between its least and its largest weight; as it is if its
/// rows are not whole blocks or it is quantised already, but for `Q8_0`.
pub(super) fn to_q4_1(tensor: Tensor<'_>) -> Tensor<'_> {
    let weights = match tensor.dtype {
        DType::Q8_0 => Some(floats_of_q8_0(&tensor.bytes)),
        _ => tensor.to_f32(),
    };
    let Some(weights) = weights.filter(|_| tensor.cols.is_multiple_of(LEN)) else {
        return tensor;
    };
    let mut bytes = Vec::with_capacity(weights.len() / LEN * DType::Q4_1.block_bytes());
    for block in weights.chunks_exact(LEN) {
        let bounds = |(least, most): (f32, f32), &w: &f32| (least.min(w), most.max(w));
        let (least, most) = block.iter().fold((f32::INFINITY, f32::NEG_INFINITY), bounds);
        let (scale, least) = (f16::from_f32((most - least) / 15.0), f16::from_f32(least));
        bytes.extend(scale.to_le_bytes());
        bytes.extend(least.to_le_bytes());
        let inverse = if scale.to_f32() > 0.0 { scale.to_f32().recip() } else { 0.0 };
        let level = |w: f32| ((w - least.to_f32()) * inverse).round().clamp(0.0, 15.0) as u8;
        let (low, high) = block.split_at(LEN / 2);
        bytes.extend(low.iter().zip(high).map(|(&l, &h)| level(l) | level(h) << 4));
    }
    Tensor { dtype: DType::Q4_1, bytes: Cow::Owned(bytes), ..tensor }
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
        let quantised = to_q4_1(tensor(&weights));
        assert_eq!((quantised.dtype, quantised.bytes.len()), (DType::Q4_1, 2 * 20));
        for (b, block) in quantised.bytes.chunks_exact(20).enumerate() {
            let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
            let (scale, least) = (half(0), half(2));
            for i in 0..32 {
                let q = block[4 + i % 16] >> (4 * (i / 16)) & 15;
                let error = scale * f32::from(q) + least - weights[b * 32 + i];
                assert!(error.abs() <= scale * 0.51, "weight {i} of block {b} is off by {error}");
            }
        }
    }

    #[test]
    fn eight_bits_become_four() {
        let scale = f16::from_f32(0.5).to_le_bytes();
        let weights = (0..32).map(|i| (i % 16) as i8 as u8);
        let bytes: Vec<u8> = scale.into_iter().chain(weights).collect();
        let eight = Tensor { dtype: DType::Q8_0, bytes: bytes.into(), ..tensor(&[0.0; 32]) };
        let four = to_q4_1(eight);
        assert_eq!((four.dtype, four.bytes[..4].to_vec()), (DType::Q4_1, vec![0, 0x38, 0, 0]));
        assert!(four.bytes[4..].iter().enumerate().all(|(i, &b)| usize::from(b) == i | i << 4));
    }

    #[test]
    fn zeros_stay_zeros_and_odd_rows_stay_singles() {
        assert!(to_q4_1(tensor(&[0.0; 32])).bytes.iter().all(|&q| q == 0));
        assert_eq!(to_q4_1(tensor(&[1.0; 33])).dtype, DType::F32);
    }
}
