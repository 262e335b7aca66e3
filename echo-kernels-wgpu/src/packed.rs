//! Weights as the kernels read them: still quantised, cut into units, 32 rows side by side.
//!
//! A *unit* is a run of a row's weights: 32 of them or, in the K types, a block of 256. Its words
//! are, in this order:
//!
//! ```text
//! F32          32 words, one a weight
//! F16, BF16    16 words, two weights each, the first in the low half
//! Q4_0, Q4_1   d and m as f16, low and high half (Q4_0 has no m), then 4 words of nibbles
//! Q8_0         d as f16, then 8 words of signed bytes
//! Q4_K         the 36 words of GGUF's block
//! Q6_K         the 52 words of GGUF's block before its d, then d as f16
//! ```
//!
//! Word `j` of unit `u` of row `n` is at `((n / 32 * units + u) * words + j) * 32 + n % 32`, so
//! that 32 lanes with a row each read neighbouring words. Rows that are no whole number of units
//! end in zeros, and so do matrices that are no multiple of 32 rows.

use echo_core::{DType, DeviceError, TensorView};

/// Rows that lie side by side.
pub(crate) const SIDE: usize = 32;

/// How a type is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// The kernels' number of the type.
    pub(crate) number: u32,
    /// Weights of a unit.
    pub(crate) unit: usize,
    /// Words of a unit.
    pub(crate) words: usize,
}

impl Format {
    pub(crate) fn of(dtype: DType) -> Self {
        let (number, unit, words) = match dtype {
            DType::F32 => (0, 32, 32),
            DType::F16 => (1, 32, 16),
            DType::BF16 => (2, 32, 16),
            DType::Q4_0 => (3, 32, 5),
            DType::Q4_1 => (4, 32, 5),
            DType::Q8_0 => (5, 32, 9),
            DType::Q4K => (6, 256, 36),
            DType::Q6K => (7, 256, 53),
        };
        Format { number, unit, words }
    }

    /// Units of a row of `cols` weights.
    pub(crate) fn units(self, cols: usize) -> usize {
        cols.div_ceil(self.unit)
    }

    /// Words of `rows` rows.
    pub(crate) fn len(self, rows: usize, cols: usize) -> usize {
        rows.next_multiple_of(SIDE) * self.units(cols) * self.words
    }

    /// Rows, a multiple of 32, that fit into `bytes`; 0 if not even 32 do.
    pub(crate) fn rows_max(self, cols: usize, bytes: usize) -> usize {
        bytes / (4 * self.len(SIDE, cols)) * SIDE
    }
}

/// Refuses what is no matrix of `cols` columns.
pub(crate) fn check(part: &TensorView<'_>, cols: usize) -> Result<(), DeviceError> {
    let bytes = part.dtype.row_bytes(part.cols).and_then(|bytes| bytes.checked_mul(part.rows));
    if part.cols == cols && bytes == Some(part.bytes.len()) {
        return Ok(());
    }
    Err(DeviceError::Unsupported(format!(
        "tensor {} ({}): {} rows of {} columns in {} bytes beside parts of {cols} columns; columns \
         must be whole blocks, agree, and fit the bytes",
        part.name,
        part.dtype,
        part.rows,
        part.cols,
        part.bytes.len()
    )))
}

/// The words of `rows`, which are rows of `dtype` and `cols` weights as the file has them.
pub(crate) fn pack(dtype: DType, cols: usize, rows: &[&[u8]]) -> Vec<u32> {
    let format = Format::of(dtype);
    let units = format.units(cols);
    let mut words = vec![0; format.len(rows.len(), cols)];
    let bytes_of_unit = match dtype.block_len() {
        1 => dtype.block_bytes() * format.unit,
        _ => dtype.block_bytes(),
    };
    let mut unit = [0u8; 4 * 53];
    for (n, row) in rows.iter().enumerate() {
        for (u, block) in row.chunks(bytes_of_unit).enumerate() {
            unit.fill(0);
            lay_out(dtype, block, &mut unit);
            let first = (n / SIDE * units + u) * format.words * SIDE + n % SIDE;
            for (j, word) in unit.chunks_exact(4).take(format.words).enumerate() {
                words[first + j * SIDE] = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            }
        }
    }
    words
}

/// Moves the bytes of a block to where the kernels look for them.
fn lay_out(dtype: DType, block: &[u8], unit: &mut [u8]) {
    match dtype {
        DType::Q4_0 | DType::Q8_0 => {
            unit[..2].copy_from_slice(&block[..2]);
            unit[4..block.len() + 2].copy_from_slice(&block[2..]);
        }
        DType::F32 | DType::F16 | DType::BF16 | DType::Q4_1 | DType::Q4K | DType::Q6K => {
            unit[..block.len()].copy_from_slice(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_side_by_side_and_end_in_zeros() {
        let rows: Vec<Vec<u8>> =
            (0..33u8).map(|n| [1.0f32, f32::from(n)].map(f32::to_le_bytes).concat()).collect();
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let words = pack(DType::F32, 2, &rows);
        assert_eq!(words.len(), 64 * 32);
        let value = |n: usize, i: usize| f32::from_bits(words[(n / 32 * 32 + i) * 32 + n % 32]);
        assert_eq!((value(5, 0), value(5, 1), value(5, 2)), (1.0, 5.0, 0.0));
        assert_eq!((value(32, 1), value(33, 0)), (32.0, 0.0));
    }

    #[test]
    fn scales_stand_alone_and_the_rest_is_aligned() {
        let block: Vec<u8> = (1..=34).collect();
        let words = pack(DType::Q8_0, 32, &[&block]);
        assert_eq!(words[0], 0x0201);
        assert_eq!(words[32], 0x0605_0403);
        let block: Vec<u8> = (0..210).collect();
        let words = pack(DType::Q6K, 256, &[&block]);
        assert_eq!(words[51 * 32], u32::from_le_bytes([204, 205, 206, 207]));
        assert_eq!(words[52 * 32], u32::from_le_bytes([208, 209, 0, 0]));
    }

    #[test]
    fn a_slab_takes_whole_sides() {
        let format = Format::of(DType::Q4_1);
        assert_eq!(format.rows_max(64, 32 * 40 * 3 + 1), 96);
        assert_eq!(format.rows_max(64, 32 * 40 - 1), 0);
    }
}
