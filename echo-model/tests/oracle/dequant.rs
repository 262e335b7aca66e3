//! Stored weights as numbers, from the descriptions in `DType` and nothing else.

use echo_core::DType;
use half::{bf16, f16};

pub(crate) fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(dtype.block_bytes()).flat_map(|block| one(dtype, block)).collect()
}

fn half(b: &[u8]) -> f64 {
    f16::from_le_bytes([b[0], b[1]]).to_f64()
}

fn one(dtype: DType, b: &[u8]) -> Vec<f64> {
    // Low nibbles first, then high nibbles.
    let nibbles = |b: &[u8]| {
        let low = b.iter().map(|x| f64::from(x & 15));
        low.chain(b.iter().map(|x| f64::from(x >> 4))).collect::<Vec<_>>()
    };
    match dtype {
        DType::F32 => vec![f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]]))],
        DType::F16 => vec![half(b)],
        DType::BF16 => vec![bf16::from_le_bytes([b[0], b[1]]).to_f64()],
        DType::Q4_0 => nibbles(&b[2..]).iter().map(|n| half(b) * (n - 8.0)).collect(),
        DType::Q4_1 => nibbles(&b[4..]).iter().map(|n| half(b) * n + half(&b[2..])).collect(),
        DType::Q8_0 => b[2..].iter().map(|&q| half(b) * f64::from(q as i8)).collect(),
        DType::Q4K => {
            let (d, dmin, packed, bytes) = (half(b), half(&b[2..]), &b[4..16], &b[16..]);
            let mut out = Vec::new();
            for group in 0..8 {
                let (scale, min) = if group < 4 {
                    (packed[group] & 63, packed[group + 4] & 63)
                } else {
                    let shared = packed[group + 4];
                    let scale = shared & 15 | packed[group - 4] >> 6 << 4;
                    (scale, shared >> 4 | packed[group] >> 6 << 4)
                };
                let pair = nibbles(&bytes[group / 2 * 32..][..32]);
                let own = &pair[group % 2 * 32..][..32];
                let (scale, min) = (d * f64::from(scale), dmin * f64::from(min));
                out.extend(own.iter().map(|n| scale * n - min));
            }
            out
        }
        DType::Q6K => {
            let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], half(&b[208..]));
            let weight = |i: usize| {
                let (part, quarter, l) = (i / 128, i % 128 / 32, i % 32);
                let byte = low[part * 64 + quarter % 2 * 32 + l];
                let four = if quarter < 2 { byte & 15 } else { byte >> 4 };
                let two = high[part * 32 + l] >> (2 * quarter) & 3;
                let q = f64::from(four | two << 4) - 32.0;
                d * f64::from(scales[i / 16] as i8) * q
            };
            (0..256).map(weight).collect()
        }
    }
}
