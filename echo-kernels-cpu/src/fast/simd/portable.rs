//! Arrays of sixteen floats, for any processor.

use super::{LANES, Parts, Simd, sum};
use half::f16;

/// Whether fused multiply-add is an instruction of every processor this build may run on.
const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));

#[derive(Clone, Copy)]
pub(in super::super) struct Portable;

type V = [f32; LANES];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> V {
    let mut out = [0.0; LANES];
    for (i, out) in out.iter_mut().enumerate() {
        *out = f(i);
    }
    out
}

impl Simd for Portable {
    type V = V;

    const ABREAST: usize = 1;
    const HALVES_ARE_DEAR: bool = true;

    #[inline(always)]
    unsafe fn splat(x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        // SAFETY: the caller has sixteen floats there; an array of floats is aligned as a float.
        unsafe { *from.cast::<V>() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        // SAFETY: the caller may write sixteen floats there.
        unsafe { *to.cast::<V>() = v };
    }
    #[inline(always)]
    unsafe fn load_half(from: *const f16) -> V {
        // SAFETY: the caller has sixteen numbers there, aligned as such numbers are.
        let halves = unsafe { *from.cast::<[f16; LANES]>() };
        each(|i| halves[i].to_f32())
    }
    #[inline(always)]
    unsafe fn store_half(to: *mut f16, v: V) {
        // SAFETY: the caller may write sixteen numbers there, aligned as such numbers are.
        unsafe { *to.cast::<[f16; LANES]>() = v.map(f16::from_f32) };
    }
    #[inline(always)]
    unsafe fn add(a: V, b: V) -> V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: V, b: V) -> V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: V, b: V) -> V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn div(a: V, b: V) -> V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: V, b: V, c: V) -> V {
        if FUSED { each(|i| a[i].mul_add(b[i], c[i])) } else { each(|i| a[i] * b[i] + c[i]) }
    }
    #[inline(always)]
    unsafe fn max(a: V, b: V) -> V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn min(a: V, b: V) -> V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn scale(v: V, biased: V) -> V {
        each(|i| v[i] * f32::from_bits((biased[i].to_bits() << 23).wrapping_add(0x3F80_0000)))
    }
    #[inline(always)]
    fn prefetch(_: *const f32) {}
    #[inline(always)]
    unsafe fn sums(parts: &impl Parts<Self>) -> V {
        // SAFETY: handed on to the caller.
        each(|i| unsafe { sum::<Self>(parts.part(i)) })
    }
}
