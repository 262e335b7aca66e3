//! Random weights of a given spread, made directly in their stored form.

use echo_core::DType;
use echo_core::sampling::philox;
use half::{bf16, f16};

/// A stream of random words that is a function of its seed.
pub(super) struct Words {
    key: [u32; 2],
    next: u32,
}

impl Words {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mixed = (seed ^ stream.wrapping_mul(0x9E37_79B9_7F4A_7C15)).rotate_left(23);
        Words { key: [mixed as u32, (mixed >> 32) as u32], next: 0 }
    }

    fn word(&mut self) -> u32 {
        self.next += 1;
        philox([self.next, 0, 0, 0], self.key)[0]
    }

    fn byte(&mut self) -> u8 {
        (self.word() >> 24) as u8
    }

    /// Uniform with mean 0 and standard deviation 1.
    pub(super) fn uniform(&mut self) -> f32 {
        (f64::from(self.word()) / f64::from(u32::MAX) * 2.0 - 1.0) as f32 * 3f32.sqrt()
    }
}

/// `n` weights with mean about 0 and standard deviation about `sd`; `n` is whole blocks.
pub(super) fn blocks(dtype: DType, n: usize, sd: f32, words: &mut Words) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..n / dtype.block_len() {
        block(dtype, sd, words, &mut out);
    }
    assert_eq!(Some(out.len()), dtype.row_bytes(n), "{n} weights are whole blocks of {dtype}");
    out
}

fn block(dtype: DType, sd: f32, words: &mut Words, out: &mut Vec<u8>) {
    // Scales differ from block to block, so that a mix-up of blocks shows.
    let scale = sd * (1.0 + 0.25 * words.uniform());
    let half = |x: f32| f16::from_f32(x).to_le_bytes();
    // Standard deviation of uniform nibbles, of bytes, and of 6-bit scales around their mean
    // square.
    let (nibble, byte, six) = (4.61, 73.9, 36.4);
    match dtype {
        DType::F32 => out.extend((sd * words.uniform()).to_le_bytes()),
        DType::F16 => out.extend(half(sd * words.uniform())),
        DType::BF16 => out.extend(bf16::from_f32(sd * words.uniform()).to_le_bytes()),
        DType::Q4_0 => {
            out.extend(half(scale / nibble));
            out.extend((0..16).map(|_| words.byte()));
        }
        DType::Q4_1 => {
            out.extend(half(scale / nibble));
            out.extend(half(-7.5 * scale / nibble));
            out.extend((0..16).map(|_| words.byte()));
        }
        DType::Q8_0 => {
            out.extend(half(scale / byte));
            out.extend((0..32).map(|_| words.byte()));
        }
        DType::Q4K => {
            let d = scale / nibble / six;
            out.extend(half(d));
            out.extend(half(7.5 * d));
            out.extend((0..12 + 128).map(|_| words.byte()));
        }
        DType::Q6K => {
            out.extend((0..128 + 64 + 16).map(|_| words.byte()));
            out.extend(half(scale / 18.5 / byte));
        }
    }
}
