//! What a kernel is given, what it fills, and the one order of operations.
//!
//! A kernel multiplies one tile of 16 output rows by up to [`ROWS_MAX`] rows of activations. It may
//! share unpacked weights between the rows in any way, but each (row, output) pair sees this
//! sequence and no other, whatever the number of rows:
//!
//! - 8-bit activations: `sum = 0`; for each block in ascending order, for its one or two scales,
//!   `sum = fma(Σ (q_w - zero) q_x, scale_w * scale_x, sum)`, then, if there is a minimum,
//!   `sum = fma(min_w, scale_x Σ q_x, sum)`. The integer sums are exact.
//! - float activations: two chains, over even and over odd columns in ascending order, of
//!   `chain = fma(w, x, chain)` (portable: multiply, then add); the output is even + odd.

use super::format::{BLOCK, Blocks, Format, LANES, Tile};
use super::isa::Isa;
use super::portable;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx2_float, avx512, avx512_float};
#[cfg(target_arch = "aarch64")]
use super::{neon, neon_float};

/// Rows of activations of one kernel call at most.
pub(super) const ROWS_MAX: usize = 16;

/// The outputs of one tile for one row.
pub(super) type Sums = [f32; LANES];

/// 8-bit activations, from the first row of the call on; see [`super::quantize::Scratch`].
#[derive(Clone, Copy)]
pub(super) struct Ints<'a> {
    pub(super) cols: usize,
    pub(super) q: &'a [i8],
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only AVX2 reads it"))]
    pub(super) q16: &'a [i16],
    pub(super) scale: &'a [f32],
    pub(super) scaled_sum: &'a [f32],
    pub(super) minus_sum: &'a [i32],
    pub(super) minus_half: &'a [i32],
}

/// Float activations: row `r` is `x[r * stride..][..cols]`.
#[derive(Clone, Copy)]
pub(super) struct Floats<'a> {
    pub(super) x: &'a [f32],
    pub(super) stride: usize,
}

impl Ints<'_> {
    /// Panics unless one to [`ROWS_MAX`] rows of activations and the whole tile are there. Every
    /// address of a kernel lies within these bounds.
    #[inline]
    pub(super) fn check(&self, form: Blocks, tile: Tile<'_>, rows: usize) {
        let blocks = tile.cols / BLOCK;
        let each = rows * blocks;
        assert!((1..=ROWS_MAX).contains(&rows) && tile.cols.is_multiple_of(BLOCK));
        assert!(tile.bytes.len() >= form.tile_bytes(blocks));
        assert!(self.cols == tile.cols && self.q.len() >= rows * self.cols);
        assert!(self.scale.len() >= each && self.scaled_sum.len() >= each);
        assert!(self.minus_sum.len() >= each && self.minus_half.len() >= each * 2);
    }
}

impl Floats<'_> {
    /// The same.
    #[inline]
    pub(super) fn check(&self, format: Format, tile: Tile<'_>, rows: usize) {
        assert!((1..=ROWS_MAX).contains(&rows));
        assert!(self.x.len() >= (rows - 1) * self.stride + tile.cols);
        assert!(tile.bytes.len() >= format.tile_bytes(tile.cols));
        assert!(matches!(format, Format::Dense(_)) || tile.cols.is_multiple_of(BLOCK));
    }
}

/// Activations of either kind.
#[derive(Clone, Copy)]
pub(super) enum Acts<'a> {
    Ints(Ints<'a>),
    Floats(Floats<'a>),
}

/// Fills `sums`, one entry per row, at most [`ROWS_MAX`]. `isa` must be available here.
pub(super) fn run(isa: Isa, format: Format, tile: Tile<'_>, acts: Acts<'_>, sums: &mut [Sums]) {
    match (isa, format, acts) {
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Vnni, Format::Blocks(form), Acts::Ints(x)) => {
            // SAFETY: the instruction set is available here.
            unsafe { avx512::ints(form, tile, x, sums) }
        }
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, Format::Blocks(form), Acts::Ints(x)) => {
            // SAFETY: the instruction set is available here.
            unsafe { avx2::ints(form, tile, x, sums) }
        }
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512Vnni, _, Acts::Floats(x)) => {
            // SAFETY: the instruction set is available here.
            unsafe { avx512_float::floats(format, tile, x, sums) }
        }
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx2, _, Acts::Floats(x)) => {
            // SAFETY: the instruction set is available here.
            unsafe { avx2_float::floats(format, tile, x, sums) }
        }
        #[cfg(target_arch = "aarch64")]
        (Isa::NeonDot, Format::Blocks(form), Acts::Ints(x)) => {
            // SAFETY: the instruction set is available here.
            unsafe { neon::ints(form, tile, x, sums) }
        }
        #[cfg(target_arch = "aarch64")]
        (Isa::NeonDot, _, Acts::Floats(x)) => {
            // SAFETY: the instruction set is available here.
            unsafe { neon_float::floats(format, tile, x, sums) }
        }
        (_, Format::Blocks(form), Acts::Ints(x)) => portable::ints(form, tile, x, sums),
        (_, _, Acts::Floats(x)) => portable::floats(format, tile, x, sums),
        (_, Format::Dense(_), Acts::Ints(_)) => unreachable!("dense weights take floats"),
    }
}
