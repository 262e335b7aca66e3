//! One 512-bit register.

use super::{Parts, Simd};
use core::arch::x86_64::*;
use half::f16;

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

    const ABREAST: usize = 4;
    const HALVES_ARE_DEAR: bool = false;

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
    unsafe fn load_half(from: *const f16) -> __m512 {
        on!(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast())))
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut f16, v: __m512) {
        on!(_mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)));
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
    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: SSE is part of x86-64; a prefetch touches nothing and may be given any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[inline(always)]
    unsafe fn sums(parts: &impl Parts<Self>) -> __m512 {
        on!({
            let (a, b) = (pair(parts, 0), pair(parts, 2));
            let even = _mm512_shuffle_ps::<0b10_00_10_00>(a, b);
            let odd = _mm512_shuffle_ps::<0b11_01_11_01>(a, b);
            _mm512_add_ps(even, odd)
        })
    }
}

/// Parts `e`, `e + 4`, `e + 8`, `e + 12` and those after them, down to two lanes of each. Each step
/// adds halves of what is left of two vectors and keeps both results in one.
#[inline(always)]
unsafe fn pair(parts: &impl Parts<Avx512>, e: usize) -> __m512 {
    on!({
        let (a, b) = (quad(parts, e), quad(parts, e + 1));
        let low = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
        let high = _mm512_shuffle_ps::<0b11_10_11_10>(a, b);
        _mm512_add_ps(low, high)
    })
}

/// Parts `e`, `e + 4`, `e + 8`, `e + 12` down to four lanes of each.
#[inline(always)]
unsafe fn quad(parts: &impl Parts<Avx512>, e: usize) -> __m512 {
    on!({
        let (a, b) = (halves(parts, e), halves(parts, e + 8));
        let even = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
        let odd = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
        _mm512_add_ps(even, odd)
    })
}

/// Parts `e` and `e + 4` down to eight lanes of each.
#[inline(always)]
unsafe fn halves(parts: &impl Parts<Avx512>, e: usize) -> __m512 {
    on!({
        let (a, b) = (parts.part(e), parts.part(e + 4));
        let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(a, b);
        let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(a, b);
        _mm512_add_ps(low, high)
    })
}
