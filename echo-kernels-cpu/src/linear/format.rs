//! How a weight lies in memory once it is packed for the kernels.
//!
//! A packed weight is cut into *tiles* of [`LANES`] output rows. A tile starts on a 64-byte
//! boundary and is read from its first byte to its last, as one stream:
//!
//! ```text
//! quantised   for each run of one or two blocks:
//!               scales   [run, terms, 16]        f16 or f32
//!               weights  [run, 256 or 512]       bytes
//! dense       [cols, 16]                         f32, f16 or bf16
//! ```
//!
//! A block is 32 columns. Its terms are one scale for all columns or one for each half, then the
//! minimum if there is one; a run has two blocks if the terms of one fill only half a line. Of the
//! weights, 64 bytes hold four columns of 16 rows, column fastest, so that a 32-bit lane is four
//! columns of one row: the shape in which `vpdpbusd` and `vpmaddubsw` sum. As bytes, the eight
//! groups of four columns follow each other; as nibbles, the low half of 64 bytes is group `g` and
//! the high half group `g + 4`.

use echo_core::DType;

/// Output rows of one tile.
pub(super) const LANES: usize = 16;
/// Columns of one block, for weights and for quantised activations.
pub(super) const BLOCK: usize = 32;
/// Alignment of a tile, and the bytes of four columns of it.
pub(super) use crate::line::LINE;

/// The packed form of quantised weights: `w = scale * (q - zero)` or `w = scale * q + min`.
#[allow(clippy::struct_excessive_bools, reason = "each becomes a constant of a kernel")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    /// Two weights per byte, or one.
    pub(super) nibbles: bool,
    /// Scales are f32, or f16.
    pub(super) wide: bool,
    /// A minimum per block; then `zero` is 0.
    pub(super) min: bool,
    /// One scale for each 16 columns, or one for all 32.
    pub(super) halves: bool,
    /// Logarithm of `zero` to base 2 if there is no minimum.
    pub(super) zero_log2: u32,
}

/// GGUF `Q4_0`.
pub(super) const Q4_0: Blocks =
    Blocks { nibbles: true, wide: false, min: false, halves: false, zero_log2: 3 };
/// GGUF `Q4_1`.
pub(super) const Q4_1: Blocks = Blocks { min: true, zero_log2: 0, ..Q4_0 };
/// GGUF `Q4_K`: the scales of its groups are multiplied out.
pub(super) const Q4K: Blocks = Blocks { wide: true, ..Q4_1 };
/// GGUF `Q8_0` with 128 added to each weight.
pub(super) const Q8_0: Blocks = Blocks { nibbles: false, zero_log2: 7, ..Q4_0 };
/// GGUF `Q6_K`, a byte per weight, the scales of its groups multiplied out.
pub(super) const Q6K: Blocks = Blocks { wide: true, halves: true, zero_log2: 5, ..Q8_0 };

impl Blocks {
    /// What is subtracted from a stored weight.
    pub(super) const fn zero(self) -> i32 {
        if self.min { 0 } else { 1 << self.zero_log2 }
    }

    /// Scales and minima of one row and block.
    pub(super) const fn terms(self) -> usize {
        1 + self.halves as usize + self.min as usize
    }

    /// Bytes of one scale.
    pub(super) const fn scale_bytes(self) -> usize {
        if self.wide { 4 } else { 2 }
    }

    /// Bytes of the scales of one block of a tile.
    const fn terms_bytes(self) -> usize {
        self.terms() * LANES * self.scale_bytes()
    }

    /// Bytes of the weights of one block of a tile.
    const fn weights_bytes(self) -> usize {
        if self.nibbles { 256 } else { 512 }
    }

    /// Blocks of one run.
    const fn run(self) -> usize {
        if self.terms_bytes() < LINE { 2 } else { 1 }
    }

    /// Bytes of one run of blocks.
    const fn run_bytes(self) -> usize {
        self.run() * self.block_bytes()
    }

    /// Bytes of one block, its share of a run.
    pub(super) const fn block_bytes(self) -> usize {
        self.terms_bytes() + self.weights_bytes()
    }

    /// First byte of the scales of `block` in a tile.
    #[inline]
    pub(super) const fn terms_at(self, block: usize) -> usize {
        block / self.run() * self.run_bytes() + block % self.run() * self.terms_bytes()
    }

    /// First byte of the weights of `block` in a tile.
    #[inline]
    pub(super) const fn weights_at(self, block: usize) -> usize {
        let run = block / self.run() * self.run_bytes() + self.run() * self.terms_bytes();
        run + block % self.run() * self.weights_bytes()
    }

    /// Bytes of a tile of `blocks` blocks.
    pub(super) const fn tile_bytes(self, blocks: usize) -> usize {
        blocks.div_ceil(self.run()) * self.run_bytes()
    }
}

/// The packed form of a run of output rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Blocks(Blocks),
    /// Floats as stored: F32, F16 or BF16.
    Dense(DType),
}

impl Format {
    pub(super) fn of(dtype: DType) -> Self {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => Format::Dense(dtype),
            DType::Q4_0 => Format::Blocks(Q4_0),
            DType::Q4_1 => Format::Blocks(Q4_1),
            DType::Q8_0 => Format::Blocks(Q8_0),
            DType::Q4K => Format::Blocks(Q4K),
            DType::Q6K => Format::Blocks(Q6K),
        }
    }

    /// Bytes of one tile, a multiple of [`LINE`].
    pub(super) fn tile_bytes(self, cols: usize) -> usize {
        match self {
            Format::Blocks(form) => form.tile_bytes(cols / BLOCK),
            Format::Dense(dtype) => (cols * LANES * dtype.block_bytes()).next_multiple_of(LINE),
        }
    }
}

/// One tile of a packed weight.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) cols: usize,
}

impl Tile<'_> {
    /// Scale or minimum number `term` of `lane` in `block`.
    pub(super) fn term(&self, form: Blocks, block: usize, term: usize, lane: usize) -> f32 {
        let at = form.terms_at(block) + (term * LANES + lane) * form.scale_bytes();
        let bytes = &self.bytes[at..at + form.scale_bytes()];
        match *bytes {
            [a, b] => half::f16::from_le_bytes([a, b]).to_f32(),
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
            _ => unreachable!("a scale has 2 or 4 bytes"),
        }
    }

    /// The stored weight of `lane` at column `col`, zero not subtracted.
    pub(super) fn stored(&self, form: Blocks, col: usize, lane: usize) -> u8 {
        let (block, group, byte) = (col / BLOCK, col % BLOCK / 4, lane * 4 + col % 4);
        let weights = &self.bytes[form.weights_at(block)..];
        if !form.nibbles {
            weights[group * LINE + byte]
        } else if group < 4 {
            weights[group * LINE + byte] & 15
        } else {
            weights[(group - 4) * LINE + byte] >> 4
        }
    }

    /// The weight of `lane` at column `col` of a quantised tile.
    pub(super) fn weight(&self, form: Blocks, col: usize, lane: usize) -> f32 {
        let block = col / BLOCK;
        let half = usize::from(form.halves && col % BLOCK >= BLOCK / 2);
        let q = (i32::from(self.stored(form, col, lane)) - form.zero()) as f32;
        let scaled = self.term(form, block, half, lane) * q;
        if form.min { scaled + self.term(form, block, 1, lane) } else { scaled }
    }

    /// The weight of `lane` at column `col` of a dense tile.
    pub(super) fn dense(&self, dtype: DType, col: usize, lane: usize) -> f32 {
        let size = dtype.block_bytes();
        let at = (col * LANES + lane) * size;
        let bytes = &self.bytes[at..at + size];
        match (dtype, bytes) {
            (DType::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
            (DType::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
            (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => unreachable!("a float has 2 or 4 bytes"),
        }
    }
}
