//! Asking for memory before it is needed: weights to read, and lines that another core holds.
//!
//! Only x86-64 asks; what it would bring elsewhere was not measured.

use super::format::LINE;
#[cfg(target_arch = "x86_64")]
use std::arch::asm;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// How far ahead of the block in work a weight is asked for, in bytes. The processor prefetches by
/// itself within a page, but too little while a block is used for several rows: with 1 KiB a
/// `Q8_0` weight in memory took 280 us at 8 rows instead of 480, with 2.5 KiB 490 (two cores, Zen
/// 4).
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 1024;

/// Asks for the `bytes` that lie [`AHEAD`] of `start`; past the end of a weight it does nothing.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn prefetch(start: *const u8, bytes: usize) {
    (AHEAD..AHEAD + bytes).step_by(LINE).for_each(|line| ask_to_read(start.wrapping_add(line)));
}

/// Asks for `values` to be read.
pub(super) fn fetch<T>(values: &[T]) {
    lines(values.as_ptr(), values.len()).for_each(ask_to_read);
}

/// Asks for `len` values to be written. A core that has read a line or written it keeps it, and
/// stores wait for it one after another, some 100 ns each where cores share no cache; what is asked
/// for ahead comes together.
pub(super) fn claim<T>(values: *const T, len: usize) {
    lines(values, len).for_each(ask_to_write);
}

#[inline]
fn ask_to_read(line: *const u8) {
    // SAFETY: a prefetch reads nothing and may be given any address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

#[inline]
fn ask_to_write(line: *const u8) {
    // SAFETY: a hint that changes neither memory nor registers and may be given any address;
    // processors that do not know it take it as no operation.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// An address in each line of `len` values.
fn lines<T>(values: *const T, len: usize) -> impl Iterator<Item = *const u8> {
    let start = values.cast::<u8>();
    let within = start.addr() % LINE;
    let bytes = if len == 0 { 0 } else { within + len * size_of::<T>() };
    (0..bytes).step_by(LINE).map(move |at| start.wrapping_sub(within).wrapping_add(at))
}
