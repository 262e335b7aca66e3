//! The float kernels for NEON: four output rows, a quarter of a tile, per register.
//!
//! A block of 32 columns is dequantised once into a buffer that stays in the first-level cache, and
//! then used for all rows, eight at a time: two chains for each of eight rows are 16 registers.

use super::format::{BLOCK, Blocks, Format, LANES, LINE, Tile};
use super::kernel::{Floats, ROWS_MAX, Sums};
use super::neon_widen::halves;
use echo_core::DType;
use std::arch::aarch64::*;

/// Output rows of one register.
const WIDTH: usize = 4;
/// Weights of 32 columns of a quarter of a tile as floats, column by column.
type Weights = [float32x4_t; BLOCK];
/// The chains of even and of odd columns of one row.
type Chains = [float32x4_t; 2];

/// One tile; see [`super::kernel`] for the order of operations.
///
/// # Safety
///
/// The processor has the features of `Isa::NeonDot`.
#[target_feature(enable = "neon")]
pub(super) unsafe fn floats(format: Format, tile: Tile<'_>, x: Floats<'_>, sums: &mut [Sums]) {
    // Every address of this file is within these bounds.
    x.check(format, tile, sums.len());
    for quarter in 0..LANES / WIDTH {
        // SAFETY: the bounds above.
        unsafe { quarter_tile(format, tile, quarter, x, sums) };
    }
}

/// The four output rows of `quarter`.
///
/// # Safety
///
/// The bounds checked by `floats` hold.
#[target_feature(enable = "neon")]
unsafe fn quarter_tile(
    format: Format,
    tile: Tile<'_>,
    quarter: usize,
    x: Floats<'_>,
    sums: &mut [Sums],
) {
    let (rows, cols) = (sums.len(), tile.cols);
    let mut chains = [[vdupq_n_f32(0.0); 2]; ROWS_MAX];
    let mut weights = [vdupq_n_f32(0.0); BLOCK];
    for col in (0..cols).step_by(BLOCK) {
        let width = BLOCK.min(cols - col);
        // SAFETY: the block lies within the tile, and its columns within each row of `x`.
        unsafe {
            match format {
                Format::Blocks(form) => dequantize(form, tile, quarter, col / BLOCK, &mut weights),
                Format::Dense(dtype) => widen(dtype, tile, quarter, col, &mut weights[..width]),
            }
            let weights = &weights[..width];
            let mut first = x.x.as_ptr().add(col);
            let (eights, rest) = chains[..rows].as_chunks_mut::<8>();
            for chains in eights {
                add_columns(weights, first, x.stride, chains);
                first = first.wrapping_add(8 * x.stride);
            }
            for chains in rest.as_chunks_mut::<1>().0 {
                add_columns(weights, first, x.stride, chains);
                first = first.wrapping_add(x.stride);
            }
        }
    }
    for (sums, [even, odd]) in sums.iter_mut().zip(chains) {
        // SAFETY: a sum has 16 floats, of which this quarter is four.
        unsafe { vst1q_f32(sums.as_mut_ptr().add(quarter * WIDTH), vaddq_f32(even, odd)) };
    }
}

/// Adds some columns to the chains of `R` rows; the first column is an even one.
///
/// # Safety
///
/// `x[r * stride..]` has as many floats as there are weights, for `r < R`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_columns<const R: usize>(
    weights: &[float32x4_t],
    x: *const f32,
    stride: usize,
    chains: &mut [Chains; R],
) {
    let mut local = *chains;
    for (col, weight) in weights.iter().enumerate() {
        for (r, chains) in local.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { *x.add(r * stride + col) };
            chains[col % 2] = vfmaq_n_f32(chains[col % 2], *weight, x);
        }
    }
    *chains = local;
}

/// Dequantises a block.
///
/// # Safety
///
/// The tile has that block.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dequantize(
    form: Blocks,
    tile: Tile<'_>,
    quarter: usize,
    block: usize,
    weights: &mut Weights,
) {
    // SAFETY: the caller's promise; a line has 64 bytes, of which this quarter is 16.
    unsafe {
        let payload = tile.bytes.as_ptr().add(form.weights_at(block) + quarter * LINE / 4);
        let scales = tile.bytes.as_ptr().add(form.terms_at(block));
        let scales = scales.add(quarter * WIDTH * form.scale_bytes());
        let scale = [term(form, scales, 0), term(form, scales, usize::from(form.halves))];
        let min = if form.min { term(form, scales, 1) } else { vdupq_n_f32(0.0) };
        let zero = vdupq_n_s32(form.zero());
        let (lines, mask) = if form.nibbles { (4, 15) } else { (8, 255) };
        let mask = vdupq_n_u32(mask);
        let finish = |stored: uint32x4_t, col: usize| {
            let scale = scale[col / (BLOCK / 2)];
            let stored = vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(stored), zero));
            if form.min { vfmaq_f32(min, scale, stored) } else { vmulq_f32(scale, stored) }
        };
        for line in 0..lines {
            let mut bytes = vreinterpretq_u32_u8(vld1q_u8(payload.add(line * LINE)));
            for k in 0..4 {
                let col = line * 4 + k;
                weights[col] = finish(vandq_u32(bytes, mask), col);
                if form.nibbles {
                    let high = vandq_u32(vshrq_n_u32::<4>(bytes), mask);
                    weights[col + 16] = finish(high, col + 16);
                }
                bytes = vshrq_n_u32::<8>(bytes);
            }
        }
    }
}

/// # Safety
///
/// `scales` has the terms of a block, moved to the quarter, and `term` is one of them.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn term(form: Blocks, scales: *const u8, term: usize) -> float32x4_t {
    // SAFETY: 16 terms of 4 or 2 bytes follow each other.
    unsafe {
        let scales = scales.add(term * LANES * form.scale_bytes());
        if form.wide { vld1q_f32(scales.cast()) } else { halves(scales) }
    }
}

/// Loads some columns of a dense tile.
///
/// # Safety
///
/// The tile has as many columns from `col` on as there are weights.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn widen(
    dtype: DType,
    tile: Tile<'_>,
    quarter: usize,
    col: usize,
    weights: &mut [float32x4_t],
) {
    for (k, weight) in weights.iter_mut().enumerate() {
        // SAFETY: the caller's promise; a column has 16 floats, of which this quarter is four.
        *weight = unsafe {
            let lane = (col + k) * LANES + quarter * WIDTH;
            let at = tile.bytes.as_ptr().add(lane * dtype.block_bytes());
            match dtype {
                DType::F16 => halves(at),
                DType::BF16 => vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(at.cast()))),
                _ => vld1q_f32(at.cast()),
            }
        };
    }
}
