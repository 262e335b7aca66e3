//! The float kernels for AVX-512: 16 output rows per register.
//!
//! A block of 32 columns is dequantised once into a buffer that stays in the first-level cache, and
//! then used for all rows, eight at a time: two chains for each of eight rows are 16 registers.

use super::format::{BLOCK, Blocks, Format, LANES, LINE, Tile};
use super::kernel::{Floats, ROWS_MAX, Sums};
use echo_core::DType;
#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

/// Weights of 32 columns of a tile as floats, column by column.
type Weights = [__m512; BLOCK];
/// The chains of even and of odd columns of one row.
type Chains = [__m512; 2];

/// One tile; see [`super::kernel`] for the order of operations.
///
/// # Safety
///
/// The processor has the features of `Isa::Avx512Vnni`.
#[target_feature(enable = "avx512f,avx512bw,f16c,fma")]
pub(super) unsafe fn floats(format: Format, tile: Tile<'_>, x: Floats<'_>, sums: &mut [Sums]) {
    let (rows, cols) = (sums.len(), tile.cols);
    // Every address of this file is within these bounds.
    x.check(format, tile, rows);
    let mut chains = [[_mm512_setzero_ps(); 2]; ROWS_MAX];
    let mut weights = [_mm512_setzero_ps(); BLOCK];
    for col in (0..cols).step_by(BLOCK) {
        let width = BLOCK.min(cols - col);
        // SAFETY: the block lies within the tile, and its columns within each row of `x`.
        unsafe {
            match format {
                Format::Blocks(form) => dequantize(form, tile, col / BLOCK, &mut weights),
                Format::Dense(dtype) => widen(dtype, tile, col, &mut weights[..width]),
            }
            let weights = &weights[..width];
            let (eights, rest) = chains[..rows].as_chunks_mut::<8>();
            let mut first = x.x.as_ptr().add(col);
            for chains in eights {
                add_columns(weights, first, x.stride, chains);
                first = first.wrapping_add(8 * x.stride);
            }
            let (fours, rest) = rest.as_chunks_mut::<4>();
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
        // SAFETY: a sum has 16 floats.
        unsafe { _mm512_storeu_ps(sums.as_mut_ptr(), _mm512_add_ps(even, odd)) };
    }
}

/// Adds some columns to the chains of `R` rows; the first column is an even one.
///
/// # Safety
///
/// `x[r * stride..]` has as many floats as there are weights, for `r < R`.
#[inline]
#[target_feature(enable = "avx512f,fma")]
unsafe fn add_columns<const R: usize>(
    weights: &[__m512],
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
                let x = _mm512_set1_ps(unsafe { *x.add(r * stride + pair * 2 + parity) });
                *chain = _mm512_fmadd_ps(weights[parity], x, *chain);
            }
        }
    }
    if let [weight] = last {
        for (r, chains) in local.iter_mut().enumerate() {
            // SAFETY: as above.
            let x = _mm512_set1_ps(unsafe { *x.add(r * stride + pairs.len() * 2) });
            chains[0] = _mm512_fmadd_ps(*weight, x, chains[0]);
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
#[target_feature(enable = "avx512f,f16c,fma")]
unsafe fn dequantize(form: Blocks, tile: Tile<'_>, block: usize, weights: &mut Weights) {
    // SAFETY: the caller's promise; a line has 64 bytes.
    unsafe {
        let payload = tile.bytes.as_ptr().add(form.weights_at(block));
        let scales = tile.bytes.as_ptr().add(form.terms_at(block));
        let scale = [term(form, scales, 0), term(form, scales, usize::from(form.halves))];
        let min = if form.min { term(form, scales, 1) } else { _mm512_setzero_ps() };
        let zero = _mm512_set1_epi32(form.zero());
        let (lines, mask) = if form.nibbles { (4, 15) } else { (8, 255) };
        let mask = _mm512_set1_epi32(mask);
        let finish = |stored: __m512i, col: usize| {
            let scale = scale[col / (BLOCK / 2)];
            if form.min {
                _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(stored), min)
            } else {
                _mm512_mul_ps(scale, _mm512_cvtepi32_ps(_mm512_sub_epi32(stored, zero)))
            }
        };
        for line in 0..lines {
            let mut bytes = _mm512_loadu_si512(payload.add(line * LINE).cast());
            for k in 0..4 {
                let col = line * 4 + k;
                weights[col] = finish(_mm512_and_si512(bytes, mask), col);
                if form.nibbles {
                    let high = _mm512_and_si512(_mm512_srli_epi32::<4>(bytes), mask);
                    weights[col + 16] = finish(high, col + 16);
                }
                bytes = _mm512_srli_epi32::<8>(bytes);
            }
        }
    }
}

/// # Safety
///
/// `scales` has the terms of a block, and `term` is one of them.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
unsafe fn term(form: Blocks, scales: *const u8, term: usize) -> __m512 {
    // SAFETY: 16 terms of 4 or 2 bytes follow each other.
    unsafe {
        let scales = scales.add(term * LANES * form.scale_bytes());
        if form.wide {
            _mm512_loadu_ps(scales.cast())
        } else {
            _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()))
        }
    }
}

/// Loads some columns of a dense tile.
///
/// # Safety
///
/// The tile has as many columns from `col` on as there are weights.
#[inline]
#[target_feature(enable = "avx512f,f16c")]
unsafe fn widen(dtype: DType, tile: Tile<'_>, col: usize, weights: &mut [__m512]) {
    for (k, weight) in weights.iter_mut().enumerate() {
        // SAFETY: the caller's promise; a column has 16 floats.
        *weight = unsafe {
            let at = tile.bytes.as_ptr().add((col + k) * LANES * dtype.block_bytes());
            match dtype {
                DType::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())),
                DType::BF16 => {
                    let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
                }
                _ => _mm512_loadu_ps(at.cast()),
            }
        };
    }
}
