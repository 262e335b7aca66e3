//! Four 128-bit registers.

use super::{Parts, Simd};
use crate::linear::neon_widen::halves;
use core::arch::aarch64::*;
use core::arch::asm;
use half::f16;

#[derive(Clone, Copy)]
pub(in super::super) struct Neon;

type V = [float32x4_t; 4];

/// Calls an intrinsic on each register of vectors.
macro_rules! each {
    ($call:ident($($v:ident),*)) => {
        // SAFETY: NEON is part of every AArch64 processor this is compiled for.
        unsafe { [$call($($v[0]),*), $call($($v[1]),*), $call($($v[2]),*), $call($($v[3]),*)] }
    };
}

impl Simd for Neon {
    type V = V;

    const ABREAST: usize = 1;
    const HALVES_ARE_DEAR: bool = false;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        let x = [x; 4];
        each!(vdupq_n_f32(x))
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: the caller has sixteen floats there.
        let from = unsafe { [from, from.add(4), from.add(8), from.add(12)] };
        each!(vld1q_f32(from))
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: the caller may write sixteen floats there.
            unsafe { vst1q_f32(to.add(4 * i), v) };
        }
    }
    #[inline(always)]
    unsafe fn load_half(from: *const f16) -> V {
        // SAFETY: the caller has sixteen numbers there.
        let from = unsafe { [from, from.add(4), from.add(8), from.add(12)] };
        let from = from.map(<*const f16>::cast::<u8>);
        each!(halves(from))
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut f16, v: V) {
        for (i, v) in v.into_iter().enumerate() {
            // SAFETY: the caller may write sixteen numbers there.
            unsafe { narrow(to.add(4 * i), v) };
        }
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        each!(vaddq_f32(a, b))
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        each!(vsubq_f32(a, b))
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        each!(vmulq_f32(a, b))
    }
    #[inline(always)]
    unsafe fn div(a: V, b: V) -> V {
        each!(vdivq_f32(a, b))
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        each!(vfmaq_f32(c, a, b))
    }
    // The instructions for minimum and maximum keep a NaN; a comparison with one is false.
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        let larger = each!(vcgtq_f32(a, b));
        each!(vbslq_f32(larger, a, b))
    }
    #[inline(always)]
    unsafe fn min(a: V, b: V) -> V {
        let smaller = each!(vcltq_f32(a, b));
        each!(vbslq_f32(smaller, a, b))
    }
    #[inline(always)]
    unsafe fn scale(v: V, biased: V) -> V {
        let (bits, one) = (each!(vreinterpretq_s32_f32(biased)), [0x3F80_0000; 4]);
        let (low, one) = (each!(exponent(bits)), each!(vdupq_n_s32(one)));
        let power = each!(vaddq_s32(low, one));
        let power = each!(vreinterpretq_f32_s32(power));
        each!(vmulq_f32(v, power))
    }
    /// Nothing: what it would bring was not measured.
    #[inline(always)]
    fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn sums(parts: &impl Parts<Self>) -> V {
        // SAFETY: handed on to the caller.
        unsafe { [four(parts, 0), four(parts, 4), four(parts, 8), four(parts, 12)] }
    }
}

/// Keeps four numbers in half precision, rounded as the processor is set to: to nearest even.
#[inline(always)]
unsafe fn narrow(to: *mut f16, wide: float32x4_t) {
    let narrow: uint16x4_t;
    // SAFETY: the caller may write four numbers there; the instruction works on registers alone.
    unsafe {
        asm!(
            "fcvtn {narrow:v}.4h, {wide:v}.4s",
            narrow = out(vreg) narrow,
            wide = in(vreg) wide,
            options(pure, nomem, nostack, preserves_flags),
        );
        vst1_u16(to.cast(), narrow);
    }
}

/// The low bits of integers, at the place of a float's exponent.
#[inline(always)]
unsafe fn exponent(bits: int32x4_t) -> int32x4_t {
    // SAFETY: as in `each`.
    unsafe { vshlq_n_s32::<23>(bits) }
}

/// The sums of parts `e..e + 4`. Each step adds halves of what is left of two parts and keeps both
/// results in one register.
#[inline(always)]
unsafe fn four(parts: &impl Parts<Neon>, e: usize) -> float32x4_t {
    // SAFETY: handed on to the caller.
    unsafe { vpaddq_f32(pair(parts, e), pair(parts, e + 2)) }
}

/// Parts `e` and `e + 1` down to two lanes of each.
#[inline(always)]
unsafe fn pair(parts: &impl Parts<Neon>, e: usize) -> float32x4_t {
    // SAFETY: handed on to the caller.
    unsafe {
        let quarter = |v: V| vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
        let a = vreinterpretq_f64_f32(quarter(parts.part(e)));
        let b = vreinterpretq_f64_f32(quarter(parts.part(e + 1)));
        let (low, high) = (vtrn1q_f64(a, b), vtrn2q_f64(a, b));
        vaddq_f32(vreinterpretq_f32_f64(low), vreinterpretq_f32_f64(high))
    }
}
