//! Two 256-bit registers.

use super::{Parts, Simd};
use core::arch::x86_64::*;
use half::f16;

#[derive(Clone, Copy)]
pub(in super::super) struct Avx2;

type V = [__m256; 2];

/// Calls an intrinsic.
macro_rules! on {
    ($call:expr) => {
        // SAFETY: the caller of the enclosing function runs on a processor with AVX2, FMA and F16C
        // and, where memory is touched, has sixteen numbers there.
        unsafe { $call }
    };
}

impl Simd for Avx2 {
    type V = V;

    const ABREAST: usize = 2;
    const HALVES_ARE_DEAR: bool = true;

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
    unsafe fn load_half(from: *const f16) -> V {
        on!({
            let [low, high] = [from, from.add(8)].map(|at| _mm_loadu_si128(at.cast()));
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        })
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut f16, v: V) {
        on!({
            let [low, high] = v.map(|v| _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
            _mm_storeu_si128(to.cast(), low);
            _mm_storeu_si128(to.add(8).cast(), high);
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
    #[inline(always)]
    fn prefetch(at: *const f32) {
        // SAFETY: SSE is part of x86-64; a prefetch touches nothing and may be given any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[inline(always)]
    unsafe fn sums(parts: &impl Parts<Self>) -> V {
        on!([eight(parts, 0), eight(parts, 8)])
    }
}

/// The sums of parts `e..e + 8`. Each step adds halves of what is left of two parts and keeps both
/// results in one register.
#[inline(always)]
unsafe fn eight(parts: &impl Parts<Avx2>, e: usize) -> __m256 {
    on!({
        let (a, b) = (pair(parts, e), pair(parts, e + 2));
        let even = _mm256_shuffle_ps::<0b10_00_10_00>(a, b);
        let odd = _mm256_shuffle_ps::<0b11_01_11_01>(a, b);
        _mm256_add_ps(even, odd)
    })
}

/// Parts `e`, `e + 4` and those after them, down to two lanes of each.
#[inline(always)]
unsafe fn pair(parts: &impl Parts<Avx2>, e: usize) -> __m256 {
    on!({
        let (a, b) = (halves(parts, e), halves(parts, e + 1));
        let low = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
        let high = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
        _mm256_add_ps(low, high)
    })
}

/// Parts `e` and `e + 4` down to four lanes of each.
#[inline(always)]
unsafe fn halves(parts: &impl Parts<Avx2>, e: usize) -> __m256 {
    on!({
        let [a, b] = [parts.part(e), parts.part(e + 4)];
        let (a, b) = (_mm256_add_ps(a[0], a[1]), _mm256_add_ps(b[0], b[1]));
        let low = _mm256_permute2f128_ps::<0x20>(a, b);
        let high = _mm256_permute2f128_ps::<0x31>(a, b);
        _mm256_add_ps(low, high)
    })
}
