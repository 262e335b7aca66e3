//! dequant — stored weights to F32, block by block, in GGUF's layouts.
//! Not an operation of the port: what `embed` and `linear` mean by a weight's value.
//!
//! ```text
//! in   bytes  u8[rows * row_bytes(cols)]
//! out  out    f32[rows, cols]
//! numerics: exact: every value is the nearest f32 to the formula of its type in `DType`.
//! panics: if the lengths do not fit. source: the GGUF file format's block types.
//! ```

use echo_core::tensor::{DType, TensorView};
use half::{bf16, f16};

/// Appends all weights of `tensor` to `out`, row after row.
pub fn dequantize(tensor: &TensorView<'_>, out: &mut Vec<f32>) {
    let dtype = tensor.dtype;
    assert_eq!(
        Some(tensor.bytes.len()),
        dtype.row_bytes(tensor.cols).and_then(|bytes| bytes.checked_mul(tensor.rows)),
        "{}: length of {dtype}",
        tensor.name
    );
    for block in tensor.bytes.chunks_exact(dtype.block_bytes()) {
        match dtype {
            DType::F32 => out.push(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
            DType::F16 => out.push(f16::from_le_bytes([block[0], block[1]]).to_f32()),
            DType::BF16 => out.push(bf16::from_le_bytes([block[0], block[1]]).to_f32()),
            DType::Q4_0 => q4_0(block, out),
            DType::Q4_1 => q4_1(block, out),
            DType::Q8_0 => q8_0(block, out),
            DType::Q4K => q4_k(block, out),
            DType::Q6K => q6_k(block, out),
        }
    }
}

fn scale(block: &[u8], at: usize) -> f64 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f64()
}

fn q4_0(block: &[u8], out: &mut Vec<f32>) {
    let d = scale(block, 0);
    for i in 0..32 {
        let byte = block[2 + i % 16];
        let nibble = if i < 16 { byte & 15 } else { byte >> 4 };
        out.push((d * (f64::from(nibble) - 8.0)) as f32);
    }
}

fn q4_1(block: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (scale(block, 0), scale(block, 2));
    for i in 0..32 {
        let byte = block[4 + i % 16];
        let nibble = if i < 16 { byte & 15 } else { byte >> 4 };
        out.push((d * f64::from(nibble) + m) as f32);
    }
}

fn q8_0(block: &[u8], out: &mut Vec<f32>) {
    let d = scale(block, 0);
    for &byte in &block[2..34] {
        out.push((d * f64::from(byte as i8)) as f32);
    }
}

/// Groups 2p and 2p + 1 are the low and the high nibbles of the p-th run of 32 bytes.
fn q4_k(block: &[u8], out: &mut Vec<f32>) {
    let (d, dmin) = (scale(block, 0), scale(block, 2));
    for group in 0..8 {
        let (sc, mn) = q4_k_scale(&block[4..16], group);
        for i in 0..32 {
            let byte = block[16 + group / 2 * 32 + i];
            let nibble = if group % 2 == 0 { byte & 15 } else { byte >> 4 };
            let value = d * f64::from(sc) * f64::from(nibble) - dmin * f64::from(mn);
            out.push(value as f32);
        }
    }
}

/// Bytes 0..4 and 4..8 hold six bits each of the first four scales and minima; their upper pairs
/// are the upper pairs of the last four, whose lower nibbles are in bytes 8..12.
fn q4_k_scale(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    let sc = low & 15 | packed[group - 4] >> 6 << 4;
    let mn = low >> 4 | packed[group] >> 6 << 4;
    (sc, mn)
}

/// Weight `i` of each half of 128: run `i / 32` takes its low nibble from byte `i % 64` (the upper
/// nibble for runs 2 and 3) and its upper pair from the run's bits of byte `i % 32`.
fn q6_k(block: &[u8], out: &mut Vec<f32>) {
    let d = scale(block, 208);
    for half in 0..2 {
        for i in 0..128 {
            let low = block[half * 64 + i % 64];
            let low = if i < 64 { low & 15 } else { low >> 4 };
            let high = block[128 + half * 32 + i % 32] >> (2 * (i / 32)) & 3;
            let sc = block[192 + half * 8 + i / 16] as i8;
            let q = f64::from(low | high << 4) - 32.0;
            out.push((d * f64::from(sc) * q) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(dtype: DType, cols: usize, bytes: &[u8]) -> Vec<f32> {
        let mut out = Vec::new();
        let tensor = TensorView { name: "test", dtype, rows: 1, cols, bytes };
        dequantize(&tensor, &mut out);
        out
    }

    fn f16_bytes(value: f32) -> [u8; 2] {
        f16::from_f32(value).to_le_bytes()
    }

    #[test]
    fn floats_are_read_little_endian() {
        assert_eq!(values(DType::F32, 1, &1.5f32.to_le_bytes()), [1.5]);
        assert_eq!(values(DType::F16, 1, &f16_bytes(-2.5)), [-2.5]);
        assert_eq!(values(DType::BF16, 1, &[0x80, 0x3F]), [1.0]);
    }

    #[test]
    fn nibble_blocks_put_the_low_half_first() {
        let mut block = f16_bytes(0.5).to_vec();
        block.extend((0..16).map(|i| if i == 3 { 0xF1 } else { 0x88 }));
        let w = values(DType::Q4_0, 32, &block);
        assert_eq!((w[0], w[3], w[16], w[19]), (0.0, -3.5, 0.0, 3.5));
        let mut block = [f16_bytes(0.5), f16_bytes(-1.0)].concat();
        block.extend([0x20; 16]);
        let w = values(DType::Q4_1, 32, &block);
        assert_eq!((w[0], w[31]), (-1.0, 0.0));
    }

    #[test]
    fn q4_k_takes_each_scale_and_minimum_from_its_bits() {
        // Scales 1..=7 and 40 (0b10_1000), minima 8..=14 and 33 (0b10_0001).
        let mut packed = [0u8; 12];
        for group in 0..4 {
            packed[group] = group as u8 + 1;
            packed[group + 4] = group as u8 + 8;
            packed[group + 8] = (group as u8 + 5) | (group as u8 + 12) << 4;
        }
        packed[11] = 0b0001_1000;
        packed[3] |= 0b10 << 6;
        packed[7] |= 0b10 << 6;
        let mut block = [f16_bytes(2.0), f16_bytes(1.0)].concat();
        block.extend(packed);
        block.extend([0x31; 128]);
        let w = values(DType::Q4K, 256, &block);
        let firsts: Vec<f32> = w.chunks(32).map(|group| group[0]).collect();
        let formula = |sc: f32, nibble: f32, mn: f32| 2.0 * sc * nibble - mn;
        let wanted = [
            formula(1.0, 1.0, 8.0),
            formula(2.0, 3.0, 9.0),
            formula(3.0, 1.0, 10.0),
            formula(4.0, 3.0, 11.0),
            formula(5.0, 1.0, 12.0),
            formula(6.0, 3.0, 13.0),
            formula(7.0, 1.0, 14.0),
            formula(40.0, 3.0, 33.0),
        ];
        assert_eq!(firsts, wanted);
    }

    #[test]
    fn q6_k_joins_nibbles_and_pairs() {
        let mut block = vec![0u8; 210];
        block[..128].fill(0x52);
        block[128..192].fill(0b11_10_01_00);
        for (i, sc) in block[192..208].iter_mut().enumerate() {
            *sc = if i == 15 { 0xFF } else { 1 };
        }
        block[208..].copy_from_slice(&f16_bytes(1.0));
        let w = values(DType::Q6K, 256, &block);
        let runs: Vec<f32> = w.chunks(32).map(|run| run[0]).collect();
        assert_eq!(runs[..4], [-30.0, -14.0, 5.0, 21.0]);
        assert_eq!(w[255], -21.0);
    }
}
