//! Sixteen floats at a time, in the same order of operations on every processor.
//!
//! A kernel is written once, generic over [`Simd`], and compiled for each instruction set by
//! [`versions!`]. Sixteen lanes everywhere make sums over lanes the same tree whatever the width
//! of a register; tails are padded to sixteen lanes, so they are computed like everything else.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
mod exp;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod portable;

pub(super) use exp::exp;

use half::f16;

/// Number of lanes.
pub(super) const LANES: usize = 16;

/// Vector operations of one instruction set.
///
/// Every function must only run on a processor that has the instruction set; those that load and
/// store need sixteen numbers behind the pointer, aligned as such numbers are.
pub(super) trait Simd: Copy {
    /// Sixteen floats.
    type V: Copy;

    /// Vectors of sums that four rows side by side can keep in registers, at least.
    const ABREAST: usize;
    /// Whether to load halves costs more than to store and load floats.
    const HALVES_ARE_DEAR: bool;

    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Sixteen floats kept in half precision.
    unsafe fn load_half(from: *const f16) -> Self::V;
    /// Keeps sixteen floats in half precision: to the nearest, ties to even.
    unsafe fn store_half(to: *mut f16, v: Self::V);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once where the processor can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; `b` where either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// `v * 2^n` where `n` is the integer that `exp` has left in the low bits of `biased`.
    unsafe fn scale(v: Self::V, biased: Self::V) -> Self::V;
    /// Asks for the 64 bytes around `at` ahead of their use; any address will do.
    fn prefetch(at: *const f32);
    /// In lane `i` the sum over the lanes of part `i`, as the tree of [`sum`].
    unsafe fn sums(parts: &impl Parts<Self>) -> Self::V;
}

/// Sixteen vectors, each made when it is asked for.
pub(super) trait Parts<S: Simd> {
    /// Vector `i` of sixteen. The caller runs on a processor with the instruction set of `S`.
    unsafe fn part(&self, i: usize) -> S::V;
}

/// Loads `n < 16` floats; the other lanes are zero.
#[inline(always)]
pub(super) unsafe fn load_part<S: Simd>(from: *const f32, n: usize) -> S::V {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller has `n` floats behind `from`, and `n` is at most the lanes.
    unsafe {
        std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
        S::load(lanes.as_ptr())
    }
}

/// Stores the first `n < 16` lanes.
#[inline(always)]
pub(super) unsafe fn store_part<S: Simd>(to: *mut f32, v: S::V, n: usize) {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller may write `n` floats at `to`, and `n` is at most the lanes.
    unsafe {
        S::store(lanes.as_mut_ptr(), v);
        std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
    }
}

/// The sum of all lanes, as a balanced tree.
#[inline(always)]
pub(super) unsafe fn sum<S: Simd>(v: S::V) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: the array has sixteen floats.
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest lane; any lane if one is NaN.
#[inline(always)]
pub(super) unsafe fn max<S: Simd>(v: S::V) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: the array has sixteen floats.
    unsafe { S::store(lanes.as_mut_ptr(), v) };
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            let (a, b) = (lanes[i], lanes[i + half]);
            lanes[i] = if a > b { a } else { b };
        }
        half /= 2;
    }
    lanes[0]
}

/// Compiles a generic kernel for each instruction set and chooses among them by an [`Isa`].
///
/// The function made is unsafe: what the kernel asks of its arguments, and `isa` must be available.
///
/// [`Isa`]: crate::linear::Isa
macro_rules! versions {
    ($name:ident$(<$t:ident: $bound:ident>)? = $kernel:ident($($arg:ident: $type:ty),* $(,)?)) => {
        unsafe fn $name$(<$t: $bound>)?(isa: $crate::linear::Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2$(<$t: $bound>)?($($arg: $type),*) {
                // SAFETY: handed on to the caller; the instruction set is enabled here.
                unsafe { $kernel::<$crate::fast::simd::avx2::Avx2 $(, $t)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512$(<$t: $bound>)?($($arg: $type),*) {
                // SAFETY: handed on to the caller; the instruction set is enabled here.
                unsafe { $kernel::<$crate::fast::simd::avx512::Avx512 $(, $t)?>($($arg),*) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon,dotprod")]
            unsafe fn neon$(<$t: $bound>)?($($arg: $type),*) {
                // SAFETY: handed on to the caller; the instruction set is enabled here.
                unsafe { $kernel::<$crate::fast::simd::neon::Neon $(, $t)?>($($arg),*) }
            }
            match isa {
                // SAFETY: handed on to the caller; `isa` is available there.
                #[cfg(target_arch = "x86_64")]
                $crate::linear::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::linear::Isa::Avx512Vnni => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::linear::Isa::NeonDot => unsafe { neon($($arg),*) },
                // SAFETY: handed on to the caller.
                _ => unsafe {
                    $kernel::<$crate::fast::simd::portable::Portable $(, $t)?>($($arg),*)
                },
            }
        }
    };
}
pub(super) use versions;
