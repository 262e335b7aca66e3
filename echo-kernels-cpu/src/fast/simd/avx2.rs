//! Two 256-bit registers.

use super::Simd;
use core::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(in super::super) struct Avx2;

type V = [__m256; 2];

/// Calls an intrinsic.
macro_rules! on {
    ($call:expr) => {
        // SAFETY: the caller of the enclosing function runs on a processor with AVX2 and FMA and,
        // where memory is touched, has sixteen floats there.
        unsafe { $call }
    };
}

impl Simd for Avx2 {
    type V = V;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        on!([_mm256_set1_ps(x); 2])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        on!([_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))])
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        on!({
            _mm256_storeu_ps(to, v[0]);
            _mm256_storeu_ps(to.add(8), v[1]);
        });
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        on!([_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])])
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        on!([_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])])
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        on!([_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])])
    }
    #[inline(always)]
    unsafe fn div(a: V, b: V) -> V {
        on!([_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])])
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        on!([_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])])
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        on!([_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])])
    }
    #[inline(always)]
    unsafe fn min(a: V, b: V) -> V {
        on!([_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])])
    }
    #[inline(always)]
    unsafe fn scale(v: V, biased: V) -> V {
        on!({
            let one = _mm256_set1_epi32(0x3F80_0000);
            let low = _mm256_slli_epi32::<23>(_mm256_castps_si256(biased[0]));
            let high = _mm256_slli_epi32::<23>(_mm256_castps_si256(biased[1]));
            [
                _mm256_mul_ps(v[0], _mm256_castsi256_ps(_mm256_add_epi32(low, one))),
                _mm256_mul_ps(v[1], _mm256_castsi256_ps(_mm256_add_epi32(high, one))),
            ]
        })
    }
}
