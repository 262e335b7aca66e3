//! Which entry point multiplies by a weight, and how many slices its columns are cut into.

use crate::driver::{Arg, Driver, Entry, Geometry, Launch};
use crate::memory::{Rows, Scratch};
use crate::op::Op;
use crate::queue::Queue;
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

/// The product with one part of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Product {
    live: Arg,
    dtype: DType,
    weight: u64,
    /// Rows and columns of the part.
    n: usize,
    cols: usize,
    x: Rows,
    /// Where the part's columns of the answer begin.
    out: Rows,
    slices: usize,
    /// Where slices are left, if there are several.
    sliced: u64,
}

/// Takes the products with each part of `matrix`.
pub(crate) fn push(
    driver: &dyn Driver,
    queue: &mut Queue,
    scratch: &mut Scratch,
    rows: usize,
    matrix: &Matrix,
    [x, out]: [Rows; 2],
) -> Result<(), DeviceError> {
    let mut address = out.address;
    for part in &matrix.parts {
        let (cols, slices) = (matrix.cols, part.slices(matrix.cols));
        let sliced = if slices > 1 {
            let bytes = 4 * slices * queue.rows_most(rows) * part.rows;
            scratch.reserve(driver, bytes, "slices of a linear layer")?
        } else {
            0
        };
        let product = Product {
            live: queue.live(driver)?,
            dtype: part.dtype,
            weight: part.address,
            n: part.rows,
            cols,
            x,
            out: Rows { address, ..out },
            slices,
            sliced,
        };
        queue.push(driver, rows, None, Op::Linear(product))?;
        address += 4 * part.rows as u64;
    }
    Ok(())
}

impl Product {
    /// Calls `each` with the launches for `rows` rows, in order.
    pub(crate) fn launches(
        &self,
        rows: usize,
        each: &mut dyn FnMut(Launch) -> Result<(), DeviceError>,
    ) -> Result<(), DeviceError> {
        let Product { live, weight, n, cols, x, out, slices, sliced, .. } = *self;
        let size = ROWS.iter().position(|&most| rows <= most).unwrap_or(ROWS.len() - 1);
        let names = names(self.dtype);
        let (address, stride) = if slices > 1 { (sliced, n) } else { (out.address, out.stride) };
        let geometry = Geometry {
            // Blocks of the same weights run side by side, so that they read them once.
            grid: [
                rows.div_ceil(ROWS[size]) as u32,
                n.div_ceil(RECORD_ROWS * TILES) as u32,
                slices as u32,
            ],
            threads: 128,
            shared_bytes: (2 * ROWS[size] * X_BYTES + TILES * names.ring_bytes) as u32,
        };
        let args = [
            live,
            weight.into(),
            x.address.into(),
            x.stride.into(),
            address.into(),
            stride.into(),
            rows.into(),
            n.into(),
            cols.into(),
        ];
        let entry = Entry { stem: "linear", name: names.linear[size] };
        each(Launch { entry, geometry, args: args.into() })?;
        if slices == 1 {
            return Ok(());
        }
        let grid = [rows as u32, n.div_ceil(256) as u32, 1];
        let args = [
            live,
            sliced.into(),
            slices.into(),
            rows.into(),
            n.into(),
            out.address.into(),
            out.stride.into(),
        ];
        let entry = Entry { stem: "linear", name: "linear_merge" };
        let geometry = Geometry { grid, threads: 256, shared_bytes: 0 };
        each(Launch { entry, geometry, args: args.into() })
    }
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
