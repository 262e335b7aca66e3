//! Random weights in every stored type, and damaged copies of them.

use super::random::Random;
use echo_core::tensor::{DType, TensorView};
use half::{bf16, f16};

/// Every stored type.
pub(super) const DTYPES: [DType; 8] = [
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::Q4_0,
    DType::Q4_1,
    DType::Q8_0,
    DType::Q4K,
    DType::Q6K,
];

/// A stored matrix and its bytes.
#[derive(Clone)]
pub(super) struct StoredMatrix {
    pub(super) dtype: DType,
    pub(super) rows: usize,
    pub(super) cols: usize,
    bytes: Vec<u8>,
}

impl StoredMatrix {
    /// Random weights; `cols` is rounded up to whole blocks.
    pub(super) fn random(dtype: DType, rows: usize, cols: usize, random: &mut Random) -> Self {
        let cols = cols.next_multiple_of(dtype.block_len());
        let blocks = rows * cols / dtype.block_len();
        let mut bytes = Vec::new();
        for _ in 0..blocks {
            block(dtype, random, &mut bytes);
        }
        StoredMatrix { dtype, rows, cols, bytes }
    }

    pub(super) fn view(&self) -> TensorView<'_> {
        TensorView {
            name: "conformance",
            dtype: self.dtype,
            rows: self.rows,
            cols: self.cols,
            bytes: &self.bytes,
        }
    }

    /// What a backend would see that forgets a part of the format: the minimum of `Q4_1` and
    /// `Q4_K`, the order of nibbles, the high bits of `Q6_K`, the place of a weight.
    pub(super) fn misread(&self) -> Self {
        let mut wrong = self.clone();
        for block in wrong.bytes.chunks_exact_mut(self.dtype.block_bytes()) {
            match self.dtype {
                DType::F32 | DType::F16 | DType::BF16 => {
                    block[self.dtype.block_bytes() - 1] ^= 0x80;
                }
                DType::Q4_0 => block[2..].iter_mut().for_each(|b| *b = b.rotate_left(4)),
                DType::Q4_1 | DType::Q4K => block[2..4].fill(0),
                DType::Q8_0 => block[2..].rotate_left(1),
                DType::Q6K => block[128..192].fill(0),
            }
        }
        wrong
    }
}

/// Appends a block: random bits everywhere, but scales of a plausible size.
fn block(dtype: DType, random: &mut Random, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    for _ in 0..dtype.block_bytes() {
        bytes.push(random.bits() as u8);
    }
    let mut put = |at: usize, value: f32| {
        bytes[start + at..start + at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    };
    let scale = 0.01 * (1.5 + random.unit());
    match dtype {
        DType::F32 => {
            let value = random.unit();
            bytes[start..].copy_from_slice(&value.to_le_bytes());
        }
        DType::F16 => put(0, random.unit()),
        DType::BF16 => {
            let value = bf16::from_f32(random.unit());
            bytes[start..].copy_from_slice(&value.to_le_bytes());
        }
        DType::Q4_0 | DType::Q8_0 => put(0, scale),
        DType::Q4_1 => {
            put(0, scale);
            put(2, -8.0 * scale);
        }
        DType::Q4K => {
            put(0, scale / 32.0);
            put(2, scale / 4.0);
        }
        DType::Q6K => put(208, scale / 64.0),
    }
}
