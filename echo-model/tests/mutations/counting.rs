//! An allocator that counts what each thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Bytes held now and at most, of this thread.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(change: isize) {
    // A thread that is being torn down has no counter any more, and nobody asks for it.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        held.set((now + change, most.max(now + change)));
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged; counting touches a
// thread-local without destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks may exist while one is copied to the other.
        count(new_size as isize);
        // SAFETY: the caller's promise is handed on.
        let moved = unsafe { System.realloc(ptr, layout, new_size) };
        count(-(layout.size() as isize));
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most bytes that were held at once during `work`, beyond those held before.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (isize, T) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = work();
    (HELD.get().1 - before, result)
}
