//! One 512-bit register.

use super::Simd;
use core::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(in super::super) struct Avx512;

/// Calls an intrinsic.
macro_rules! on {
    ($call:expr) => {
        // SAFETY: the caller of the enclosing function runs on a processor with AVX-512 F and,
        // where memory is touched, has sixteen floats there.
        unsafe { $call }
    };
}

impl Simd for Avx512 {
    type V = __m512;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        on!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        on!(_mm512_loadu_ps(from))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        on!(_mm512_storeu_ps(to, v));
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        on!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        on!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        on!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        on!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        on!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        on!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        on!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    unsafe fn scale(v: __m512, biased: __m512) -> __m512 {
        on!({
            let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(biased));
            let power = _mm512_add_epi32(shifted, _mm512_set1_epi32(0x3F80_0000));
            _mm512_mul_ps(v, _mm512_castsi512_ps(power))
        })
    }
}
