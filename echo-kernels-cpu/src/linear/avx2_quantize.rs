//! Quantising a block of activations with AVX2: four registers of eight.

use super::format::BLOCK;
use super::quantize::scales;
#[allow(clippy::wildcard_imports, reason = "intrinsics have names of their own")]
use std::arch::x86_64::*;

/// Quantises one block; the scale, and the sums of both halves. The bits of the plain form.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn quantize(x: &[f32; BLOCK], q: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    let magnitude = _mm256_set1_epi32(0x7fff_ffff);
    // SAFETY: a block has four times eight floats.
    let x = [0, 8, 16, 24].map(|at| unsafe { _mm256_loadu_ps(x.as_ptr().add(at)) });
    let [a, b, c, d] = x.map(|x| _mm256_and_si256(_mm256_castps_si256(x), magnitude));
    let most = _mm256_max_epu32(_mm256_max_epu32(a, b), _mm256_max_epu32(c, d));
    let most = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256::<1>(most));
    let most = _mm_max_epu32(most, _mm_shuffle_epi32::<0b01_00_11_10>(most));
    let most = _mm_max_epu32(most, _mm_shuffle_epi32::<0b10_11_00_01>(most));
    let (scale, inverse) = scales(_mm_cvtsi128_si32(most) as u32);
    let Some(inverse) = inverse else {
        q.fill(0);
        return (scale, [0; 2]);
    };
    let inverse = _mm256_set1_ps(inverse);
    // Rounds to the nearest integer, ties to even, as the system leaves every thread.
    let [a, b, c, d] = x.map(|x| _mm256_cvtps_epi32(_mm256_mul_ps(x, inverse)));
    let sums = _mm256_hadd_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    let sums = _mm256_hadd_epi32(sums, sums);
    let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    // Packing works within each half of a register; the last step puts fours in their order.
    let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    let packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    // SAFETY: a block has 32 bytes.
    unsafe { _mm256_storeu_si256(q.as_mut_ptr().cast(), packed) };
    (scale, [_mm_cvtsi128_si32(sums), _mm_extract_epi32::<1>(sums)])
}
