//! Half-precision floats to single precision.

use std::arch::aarch64::*;
use std::arch::asm;

/// Four half-precision floats.
///
/// # Safety
///
/// `from` has their eight bytes.
#[inline]
#[target_feature(enable = "neon")]
pub(crate) unsafe fn halves(from: *const u8) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: the caller's promise, and one instruction on registers that NEON has always had; the
    // intrinsic for it waits for the type `f16`.
    unsafe {
        let narrow = vld1_u8(from);
        asm!(
            "fcvtl {wide:v}.4s, {narrow:v}.4h",
            wide = out(vreg) wide,
            narrow = in(vreg) narrow,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    wide
}
