//! Weights cut into the records of `cu/weight.h`, on the host, once at start.

use echo_core::DeviceError;
use echo_core::tensor::{DType, TensorView};

/// Rows of one record.
pub(crate) const RECORD_ROWS: usize = 16;
/// Columns of one record.
pub(crate) const RECORD_COLS: usize = 64;

/// Rows of one matrix that share a stored type, as the device has them.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) dtype: DType,
    /// Address of the first record.
    pub(crate) address: u64,
    pub(crate) rows: usize,
}

/// A matrix: parts one below the other.
#[derive(Clone, Debug)]
pub(crate) struct Matrix {
    pub(crate) parts: Vec<Part>,
    pub(crate) cols: usize,
}

impl Matrix {
    pub(crate) fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }
}

/// Neighbouring tensors of one type as one run of rows; refuses what does not fit together.
pub(crate) fn runs<'t, 'b>(
    parts: &'t [TensorView<'b>],
) -> Result<Vec<&'t [TensorView<'b>]>, DeviceError> {
    let cols = parts.first().map_or(0, |part| part.cols);
    for part in parts {
        let bytes = part.dtype.row_bytes(part.cols).and_then(|row| row.checked_mul(part.rows));
        if part.cols != cols || bytes != Some(part.bytes.len()) {
            return Err(DeviceError::Unsupported(format!(
                "tensor {} ({}): {} rows of {} columns in {} bytes beside parts of {cols} columns; \
                 columns must be whole blocks, agree, and fit the bytes",
                part.name,
                part.dtype,
                part.rows,
                part.cols,
                part.bytes.len()
            )));
        }
    }
    Ok(parts.chunk_by(|a, b| a.dtype == b.dtype).collect())
}

/// Bytes of 8 weights, of the scales of 32, and of a whole record.
struct Sizes {
    eight: usize,
    scale: usize,
    record: usize,
}

impl Sizes {
    fn of(dtype: DType) -> Self {
        let (eight, scale) = match dtype {
            DType::F32 => (32, 0),
            DType::F16 | DType::BF16 => (16, 0),
            DType::Q4_0 => (4, 2),
            DType::Q4_1 | DType::Q6K => (4, 4),
            DType::Q8_0 => (8, 2),
            DType::Q4K => (4, 8),
        };
        let pairs = if dtype == DType::Q6K { 256 } else { 0 };
        Sizes { eight, scale, record: 128 * eight + pairs + 32 * scale }
    }
}

/// The records of `run`, whose tensors have one type and stand one below the other.
pub(crate) fn pack(run: &[TensorView<'_>]) -> Vec<u8> {
    let (dtype, cols) = (run[0].dtype, run[0].cols);
    let rows: usize = run.iter().map(|part| part.rows).sum();
    let (tiles, steps) = (rows.div_ceil(RECORD_ROWS), cols.div_ceil(RECORD_COLS));
    let sizes = Sizes::of(dtype);
    let mut records = vec![0; tiles * steps * sizes.record];
    let row_bytes = dtype.row_bytes(cols).expect("checked by `runs`");
    let all = run.iter().flat_map(|part| part.bytes.chunks_exact(row_bytes.max(1)));
    for (row, bytes) in all.enumerate() {
        for (step, record) in records[row / RECORD_ROWS * steps * sizes.record..]
            .chunks_exact_mut(sizes.record)
            .take(steps)
            .enumerate()
        {
            for chunk in 0..2 {
                let first = step * RECORD_COLS + chunk * 32;
                let n = cols.saturating_sub(first).min(32);
                if n > 0 {
                    let place = Place { record, chunk, row: row % RECORD_ROWS };
                    place.put(dtype, &sizes, bytes, first, n);
                }
            }
        }
    }
    records
}

/// 32 columns of a row in a record.
struct Place<'a> {
    record: &'a mut [u8],
    chunk: usize,
    row: usize,
}

impl Place<'_> {
    /// Takes columns `first..first + n` of the stored row `bytes`.
    fn put(self, dtype: DType, sizes: &Sizes, bytes: &[u8], first: usize, n: usize) {
        let half = self.row / 8;
        // Of the four lanes that share the row.
        let lane = |quarter: usize| (self.chunk * 2 + half) * 32 + self.row % 8 * 4 + quarter;
        let scale_at =
            self.record.len() - 32 * sizes.scale + (self.chunk * 16 + self.row) * sizes.scale;
        if dtype.block_len() == 1 {
            let size = dtype.block_bytes();
            for (quarter, eight) in bytes[first * size..][..n * size].chunks(8 * size).enumerate() {
                let at = lane(quarter) * sizes.eight;
                self.record[at..at + eight.len()].copy_from_slice(eight);
            }
            return;
        }
        let block =
            &bytes[first / dtype.block_len() * dtype.block_bytes()..][..dtype.block_bytes()];
        let group = first % dtype.block_len() / 32;
        let scales = &mut self.record[scale_at..scale_at + sizes.scale];
        match dtype {
            DType::Q4_0 | DType::Q8_0 => scales.copy_from_slice(&block[..2]),
            DType::Q4_1 => scales.copy_from_slice(&block[..4]),
            DType::Q4K => {
                scales[..4].copy_from_slice(&block[..4]);
                (scales[4], scales[5]) = q4_k_scale(&block[4..16], group);
            }
            DType::Q6K => {
                scales[..2].copy_from_slice(&block[208..210]);
                scales[2..4].copy_from_slice(&block[192 + 2 * group..][..2]);
            }
            DType::F32 | DType::F16 | DType::BF16 => unreachable!("floats have no scale"),
        }
        for i in 0..32 {
            let (at, q) = (lane(i / 8) * sizes.eight, quant(dtype, block, group, i));
            match dtype {
                DType::Q8_0 => self.record[at + i % 8] = q,
                DType::Q6K => {
                    self.record[at + i % 8 / 2] |= (q & 15) << (i % 2 * 4);
                    let pairs = 128 * sizes.eight + lane(i / 8) * 2;
                    self.record[pairs + i % 8 / 4] |= (q >> 4) << (i % 4 * 2);
                }
                _ => self.record[at + i % 8 / 2] |= q << (i % 2 * 4),
            }
        }
    }
}

/// Weight `i` of the `group`-th 32 of a block, as the block has it.
fn quant(dtype: DType, block: &[u8], group: usize, i: usize) -> u8 {
    let nibble = |byte: u8, high: bool| if high { byte >> 4 } else { byte & 15 };
    match dtype {
        DType::Q8_0 => block[2 + i],
        DType::Q4_0 => nibble(block[2 + i % 16], i >= 16),
        DType::Q4_1 => nibble(block[4 + i % 16], i >= 16),
        DType::Q4K => nibble(block[16 + group / 2 * 32 + i], group % 2 == 1),
        DType::Q6K => {
            let (half, run) = (group / 4, group % 4);
            let low = nibble(block[half * 64 + run % 2 * 32 + i], run >= 2);
            low | (block[128 + half * 32 + i] >> (2 * run) & 3) << 4
        }
        DType::F32 | DType::F16 | DType::BF16 => unreachable!("floats are not quantised"),
    }
}

/// Scale and minimum of a group of 32: six bits each, the first four in bytes 0..4 and 4..8, of the
/// last four the lower nibbles in bytes 8..12 and the upper pairs above the first four.
fn q4_k_scale(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
}
