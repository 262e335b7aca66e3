//! Keys and values on their way into vectors and out of them.

use super::simd::{LANES, Simd};
use crate::kv::HALF_MAX;
use bytemuck::Pod;
use half::f16;

/// What a key or a value is kept in.
///
/// Functions run on a processor with the instruction set of `S`; `load` and `store` need sixteen
/// elements behind the pointer.
pub(super) trait KvElement: Pod + Send + Sync {
    /// Whether to load it is to convert it.
    const CONVERTS: bool;

    unsafe fn load<S: Simd>(from: *const Self) -> S::V;
    unsafe fn store<S: Simd>(to: *mut Self, v: S::V);

    /// Loads `n < 16` elements; the other lanes are zero.
    #[inline(always)]
    unsafe fn load_part<S: Simd>(from: *const Self, n: usize) -> S::V {
        let mut lanes = [Self::zeroed(); LANES];
        // SAFETY: the caller has `n` elements behind `from`, and `n` is at most the lanes.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
            Self::load::<S>(lanes.as_ptr())
        }
    }
}

impl KvElement for f32 {
    const CONVERTS: bool = false;

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f32) -> S::V {
        // SAFETY: handed on to the caller.
        unsafe { S::load(from) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut f32, v: S::V) {
        // SAFETY: handed on to the caller.
        unsafe { S::store(to, v) }
    }
}

impl KvElement for f16 {
    const CONVERTS: bool = true;

    #[inline(always)]
    unsafe fn load<S: Simd>(from: *const f16) -> S::V {
        // SAFETY: handed on to the caller.
        unsafe { S::load_half(from) }
    }

    /// As [`to_half`](crate::kv::to_half) does.
    #[inline(always)]
    unsafe fn store<S: Simd>(to: *mut f16, v: S::V) {
        // SAFETY: handed on to the caller. Where `v` is NaN both keep it, the second operand.
        unsafe {
            let v = S::max(S::splat(-HALF_MAX), v);
            S::store_half(to, S::min(S::splat(HALF_MAX), v));
        }
    }
}
