//! The integer kernels for AVX-512 with VNNI.
//!
//! A 512-bit register holds four columns of 16 output rows. `vpdpbusd` multiplies them by four
//! activations, broadcast from memory, and adds the products to 16 32-bit sums; eight of these make
//! a block. Weights are the unsigned operand, so the zero of a weight is taken out by starting the
//! sums at `-zero Σq_x`. Unpacked weights stay in eight registers for up to 16 rows.

use super::format::{BLOCK, Blocks, LANES, LINE, Q4_0, Q4_1, Q4K, Q6K, Q8_0, Tile};
use super::kernel::{Ints, Sums};
use super::stream::prefetch;
#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

/// One tile; see [`super::kernel`] for the order of operations.
///
/// # Safety
///
/// The processor has the features of `Isa::Avx512Vnni`.
pub(super) unsafe fn ints(form: Blocks, tile: Tile<'_>, x: Ints<'_>, sums: &mut [Sums]) {
    // SAFETY: the caller's promise.
    unsafe {
        match form {
            Q4_0 => by_rows::<true, false, false, false, 3>(tile, x, sums),
            Q4_1 => by_rows::<true, false, true, false, 0>(tile, x, sums),
            Q4K => by_rows::<true, true, true, false, 0>(tile, x, sums),
            Q8_0 => by_rows::<false, false, false, false, 7>(tile, x, sums),
            Q6K => by_rows::<false, true, false, true, 5>(tile, x, sums),
            _ => unreachable!("a form without a kernel: {form:?}"),
        }
    }
}

/// The form that constants spell out.
#[allow(clippy::fn_params_excessive_bools, reason = "the constants of a kernel")]
const fn form(nibbles: bool, wide: bool, min: bool, halves: bool, zero_log2: u32) -> Blocks {
    Blocks { nibbles, wide, min, halves, zero_log2 }
}

/// Picks the kernel for the number of rows, so that its sums live in registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
fn by_rows<
    const NIBBLES: bool,
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO_LOG2: u32,
>(
    tile: Tile<'_>,
    x: Ints<'_>,
    sums: &mut [Sums],
) {
    let form = const { form(NIBBLES, WIDE, MIN, HALVES, ZERO_LOG2) };
    let rows = sums.len();
    // Every address of `rows` is within these bounds.
    x.check(form, tile, rows);
    macro_rules! pick {
        ($($n:literal)*) => {
            match rows {
                $($n => {
                    let kernel = rows_of::<NIBBLES, WIDE, MIN, HALVES, ZERO_LOG2, $n>;
                    // SAFETY: the bounds above, and the features of this function.
                    unsafe { kernel(tile, x, sums.as_mut_ptr()) }
                })*
                _ => unreachable!("more rows than a call may have"),
            }
        };
    }
    pick!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
}

/// # Safety
///
/// The bounds checked by `by_rows` hold, and `out` has `M` entries.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
unsafe fn rows_of<
    const NIBBLES: bool,
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO_LOG2: u32,
    const M: usize,
>(
    tile: Tile<'_>,
    x: Ints<'_>,
    out: *mut Sums,
) {
    let form = const { form(NIBBLES, WIDE, MIN, HALVES, ZERO_LOG2) };
    let mut sums = [_mm512_setzero_ps(); M];
    for block in 0..tile.cols / BLOCK {
        // SAFETY: `block` is below the blocks of the tile and the rows are below `M`, and the
        // bounds of `by_rows` hold for all of both. Loads are unaligned.
        unsafe {
            let payload = tile.bytes.as_ptr().add(form.weights_at(block));
            let scales = tile.bytes.as_ptr().add(form.terms_at(block));
            prefetch(payload, form.block_bytes());
            let weights = unpack::<NIBBLES>(payload);
            // Four rows at a time: a chain of products waits four cycles for each link, so four
            // chains keep the multipliers busy.
            let (fours, rest) = sums.as_chunks_mut::<4>();
            for (four, sums) in fours.iter_mut().enumerate() {
                let row = four * 4;
                add_block::<WIDE, MIN, HALVES, ZERO_LOG2, 4>(&weights, scales, x, row, block, sums);
            }
            let (row, (twos, rest)) = (M / 4 * 4, rest.as_chunks_mut::<2>());
            for sums in twos {
                add_block::<WIDE, MIN, HALVES, ZERO_LOG2, 2>(&weights, scales, x, row, block, sums);
            }
            let (row, (ones, _)) = (M / 2 * 2, rest.as_chunks_mut::<1>());
            for sums in ones {
                add_block::<WIDE, MIN, HALVES, ZERO_LOG2, 1>(&weights, scales, x, row, block, sums);
            }
        }
    }
    for (row, sum) in sums.iter().enumerate() {
        // SAFETY: `out` has `M` entries of 16 floats.
        unsafe { _mm512_storeu_ps(out.add(row).cast(), *sum) };
    }
}

/// Adds one block to the sums of `R` rows from `row` on.
///
/// # Safety
///
/// The bounds of `by_rows` hold for the block and the rows; `scales` is the block's.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")]
unsafe fn add_block<
    const WIDE: bool,
    const MIN: bool,
    const HALVES: bool,
    const ZERO_LOG2: u32,
    const R: usize,
>(
    weights: &[__m512i; 8],
    scales: *const u8,
    x: Ints<'_>,
    row: usize,
    block: usize,
    sums: &mut [__m512; R],
) {
    let blocks = x.cols / BLOCK;
    let at = |r: usize| (row + r) * blocks + block;
    let halves = 1 + usize::from(HALVES);
    // SAFETY: the caller's promise.
    unsafe {
        for half in 0..halves {
            let mut dots = [_mm512_setzero_si512(); R];
            if !MIN {
                for (r, dot) in dots.iter_mut().enumerate() {
                    let minus = if HALVES {
                        *x.minus_half.as_ptr().add(at(r) * 2 + half)
                    } else {
                        *x.minus_sum.as_ptr().add(at(r))
                    };
                    *dot = _mm512_slli_epi32::<ZERO_LOG2>(_mm512_set1_epi32(minus));
                }
            }
            let groups = 8 / halves;
            let first = half * groups;
            for (group, weights) in weights[first..first + groups].iter().enumerate() {
                let at = block * BLOCK + (first + group) * 4;
                for (r, dot) in dots.iter_mut().enumerate() {
                    let q = x.q.as_ptr().add((row + r) * x.cols + at).cast::<[u8; 4]>();
                    let q = _mm512_set1_epi32(i32::from_le_bytes(*q));
                    *dot = _mm512_dpbusd_epi32(*dot, *weights, q);
                }
            }
            let scale = term::<WIDE>(scales, half);
            for (r, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*x.scale.as_ptr().add(at(r))));
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, *sum);
            }
        }
        if MIN {
            let min = term::<WIDE>(scales, 1);
            for (r, sum) in sums.iter_mut().enumerate() {
                let x_sum = _mm512_set1_ps(*x.scaled_sum.as_ptr().add(at(r)));
                *sum = _mm512_fmadd_ps(min, x_sum, *sum);
            }
        }
    }
}

/// The eight groups of four columns of a block, one weight per byte.
///
/// # Safety
///
/// `payload` has the bytes of a block.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn unpack<const NIBBLES: bool>(payload: *const u8) -> [__m512i; 8] {
    let mut weights = [_mm512_setzero_si512(); 8];
    // SAFETY: a block has four lines of nibbles or eight of bytes.
    unsafe {
        if NIBBLES {
            let mask = _mm512_set1_epi8(15);
            for group in 0..4 {
                let line = _mm512_loadu_si512(payload.add(group * LINE).cast());
                weights[group] = _mm512_and_si512(line, mask);
                weights[group + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(line), mask);
            }
        } else {
            for (group, weight) in weights.iter_mut().enumerate() {
                *weight = _mm512_loadu_si512(payload.add(group * LINE).cast());
            }
        }
    }
    weights
}

/// Scale or minimum number `term` of a block, for the 16 rows.
///
/// # Safety
///
/// `scales` has the terms of a block, and `term` is one of them.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn term<const WIDE: bool>(scales: *const u8, term: usize) -> __m512 {
    // SAFETY: 16 terms of 4 or 2 bytes follow each other.
    unsafe {
        if WIDE {
            _mm512_loadu_ps(scales.add(term * LANES * 4).cast())
        } else {
            _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(term * LANES * 2).cast()))
        }
    }
}
