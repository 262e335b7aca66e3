//! Asking for memory before it is needed: weights to read, and lines that another core holds.

use super::format::LINE;
use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// How far ahead of the block in work a weight is asked for, in bytes. The processor prefetches by
/// itself within a page, but too little while a block is used for several rows: with 1 KiB a
/// `Q8_0` weight in memory took 280 us at 8 rows instead of 480, with 2.5 KiB 490 (two cores, Zen
/// 4).
const AHEAD: usize = 1024;

/// Asks for the `bytes` that lie [`AHEAD`] of `start`; past the end of a weight it does nothing.
#[inline]
pub(super) fn prefetch(start: *const u8, bytes: usize) {
    for line in (AHEAD..AHEAD + bytes).step_by(LINE) {
        // SAFETY: a prefetch reads nothing and may be given any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line).cast()) };
    }
}

/// Asks for `values` to be read.
pub(super) fn fetch<T>(values: &[T]) {
    for line in lines(values.as_ptr(), values.len()) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
    }
}

/// Asks for `len` values to be written. A core that has read a line or written it keeps it, and
/// stores wait for it one after another, some 100 ns each where cores share no cache; what is asked
/// for ahead comes together.
pub(super) fn claim<T>(values: *const T, len: usize) {
    for line in lines(values, len) {
        // SAFETY: a hint that changes neither memory nor registers and may be given any address;
        // processors that do not know it take it as no operation.
        unsafe { asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags)) };
    }
}

/// An address in each line of `len` values.
fn lines<T>(values: *const T, len: usize) -> impl Iterator<Item = *const u8> {
    let start = values.cast::<u8>();
    let within = start.addr() % LINE;
    let bytes = if len == 0 { 0 } else { within + len * size_of::<T>() };
    (0..bytes).step_by(LINE).map(move |at| start.wrapping_sub(within).wrapping_add(at))
}
