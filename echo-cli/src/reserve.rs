//! Memory kept back for the moment when the system has none left.
//!
//! A program ends at the first small piece of memory that it can't have. With a reserve such pieces
//! come from there, ten thousands of them: enough to refuse new requests and to answer those that
//! run. It can't tell pieces that a caller could do without from others, so whoever takes large
//! ones asks [`Reserve::is_whole`] and gives them back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::spin_loop;
use std::ptr::{copy_nonoverlapping, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// Bytes of the reserve. They cost nothing until they are used.
const BYTES: usize = 64 << 20;
/// Bytes of a unit, in which it is given away, and the coarsest alignment it has.
const UNIT: usize = 512;
const UNITS: usize = BYTES / UNIT;
/// Bytes of the largest piece it gives.
const PIECE_MAX: usize = 8 << 20;

/// The system's allocator, and a reserve behind it once [`Reserve::fill`] was called.
pub(crate) struct Reserve {
    region: AtomicPtr<u8>,
    /// Whether unit `64 i + b` is given away, in bit `b` of word `i`; written under the lock.
    taken: [AtomicU64; UNITS / 64],
    n_taken: AtomicUsize,
    is_locked: AtomicBool,
}

impl Reserve {
    /// A reserve of nothing.
    pub(crate) const fn new() -> Self {
        Reserve {
            region: AtomicPtr::new(null_mut()),
            taken: [const { AtomicU64::new(0) }; UNITS / 64],
            n_taken: AtomicUsize::new(0),
            is_locked: AtomicBool::new(false),
        }
    }

    /// Sets memory aside, for good; to be called once. Without memory there is no reserve.
    pub(crate) fn fill(&self) {
        let layout = Layout::from_size_align(BYTES, UNIT).expect("a power of two");
        // SAFETY: the layout's size is not 0.
        self.region.store(unsafe { System.alloc(layout) }, Ordering::Release);
    }

    /// Whether no more than a quarter is given away.
    pub(crate) fn is_whole(&self) -> bool {
        self.n_taken.load(Ordering::Relaxed) <= UNITS / 4
    }

    /// A piece of the reserve, or null.
    fn take(&self, layout: Layout) -> *mut u8 {
        let region = self.region.load(Ordering::Acquire);
        if region.is_null() || layout.size() > PIECE_MAX || layout.align() > UNIT {
            return null_mut();
        }
        let n = units(layout);
        let place = self.locked(|| {
            let place = self.find(n)?;
            (place..place + n).for_each(|unit| self.flip(unit));
            Some(place)
        });
        let Some(place) = place else { return null_mut() };
        self.n_taken.fetch_add(n, Ordering::Relaxed);
        // SAFETY: the units from `place` on lie in the region.
        unsafe { region.add(place * UNIT) }
    }

    /// Takes a piece back if it is one of the reserve's; whether it was.
    fn take_back(&self, memory: *mut u8, layout: Layout) -> bool {
        let Some(place) = self.place_of(memory) else { return false };
        let n = units(layout);
        self.locked(|| (place..place + n).for_each(|unit| self.flip(unit)));
        self.n_taken.fetch_sub(n, Ordering::Relaxed);
        true
    }

    /// The first unit of a piece, if it is one of the reserve's.
    fn place_of(&self, memory: *mut u8) -> Option<usize> {
        let region = self.region.load(Ordering::Acquire);
        let offset = (memory as usize).checked_sub(region as usize)?;
        (!region.is_null() && offset < BYTES).then_some(offset / UNIT)
    }

    /// The first of the lowest `n` free units in a row.
    fn find(&self, n: usize) -> Option<usize> {
        let mut run = 0;
        for unit in 0..UNITS {
            let is_taken = self.taken[unit / 64].load(Ordering::Relaxed) >> (unit % 64) & 1 == 1;
            run = if is_taken { 0 } else { run + 1 };
            if run == n {
                return Some(unit + 1 - n);
            }
        }
        None
    }

    /// Gives a unit away, or takes it back.
    fn flip(&self, unit: usize) {
        self.taken[unit / 64].fetch_xor(1 << (unit % 64), Ordering::Relaxed);
    }

    /// Under a lock that needs no memory, as those that sleep may.
    fn locked<T>(&self, call: impl FnOnce() -> T) -> T {
        while self.is_locked.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        let result = call();
        self.is_locked.store(false, Ordering::Release);
        result
    }
}

fn units(layout: Layout) -> usize {
    layout.size().div_ceil(UNIT).max(1)
}

// SAFETY: memory comes from the system's allocator and goes back there, or from a region that is
// nobody else's: `take` gives no unit away twice before `take_back` has it again, and a piece has
// its layout's size and, up to `UNIT`, its alignment. Nothing here panics or allocates otherwise.
unsafe impl GlobalAlloc for Reserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc`'s contract.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() { self.take(layout) } else { memory }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            return memory;
        }
        let piece = self.take(layout);
        if !piece.is_null() {
            // SAFETY: the piece has this size.
            unsafe { piece.write_bytes(0, layout.size()) };
        }
        piece
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if !self.take_back(memory, layout) {
            // SAFETY: the caller keeps `dealloc`'s contract, and `memory` came from the system.
            unsafe { System.dealloc(memory, layout) }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.place_of(memory).is_none() {
            // SAFETY: the caller keeps `realloc`'s contract, and `memory` came from the system.
            let new = unsafe { System.realloc(memory, layout, size) };
            if !new.is_null() {
                return new;
            }
        }
        // SAFETY: the caller answers for size and alignment; the old piece is as it was, and the
        // new one another, each at least as large as what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                copy_nonoverlapping(memory, new, size.min(layout.size()));
                self.dealloc(memory, layout);
            }
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).expect("a layout")
    }

    #[test]
    fn pieces_are_given_once_and_taken_back() {
        let reserve = Reserve::new();
        assert!(reserve.take(piece(8)).is_null() && reserve.is_whole());
        reserve.fill();
        let start = reserve.region.load(Ordering::Relaxed) as usize;
        let place = |memory: *mut u8| (memory as usize - start) / UNIT;
        let [a, b, c] = [1, UNIT + 1, 3 * UNIT].map(|bytes| reserve.take(piece(bytes)));
        assert_eq!([a, b, c].map(place), [0, 1, 3]);
        assert!(reserve.take_back(b, piece(UNIT + 1)));
        // The hole of two is found again by what fits.
        assert_eq!(place(reserve.take(piece(3 * UNIT))), 6);
        assert_eq!(place(reserve.take(piece(2 * UNIT))), 1);
        assert!(!reserve.take_back((start + BYTES) as *mut u8, piece(1)));
        assert!(!reserve.take_back((start - 1) as *mut u8, piece(1)));
        let coarse = Layout::from_size_align(8, 2 * UNIT).expect("a layout");
        assert!(reserve.take(coarse).is_null() && reserve.take(piece(PIECE_MAX + 1)).is_null());
    }

    #[test]
    fn it_is_whole_until_a_quarter_is_gone_and_ends_with_its_last_unit() {
        let reserve = Reserve::new();
        reserve.fill();
        let taken: Vec<_> =
            (0..BYTES / PIECE_MAX).map(|_| reserve.take(piece(PIECE_MAX))).collect();
        assert!(taken.iter().all(|piece| !piece.is_null()) && reserve.take(piece(1)).is_null());
        for (left, memory) in (0..taken.len()).rev().zip(taken) {
            reserve.take_back(memory, piece(PIECE_MAX));
            assert_eq!(reserve.is_whole(), left <= 2, "{left} pieces of eight");
        }
    }

    #[test]
    fn pieces_of_both_grow_and_keep_what_they_hold() {
        let reserve = Reserve::new();
        reserve.fill();
        // SAFETY: layouts are those the pieces were taken with, and only what they hold is touched.
        unsafe {
            let memory = reserve.take(piece(100));
            memory.write_bytes(7, 100);
            let moved = reserve.realloc(memory, piece(100), 5000);
            assert!(reserve.place_of(moved).is_none(), "the system has memory");
            assert_eq!(reserve.n_taken.load(Ordering::Relaxed), 0);
            assert!((0..100).all(|i| moved.add(i).read() == 7));
            // The system has no piece of this size.
            let huge = reserve.realloc(moved, piece(5000), isize::MAX as usize - 4096);
            assert!(huge.is_null() && moved.add(99).read() == 7);
            reserve.dealloc(moved, piece(5000));
        }
    }
}
