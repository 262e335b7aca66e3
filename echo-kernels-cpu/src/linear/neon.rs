//! The integer kernels for NEON with the dot product, whose registers hold four columns of four
//! output rows: a quarter of a line.
//!
//! `sdot` multiplies them by four activations, picked from a register, and adds the products to
//! four 32-bit sums. Both operands are signed, so the zero of a weight is taken out when it is
//! unpacked. The sums of four rows and what they are made of fill the 32 registers.

use super::format::{BLOCK, Blocks, LANES, LINE, Q4_0, Q4_1, Q4K, Q6K, Q8_0, Tile};
use super::kernel::{Ints, Sums};
use super::neon_widen::halves;
use std::arch::aarch64::*;
use std::arch::asm;

/// Rows that share an unpacked weight.
const TOGETHER: usize = 4;
/// Output rows of one register.
const WIDTH: usize = 4;
/// Registers of one line, and of the sums of one row.
const QUARTERS: usize = LANES / WIDTH;

/// One tile; see [`super::kernel`] for the order of operations.
///
/// # Safety
///
/// The processor has the features of `Isa::NeonDot`.
pub(super) unsafe fn ints(form: Blocks, tile: Tile<'_>, x: Ints<'_>, sums: &mut [Sums]) {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            Q4_0 => rows_of::<true, false, false, false, 8>(form, tile, x, sums),
            Q4_1 => rows_of::<true, false, true, false, 0>(form, tile, x, sums),
            Q4K => rows_of::<true, true, true, false, 0>(form, tile, x, sums),
            Q8_0 => rows_of::<false, false, false, false, 128>(form, tile, x, sums),
            Q6K => rows_of::<false, true, false, true, 32>(form, tile, x, sums),
            _ => unreachable!("a form without a kernel: {form:?}"),
        }
    }
}

#[target_feature(enable = "neon,dotprod")]
fn rows_of<
    const NIBBLES: bool,
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO: u8,
>(
    form: Blocks,
    tile: Tile<'_>,
    x: Ints<'_>,
    sums: &mut [Sums],
) {
    let (rows, blocks) = (sums.len(), tile.cols / BLOCK);
    // Every address of `add_block` is within these bounds.
    x.check(form, tile, rows);
    sums.fill([0.0; LANES]);
    for block in 0..blocks {
        // SAFETY: `block` is below the blocks of the tile and the rows are below `rows`, for which
        // the bounds above hold.
        unsafe {
            let payload = tile.bytes.as_ptr().add(form.weights_at(block));
            let scales = tile.bytes.as_ptr().add(form.terms_at(block));
            let part = Part { payload, scales, block };
            let (fours, rest) = sums.as_chunks_mut::<TOGETHER>();
            for (four, sums) in fours.iter_mut().enumerate() {
                let row = four * TOGETHER;
                add_block::<NIBBLES, WIDE, MIN, HALVES, ZERO, TOGETHER>(part, x, row, sums);
            }
            let mut row = rows / TOGETHER * TOGETHER;
            let (twos, ones) = rest.as_chunks_mut::<2>();
            for sums in twos {
                add_block::<NIBBLES, WIDE, MIN, HALVES, ZERO, 2>(part, x, row, sums);
                row += 2;
            }
            for sums in ones.as_chunks_mut::<1>().0 {
                add_block::<NIBBLES, WIDE, MIN, HALVES, ZERO, 1>(part, x, row, sums);
            }
        }
    }
}

/// One block of a tile.
#[derive(Clone, Copy)]
struct Part {
    payload: *const u8,
    scales: *const u8,
    block: usize,
}

/// The sums of one row.
type Dots = [int32x4_t; QUARTERS];

/// Adds one block to the sums of `R` rows from `row` on.
///
/// # Safety
///
/// The pointers are those of the block, and the bounds of `rows_of` hold for the rows.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_block<
    const NIBBLES: bool,
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO: u8,
    const R: usize,
>(
    part: Part,
    x: Ints<'_>,
    row: usize,
    sums: &mut [Sums; R],
) {
    let Part { payload, scales, block } = part;
    let at = |r: usize| (row + r) * (x.cols / BLOCK) + block;
    // SAFETY: the caller's promise; a block has 32 activations and a sum 16 floats.
    unsafe {
        let q: [[int8x16_t; 2]; R] = std::array::from_fn(|r| {
            let q = x.q.as_ptr().add((row + r) * x.cols + block * BLOCK);
            [vld1q_s8(q), vld1q_s8(q.add(BLOCK / 2))]
        });
        let mut dots = [[vdupq_n_s32(0); QUARTERS]; R];
        for half in 0..2 {
            if NIBBLES && half == 0 {
                add_nibbles::<ZERO, R>(payload, &q, &mut dots);
            } else if !NIBBLES {
                let payload = payload.add(half * 4 * LINE);
                add_bytes::<ZERO, R>(payload, &q.map(|q| q[half]), &mut dots);
            }
            if half == 0 && !HALVES {
                continue;
            }
            let scale_term = if HALVES { half } else { 0 };
            for quarter in 0..QUARTERS {
                let scale = term::<WIDE>(scales, scale_term, quarter);
                for (r, dots) in dots.iter_mut().enumerate() {
                    let place = sums[r].as_mut_ptr().add(quarter * WIDTH);
                    let scale = vmulq_n_f32(scale, *x.scale.as_ptr().add(at(r)));
                    let dot = vcvtq_f32_s32(dots[quarter]);
                    let mut sum = vfmaq_f32(vld1q_f32(place), dot, scale);
                    if MIN {
                        let min = term::<WIDE>(scales, 1, quarter);
                        sum = vfmaq_n_f32(sum, min, *x.scaled_sum.as_ptr().add(at(r)));
                    }
                    vst1q_f32(place, sum);
                    dots[quarter] = vdupq_n_s32(0);
                }
            }
        }
    }
}

/// Adds to `dots` nibble times activation over a block.
///
/// # Safety
///
/// `payload` is that of a block.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_nibbles<const ZERO: u8, const R: usize>(
    payload: *const u8,
    q: &[[int8x16_t; 2]; R],
    dots: &mut [Dots; R],
) {
    macro_rules! line {
        ($($line:literal)*) => {$(
            for quarter in 0..QUARTERS {
                // SAFETY: a block has four lines of four quarters.
                let both = unsafe { vld1q_u8(payload.add($line * LINE + quarter * 16)) };
                let low = signed::<ZERO>(vandq_u8(both, vdupq_n_u8(15)));
                let high = signed::<ZERO>(vshrq_n_u8::<4>(both));
                for (dots, [q_low, q_high]) in dots.iter_mut().zip(q) {
                    dots[quarter] = dot::<$line>(dots[quarter], low, *q_low);
                    dots[quarter] = dot::<$line>(dots[quarter], high, *q_high);
                }
            }
        )*};
    }
    line!(0 1 2 3);
}

/// Adds to `dots` byte times activation over half a block.
///
/// # Safety
///
/// `payload` is that of the half.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn add_bytes<const ZERO: u8, const R: usize>(
    payload: *const u8,
    q: &[int8x16_t; R],
    dots: &mut [Dots; R],
) {
    macro_rules! line {
        ($($line:literal)*) => {$(
            for quarter in 0..QUARTERS {
                // SAFETY: half a block has four lines of four quarters.
                let weights = unsafe { vld1q_u8(payload.add($line * LINE + quarter * 16)) };
                let weights = signed::<ZERO>(weights);
                for (dots, q) in dots.iter_mut().zip(q) {
                    dots[quarter] = dot::<$line>(dots[quarter], weights, *q);
                }
            }
        )*};
    }
    line!(0 1 2 3);
}

/// Stored weights without their zero.
#[inline]
#[target_feature(enable = "neon")]
fn signed<const ZERO: u8>(stored: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(vsubq_u8(stored, vdupq_n_u8(ZERO)))
}

/// Adds to each sum the products of four weights with activations `4 LANE..` of `q`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn dot<const LANE: i32>(mut sum: int32x4_t, weights: int8x16_t, q: int8x16_t) -> int32x4_t {
    // SAFETY: one instruction on registers, which the enabled features include; the intrinsic for
    // it is not stable yet.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {weights:v}.16b, {q:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            weights = in(vreg) weights,
            q = in(vreg) q,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// Scale or minimum number `term` of a block, for the four rows of `quarter`.
///
/// # Safety
///
/// `scales` has the terms of a block, and `term` is one of them.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn term<const WIDE: bool>(scales: *const u8, term: usize, quarter: usize) -> float32x4_t {
    let lane = term * LANES + quarter * WIDTH;
    // SAFETY: 16 terms of 4 or 2 bytes follow each other.
    unsafe {
        if WIDE { vld1q_f32(scales.add(lane * 4).cast()) } else { halves(scales.add(lane * 2)) }
    }
}
