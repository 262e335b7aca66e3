//! The integer kernels for AVX2, whose registers hold eight output rows: half a tile.
//!
//! Nibbles: `vpmaddubsw` sums pairs of products in 16 bits. Eight of them, a whole block, stay
//! below 8 * 2 * 15 * 127 = 30480, so one widening per block is enough. Bytes would overflow there;
//! they are split into even and odd columns, which `vpmaddwd` multiplies by activations that were
//! put in the same order (`q16`).

use super::format::{BLOCK, Blocks, LANES, LINE, Q4_0, Q4_1, Q4K, Q6K, Q8_0, Tile};
use super::kernel::{Ints, Sums};
use super::stream::prefetch;
#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

/// Rows that share an unpacked weight; their sums and one group of weights fit the 16 registers.
const TOGETHER: usize = 4;
/// Output rows of one register.
const WIDTH: usize = LANES / 2;

/// One tile; see [`super::kernel`] for the order of operations.
///
/// # Safety
///
/// The processor has the features of `Isa::Avx2`.
pub(super) unsafe fn ints(form: Blocks, tile: Tile<'_>, x: Ints<'_>, sums: &mut [Sums]) {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            Q4_0 => rows_of::<true, false, false, false, 3>(form, tile, x, sums),
            Q4_1 => rows_of::<true, false, true, false, 0>(form, tile, x, sums),
            Q4K => rows_of::<true, true, true, false, 0>(form, tile, x, sums),
            Q8_0 => rows_of::<false, false, false, false, 7>(form, tile, x, sums),
            Q6K => rows_of::<false, true, false, true, 5>(form, tile, x, sums),
            _ => unreachable!("a form without a kernel: {form:?}"),
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn rows_of<
    const NIBBLES: bool,
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO_LOG2: i32,
>(
    form: Blocks,
    tile: Tile<'_>,
    x: Ints<'_>,
    sums: &mut [Sums],
) {
    let (rows, blocks) = (sums.len(), tile.cols / BLOCK);
    // Every address of `add_block` is within these bounds.
    x.check(form, tile, rows);
    assert!(NIBBLES || x.q16.len() >= rows * x.cols);
    sums.fill([0.0; LANES]);
    for block in 0..blocks {
        for side in 0..2 {
            // SAFETY: `block` is below the blocks of the tile and the rows are below `rows`, for
            // which the bounds above hold.
            unsafe {
                let payload = tile.bytes.as_ptr().add(form.weights_at(block));
                let scales = tile.bytes.as_ptr().add(form.terms_at(block));
                if side == 0 {
                    prefetch(payload, form.block_bytes());
                }
                let part = Part { payload, scales, side, block };
                let (fours, rest) = sums.as_chunks_mut::<TOGETHER>();
                for (four, sums) in fours.iter_mut().enumerate() {
                    let row = four * TOGETHER;
                    add_block::<NIBBLES, WIDE, MIN, HALVES, ZERO_LOG2, TOGETHER>(
                        part, x, row, sums,
                    );
                }
                let mut row = rows / TOGETHER * TOGETHER;
                let (twos, ones) = rest.as_chunks_mut::<2>();
                for sums in twos {
                    add_block::<NIBBLES, WIDE, MIN, HALVES, ZERO_LOG2, 2>(part, x, row, sums);
                    row += 2;
                }
                for sums in ones.as_chunks_mut::<1>().0 {
                    add_block::<NIBBLES, WIDE, MIN, HALVES, ZERO_LOG2, 1>(part, x, row, sums);
                }
            }
        }
    }
}

/// One block of eight output rows of a tile.
#[derive(Clone, Copy)]
struct Part {
    payload: *const u8,
    scales: *const u8,
    side: usize,
    block: usize,
}

/// Adds one block to the sums of `R` rows from `row` on.
///
/// # Safety
///
/// The pointers are those of the block, and the bounds of `rows_of` hold for the rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn add_block<
    const NIBBLES: bool,
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO_LOG2: i32,
    const R: usize,
>(
    part: Part,
    x: Ints<'_>,
    row: usize,
    sums: &mut [Sums; R],
) {
    let Part { payload, scales, side, block } = part;
    let at = |r: usize| (row + r) * (x.cols / BLOCK) + block;
    let halves = 1 + usize::from(HALVES);
    // SAFETY: the caller's promise; a sum has 16 floats, of which this side is eight.
    unsafe {
        let payload = payload.add(side * LINE / 2);
        let first = |r: usize| (row + r) * x.cols + block * BLOCK;
        for half in 0..halves {
            let mut dots = if NIBBLES {
                dots_of_nibbles::<R>(payload, |r| x.q.as_ptr().add(first(r)))
            } else {
                let groups = half * 8 / halves..(half + 1) * 8 / halves;
                dots_of_bytes::<R>(payload, groups, |r| x.q16.as_ptr().add(first(r)))
            };
            let scale = term::<WIDE>(scales, half, side);
            for (r, dot) in dots.iter_mut().enumerate() {
                if !MIN {
                    let minus = if HALVES {
                        *x.minus_half.as_ptr().add(at(r) * 2 + half)
                    } else {
                        *x.minus_sum.as_ptr().add(at(r))
                    };
                    let minus = _mm256_slli_epi32::<ZERO_LOG2>(_mm256_set1_epi32(minus));
                    *dot = _mm256_add_epi32(*dot, minus);
                }
                let place = sums[r].as_mut_ptr().add(side * WIDTH);
                let x_scale = _mm256_broadcast_ss(&*x.scale.as_ptr().add(at(r)));
                let scale = _mm256_mul_ps(scale, x_scale);
                let sum = _mm256_loadu_ps(place);
                let mut sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(*dot), scale, sum);
                if MIN {
                    let x_sum = _mm256_broadcast_ss(&*x.scaled_sum.as_ptr().add(at(r)));
                    sum = _mm256_fmadd_ps(term::<WIDE>(scales, 1, side), x_sum, sum);
                }
                _mm256_storeu_ps(place, sum);
            }
        }
    }
}

/// Sums of nibble times activation over a block.
///
/// # Safety
///
/// `payload` is that of a block, moved to the side; `q(r)` has 32 activations for `r < R`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dots_of_nibbles<const R: usize>(
    payload: *const u8,
    q: impl Fn(usize) -> *const i8,
) -> [__m256i; R] {
    let mask = _mm256_set1_epi8(15);
    let mut pairs = [_mm256_setzero_si256(); R];
    for line in 0..4 {
        // SAFETY: a block has four lines, of which each side has half.
        let both = unsafe { _mm256_loadu_si256(payload.add(line * LINE).cast()) };
        let low = _mm256_and_si256(both, mask);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), mask);
        for (r, pairs) in pairs.iter_mut().enumerate() {
            // SAFETY: both groups of four are among the 32 activations.
            let (x_low, x_high) = unsafe {
                let x = q(r);
                (four(x.add(line * 4).cast()), four(x.add(line * 4 + 16).cast()))
            };
            let low = _mm256_maddubs_epi16(low, _mm256_set1_epi32(x_low));
            let high = _mm256_maddubs_epi16(high, _mm256_set1_epi32(x_high));
            *pairs = _mm256_add_epi16(*pairs, _mm256_add_epi16(low, high));
        }
    }
    pairs.map(|pairs| _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Sums of byte times activation over some groups of four columns of a block.
///
/// # Safety
///
/// `payload` is that of a block, moved to the side; `q(r)` has 32 activations for `r < R`, and
/// `groups` are below 8.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn dots_of_bytes<const R: usize>(
    payload: *const u8,
    groups: std::ops::Range<usize>,
    q: impl Fn(usize) -> *const i16,
) -> [__m256i; R] {
    let mask = _mm256_set1_epi16(255);
    let mut dots = [_mm256_setzero_si256(); R];
    for group in groups {
        // SAFETY: a block has eight lines, of which each side has half.
        let both = unsafe { _mm256_loadu_si256(payload.add(group * LINE).cast()) };
        let even = _mm256_and_si256(both, mask);
        let odd = _mm256_srli_epi16::<8>(both);
        for (r, dot) in dots.iter_mut().enumerate() {
            // SAFETY: the four columns of the group are among the 32 activations.
            let (x_even, x_odd) = unsafe {
                let x = q(r).add(group * 4);
                (four(x.cast()), four(x.add(2).cast()))
            };
            let even = _mm256_madd_epi16(even, _mm256_set1_epi32(x_even));
            let odd = _mm256_madd_epi16(odd, _mm256_set1_epi32(x_odd));
            *dot = _mm256_add_epi32(*dot, _mm256_add_epi32(even, odd));
        }
    }
    dots
}

/// Four bytes as they lie.
///
/// # Safety
///
/// `bytes` points to them.
#[inline]
unsafe fn four(bytes: *const [u8; 4]) -> i32 {
    // SAFETY: the caller's promise; an array of bytes needs no alignment.
    i32::from_le_bytes(unsafe { *bytes })
}

/// Scale or minimum number `term` of a block, for the eight rows of `side`.
///
/// # Safety
///
/// `scales` has the terms of a block, and `term` is one of them.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn term<const WIDE: bool>(scales: *const u8, term: usize, side: usize) -> __m256 {
    let lane = term * LANES + side * WIDTH;
    // SAFETY: 16 terms of 4 or 2 bytes follow each other.
    unsafe {
        if WIDE {
            _mm256_loadu_ps(scales.add(lane * 4).cast())
        } else {
            _mm256_cvtph_ps(_mm_loadu_si128(scales.add(lane * 2).cast()))
        }
    }
}
