//! How weights look before a backend has taken them.

use std::fmt;

/// Element type of a stored tensor. Quantised types are GGUF's blocks along a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single, little endian.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an F32.
    BF16,
    /// 32 weights: f16 scale `d`, 16 bytes of nibbles; `w = d (n - 8)`. Low nibbles hold weights
    /// 0..16, high nibbles 16..32.
    Q4_0,
    /// 32 weights: f16 scale `d`, f16 minimum `m`, 16 bytes of nibbles; `w = d n + m`.
    Q4_1,
    /// 32 weights: f16 scale `d`, 32 signed bytes; `w = d q`.
    Q8_0,
    /// 256 weights in 8 groups of 32: f16 `d`, f16 `dmin`, 12 bytes of 6-bit scales and minima,
    /// 128 bytes of nibbles; `w = d sc n - dmin mn`.
    Q4K,
    /// 256 weights in 16 groups of 16: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16
    /// signed scales, f16 `d`; `w = d sc (q - 32)`.
    Q6K,
}

impl DType {
    /// Weights in one block.
    pub const fn block_len(self) -> usize {
        match self {
            DType::F32 | DType::F16 | DType::BF16 => 1,
            DType::Q4_0 | DType::Q4_1 | DType::Q8_0 => 32,
            DType::Q4K | DType::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q8_0 => 34,
            DType::Q4K => 144,
            DType::Q6K => 210,
        }
    }

    /// Bytes of a row of `cols` weights; `None` if the row is not a whole number of blocks or the
    /// count overflows.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q8_0 => "Q8_0",
            DType::Q4K => "Q4_K",
            DType::Q6K => "Q6_K",
        })
    }
}

/// A stored matrix of `rows` rows of `cols` weights each, row-major; a vector has one row.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Name in the model file, for messages.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Output features.
    pub rows: usize,
    /// Input features.
    pub cols: usize,
    /// `rows * dtype.row_bytes(cols)` bytes; no alignment is promised.
    pub bytes: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_whole_blocks() {
        assert_eq!(DType::Q4_1.row_bytes(576), Some(18 * 20));
        assert_eq!(DType::Q6K.row_bytes(512), Some(420));
        assert_eq!(DType::Q8_0.row_bytes(33), None);
        assert_eq!(DType::F32.row_bytes(usize::MAX), None);
    }
}
