//! The float kernels for AVX2: eight output rows, half a tile, per register.
//!
//! A block of 32 columns is dequantised once into a buffer that stays in the first-level cache, and
//! then used for all rows, four at a time: two chains for each of four rows are eight registers.

use super::format::{BLOCK, Blocks, Format, LANES, LINE, Tile};
use super::kernel::{Floats, ROWS_MAX, Sums};
use echo_core::DType;
#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

/// Output rows of one register.
const WIDTH: usize = LANES / 2;
/// Weights of 32 columns of half a tile as floats, column by column.
type Weights = [__m256; BLOCK];
/// The chains of even and of odd columns of one row.
type Chains = [__m256; 2];

/// One tile; see [`super::kernel`] for the order of operations.
///
/// # Safety
///
/// The processor has the features of `Isa::Avx2`.
#[target_feature(enable = "avx2,f16c,fma")]
pub(super) unsafe fn floats(format: Format, tile: Tile<'_>, x: Floats<'_>, sums: &mut [Sums]) {
    // Every address of this file is within these bounds.
    x.check(format, tile, sums.len());
    for side in 0..2 {
        // SAFETY: the bounds above.
        unsafe { half_tile(format, tile, side, x, sums) };
    }
}

/// The eight output rows of `side`.
///
/// # Safety
///
/// The bounds checked by `floats` hold.
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn half_tile(format: Format, tile: Tile<'_>, side: usize, x: Floats<'_>, sums: &mut [Sums]) {
    let (rows, cols) = (sums.len(), tile.cols);
    let mut chains = [[_mm256_setzero_ps(); 2]; ROWS_MAX];
    let mut weights = [_mm256_setzero_ps(); BLOCK];
    for col in (0..cols).step_by(BLOCK) {
        let width = BLOCK.min(cols - col);
        // SAFETY: the block lies within the tile, and its columns within each row of `x`.
        unsafe {
            match format {
                Format::Blocks(form) => dequantize(form, tile, side, col / BLOCK, &mut weights),
                Format::Dense(dtype) => widen(dtype, tile, side, col, &mut weights[..width]),
            }
            let weights = &weights[..width];
            let mut first = x.x.as_ptr().add(col);
            let (fours, rest) = chains[..rows].as_chunks_mut::<4>();
            for chains in fours {
                add_columns(weights, first, x.stride, chains);
                first = first.wrapping_add(4 * x.stride);
            }
            for chains in rest.as_chunks_mut::<1>().0 {
                add_columns(weights, first, x.stride, chains);
                first = first.wrapping_add(x.stride);
            }
        }
    }
    for (sums, [even, odd]) in sums.iter_mut().zip(chains) {
        let sum = _mm256_add_ps(even, odd);
        // SAFETY: a sum has 16 floats, of which this side is eight.
        unsafe { _mm256_storeu_ps(sums.as_mut_ptr().add(side * WIDTH), sum) };
    }
}

/// Adds some columns to the chains of `R` rows; the first column is an even one.
///
/// # Safety
///
/// `x[r * stride..]` has as many floats as there are weights, for `r < R`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_columns<const R: usize>(
    weights: &[__m256],
    x: *const f32,
    stride: usize,
    chains: &mut [Chains; R],
) {
    let mut local = *chains;
    let (pairs, last) = weights.as_chunks::<2>();
    for (pair, weights) in pairs.iter().enumerate() {
        for (r, chains) in local.iter_mut().enumerate() {
            for (parity, chain) in chains.iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                let x = _mm256_set1_ps(unsafe { *x.add(r * stride + pair * 2 + parity) });
                *chain = _mm256_fmadd_ps(weights[parity], x, *chain);
            }
        }
    }
    if let [weight] = last {
        for (r, chains) in local.iter_mut().enumerate() {
            // SAFETY: as above.
            let x = _mm256_set1_ps(unsafe { *x.add(r * stride + pairs.len() * 2) });
            chains[0] = _mm256_fmadd_ps(*weight, x, chains[0]);
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
#[target_feature(enable = "avx2,f16c,fma")]
unsafe fn dequantize(
    form: Blocks,
    tile: Tile<'_>,
    side: usize,
    block: usize,
    weights: &mut Weights,
) {
    // SAFETY: the caller's promise; a line has 64 bytes, of which this side is half.
    unsafe {
        let payload = tile.bytes.as_ptr().add(form.weights_at(block));
        let payload = payload.add(side * LINE / 2);
        let scales = tile.bytes.as_ptr().add(form.terms_at(block));
        let scales = scales.add(side * WIDTH * form.scale_bytes());
        let scale = [term(form, scales, 0), term(form, scales, usize::from(form.halves))];
        let min = if form.min { term(form, scales, 1) } else { _mm256_setzero_ps() };
        let zero = _mm256_set1_epi32(form.zero());
        let (lines, mask) = if form.nibbles { (4, 15) } else { (8, 255) };
        let mask = _mm256_set1_epi32(mask);
        let finish = |stored: __m256i, col: usize| {
            let scale = scale[col / (BLOCK / 2)];
            if form.min {
                _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(stored), min)
            } else {
                _mm256_mul_ps(scale, _mm256_cvtepi32_ps(_mm256_sub_epi32(stored, zero)))
            }
        };
        for line in 0..lines {
            let mut bytes = _mm256_loadu_si256(payload.add(line * LINE).cast());
            for k in 0..4 {
                let col = line * 4 + k;
                weights[col] = finish(_mm256_and_si256(bytes, mask), col);
                if form.nibbles {
                    let high = _mm256_and_si256(_mm256_srli_epi32::<4>(bytes), mask);
                    weights[col + 16] = finish(high, col + 16);
                }
                bytes = _mm256_srli_epi32::<8>(bytes);
            }
        }
    }
}

/// # Safety
///
/// `scales` has the terms of a block, moved to the side, and `term` is one of them.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn term(form: Blocks, scales: *const u8, term: usize) -> __m256 {
    // SAFETY: 16 terms of 4 or 2 bytes follow each other.
    unsafe {
        let scales = scales.add(term * LANES * form.scale_bytes());
        if form.wide {
            _mm256_loadu_ps(scales.cast())
        } else {
            _mm256_cvtph_ps(_mm_loadu_si128(scales.cast()))
        }
    }
}

/// Loads some columns of a dense tile.
///
/// # Safety
///
/// The tile has as many columns from `col` on as there are weights.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn widen(dtype: DType, tile: Tile<'_>, side: usize, col: usize, weights: &mut [__m256]) {
    for (k, weight) in weights.iter_mut().enumerate() {
        // SAFETY: the caller's promise; a column has 16 floats, of which this side is eight.
        *weight = unsafe {
            let lane = (col + k) * LANES + side * WIDTH;
            let at = tile.bytes.as_ptr().add(lane * dtype.block_bytes());
            match dtype {
                DType::F16 => _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
                DType::BF16 => {
                    let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
                }
                _ => _mm256_loadu_ps(at.cast()),
            }
        };
    }
}
