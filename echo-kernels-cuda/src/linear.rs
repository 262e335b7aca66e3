//! Which entry point multiplies by a weight, and how many slices its columns are cut into.

use crate::driver::{Driver, Entry, Geometry};
use crate::memory::{Rows, Scratch};
use crate::ops;
use crate::weight::{Matrix, Part, RECORD_COLS, RECORD_ROWS};
use echo_core::DeviceError;
use echo_core::tensor::DType;

/// Blocks that fill a large device twice. A constant: the device at hand must not choose an order.
const BLOCKS: usize = 264;
/// Records of columns that a slice has at least.
const SLICE_MIN: usize = 4;
/// Records of rows that a block covers, one a warp.
const TILES: usize = 4;
/// Bytes of one row of x in shared memory; the kernel holds it twice.
const X_BYTES: usize = 320;

/// Rows that a block takes, by the number of rows there are.
const ROWS: [usize; 3] = [8, 32, 64];

impl Part {
    /// Slices of the sum over `cols` columns: a function of the weight's shape alone.
    pub(crate) fn slices(&self, cols: usize) -> usize {
        let blocks = self.rows.div_ceil(RECORD_ROWS * TILES).max(1);
        let steps = cols.div_ceil(RECORD_COLS);
        (BLOCKS / blocks).clamp(1, (steps / SLICE_MIN).max(1))
    }
}

/// Enqueues the products of each part.
pub(crate) fn launch(
    driver: &dyn Driver,
    scratch: &mut Scratch,
    rows: usize,
    matrix: &Matrix,
    x: Rows,
    out: Rows,
) -> Result<(), DeviceError> {
    let size = ROWS.iter().position(|&most| rows <= most).unwrap_or(ROWS.len() - 1);
    let mut col = 0;
    for part in &matrix.parts {
        let slices = part.slices(matrix.cols);
        let to = out.address + 4 * col as u64;
        let (address, stride) = if slices > 1 {
            let bytes = 4 * slices * rows * part.rows;
            (scratch.reserve(driver, bytes, "slices of a linear layer")?, part.rows)
        } else {
            (to, out.stride)
        };
        let names = names(part.dtype);
        let geometry = Geometry {
            grid: [
                part.rows.div_ceil(RECORD_ROWS * TILES) as u32,
                rows.div_ceil(ROWS[size]) as u32,
                slices as u32,
            ],
            threads: 128,
            shared_bytes: (2 * ROWS[size] * X_BYTES + TILES * names.ring_bytes) as u32,
        };
        let args = [
            part.address.into(),
            x.address.into(),
            x.stride.into(),
            address.into(),
            stride.into(),
            rows.into(),
            part.rows.into(),
            matrix.cols.into(),
        ];
        let entry = Entry { stem: "linear", name: names.linear[size] };
        ops::launch(driver, entry, geometry, &args)?;
        if slices > 1 {
            let grid = [rows as u32, part.rows.div_ceil(256) as u32, 1];
            let args = [
                address.into(),
                slices.into(),
                rows.into(),
                part.rows.into(),
                to.into(),
                out.stride.into(),
            ];
            let entry = Entry { stem: "linear", name: "linear_merge" };
            ops::launch(driver, entry, Geometry { grid, threads: 256, shared_bytes: 0 }, &args)?;
        }
        col += part.rows;
    }
    Ok(())
}

/// The entry point that looks up rows of a table.
pub(crate) fn embed_name(dtype: DType) -> &'static str {
    names(dtype).embed
}

/// What the kernels of a stored type are called, and the bytes of a warp's ring of records.
struct Names {
    linear: [&'static str; 3],
    embed: &'static str,
    ring_bytes: usize,
}

fn names(dtype: DType) -> Names {
    let (linear, embed, ring_bytes) = match dtype {
        DType::F32 => (["linear_f32_8", "linear_f32_32", "linear_f32_64"], "embed_f32", 2 * 4096),
        DType::F16 => (["linear_f16_8", "linear_f16_32", "linear_f16_64"], "embed_f16", 4 * 2048),
        DType::BF16 => {
            (["linear_bf16_8", "linear_bf16_32", "linear_bf16_64"], "embed_bf16", 4 * 2048)
        }
        DType::Q4_0 => {
            (["linear_q4_0_8", "linear_q4_0_32", "linear_q4_0_64"], "embed_q4_0", 4 * 576)
        }
        DType::Q4_1 => {
            (["linear_q4_1_8", "linear_q4_1_32", "linear_q4_1_64"], "embed_q4_1", 4 * 640)
        }
        DType::Q8_0 => {
            (["linear_q8_0_8", "linear_q8_0_32", "linear_q8_0_64"], "embed_q8_0", 4 * 1088)
        }
        DType::Q4K => {
            (["linear_q4_k_8", "linear_q4_k_32", "linear_q4_k_64"], "embed_q4_k", 4 * 768)
        }
        DType::Q6K => {
            (["linear_q6_k_8", "linear_q6_k_32", "linear_q6_k_64"], "embed_q6_k", 4 * 896)
        }
    };
    Names { linear, embed, ring_bytes }
}
