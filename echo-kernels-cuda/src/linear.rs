//! Which entry point multiplies by a weight, and how many slices its columns are cut into.

use crate::driver::{Arg, Driver, Entry, Geometry, Launch};
use crate::memory::{Rows, Scratch};
use crate::op::Op;
use crate::queue::Queue;
use crate::weight::{Matrix, Part, RECORD_COLS, RECORD_ROWS};
use echo_core::DeviceError;
use echo_core::tensor::DType;

/// Slices that columns are cut into where tiles alone do not fill a large device evenly, and the
/// tiles that do. Constants: the device at hand must not choose an order.
const SLICES: usize = 8;
const TILES_MANY: usize = 4096;
/// Warps of a block.
const WARPS: usize = 8;
/// Blocks that fill a large device, rows of x and records of columns: with so many of the first
/// two, or no more of the last, a block of several rows does all slices itself.
const BLOCKS: usize = 132;
const SHARED_ROWS: usize = 192;
const STEPS_FEW: usize = 16;
/// Bytes of a part of one row of x in shared memory, which holds it twice, and of its pad.
const X_BYTES: usize = 128;
const PAD_BYTES: usize = 64;

impl Part {
    fn tiles(&self) -> usize {
        self.rows.div_ceil(RECORD_ROWS)
    }

    /// Bytes of the slices that are left, where launches have blocks for up to `rows` rows.
    pub(crate) fn sliced_bytes(&self, cols: usize, rows: usize) -> usize {
        if self.tiles().div_ceil(WARPS) >= BLOCKS || self.slices(cols) == 1 {
            return 0;
        }
        4 * self.slices(cols) * rows.min(SHARED_ROWS) * self.rows
    }

    /// Slices of the sum over `cols` columns: a function of the weight's shape alone.
    pub(crate) fn slices(&self, cols: usize) -> usize {
        let is_cut = self.tiles() < TILES_MANY && cols.div_ceil(RECORD_COLS) >= SLICES;
        if is_cut { SLICES } else { 1 }
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
        let bytes = part.sliced_bytes(cols, queue.rows_most(rows));
        let sliced = scratch.reserve(driver, bytes, "slices of a linear layer")?;
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
        let Product { live, weight, n, cols, slices, sliced, .. } = *self;
        let (from, to) = (self.x, self.out);
        let (names, tiles) = (names(self.dtype), n.div_ceil(RECORD_ROWS));
        let rings = WARPS * names.ring_bytes;
        let is_small = n * cols <= SMALL;
        let mut kinds = names.linear.iter().filter(|(most, _)| is_small || *most != NARROW_MOST);
        let fits = kinds.clone().find(|(most, _)| rows <= *most).or_else(|| kinds.next_back());
        let &(most, name) = fits.expect("every type has kernels");
        // Blocks of the same weights run side by side, so that they read them once.
        let [x, y] = [rows.div_ceil(most), tiles.div_ceil(WARPS)];
        let is_shared = slices > 1
            && most > NARROW_MOST
            && x * y < BLOCKS
            && rows <= SHARED_ROWS
            && cols.div_ceil(RECORD_COLS) > STEPS_FEW;
        let (grid, shared_bytes) = if most <= NARROW_MOST {
            ([1, tiles.div_ceil(WARPS / slices), 1], rings)
        } else {
            let x_bytes = 2 * most * (names.parts * X_BYTES + PAD_BYTES);
            ([x, y, if is_shared { slices } else { 1 }], x_bytes + rings)
        };
        let geometry = Geometry {
            grid: grid.map(|blocks| blocks as u32),
            threads: 32 * WARPS as u32,
            shared_bytes: shared_bytes as u32,
        };
        let (address, stride) = if is_shared { (sliced, n) } else { (to.address, to.stride) };
        let args = [
            live,
            weight.into(),
            from.address.into(),
            from.stride.into(),
            address.into(),
            stride.into(),
            rows.into(),
            n.into(),
            cols.into(),
            slices.into(),
        ];
        each(Launch { entry: Entry { stem: "linear", name }, geometry, args: args.into() })?;
        if !is_shared {
            return Ok(());
        }
        let grid = [rows as u32, n.div_ceil(256) as u32, 1];
        let args = [
            live,
            sliced.into(),
            slices.into(),
            rows.into(),
            n.into(),
            to.address.into(),
            to.stride.into(),
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

/// What the kernels of a stored type are called, and what they hold.
struct Names {
    /// By the most rows of x that a block takes.
    linear: &'static [(usize, &'static str)],
    embed: &'static str,
    /// Bytes of a warp's ring of records.
    ring_bytes: usize,
    /// Parts of bf16 that x is split into.
    parts: usize,
}

/// Most rows of the kernels whose blocks share slices themselves, for small weights alone.
const NARROW_MOST: usize = 16;
/// Elements of a small weight: it is read from a cache, and x for each of its tiles, too.
const SMALL: usize = 1 << 22;

/// The names for a type; `$more` are those for 64 rows.
macro_rules! names {
    ($stored:literal, $ring_bytes:expr, $parts:literal $(, $more:literal)?) => {
        Names {
            linear: &[
                (8, concat!("linear_", $stored, "_8")),
                (NARROW_MOST, concat!("linear_", $stored, "_16")),
                (32, concat!("linear_", $stored, "_32")),
                $(($more, concat!("linear_", $stored, "_64")),)?
            ],
            embed: concat!("embed_", $stored),
            ring_bytes: $ring_bytes,
            parts: $parts,
        }
    };
}

fn names(dtype: DType) -> Names {
    match dtype {
        DType::F32 => names!("f32", 2 * 4096, 2),
        DType::F16 => names!("f16", 4 * 2048, 2),
        DType::BF16 => names!("bf16", 4 * 2048, 1, 64),
        DType::Q4_0 => names!("q4_0", 8 * 576, 1, 64),
        DType::Q4_1 => names!("q4_1", 8 * 640, 1, 64),
        DType::Q8_0 => names!("q8_0", 6 * 1088, 1, 64),
        DType::Q4K => names!("q4_k", 8 * 768, 1, 64),
        DType::Q6K => names!("q6_k", 8 * 896, 1, 64),
    }
}
