//! Memory for weights and buffers, in large pages, and only where it is touched.
//!
//! With pages of 4 KiB a processor spends as long finding weights as reading them: two threads of a
//! virtual machine (Zen 4) read 26 GB/s from small pages and 35 to 49 from pages of 2 MiB. Linux
//! gives large pages to whoever asks, if it may (`/sys/kernel/mm/transparent_hugepage/enabled`);
//! elsewhere nothing is lost. Keys and values are sized for the longest texts there may be; of what
//! no text has reached, the system has given nothing.

use crate::line::LINE;
use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Bytes of a large page.
#[cfg(not(watched))]
const PAGE: usize = 2 << 20;
/// Bytes of a chunk; what is never touched costs no memory. Under a sanitizer each piece is one.
const CHUNK: usize = if cfg!(watched) { 0 } else { 64 << 20 };

/// Hands out pieces of large chunks, one after another. A chunk is freed with its last piece.
#[derive(Default)]
pub(crate) struct Arena {
    chunk: Option<Arc<Chunk>>,
    /// Bytes of the chunk that are handed out.
    used: usize,
}

/// What a chunk's memory belongs to.
#[cfg(not(watched))]
type Map = memmap2::MmapMut;
/// The same on the heap, where a sanitizer watches the ends.
#[cfg(watched)]
type Map = Vec<crate::line::Line>;

struct Chunk {
    /// Kept for its memory, which is used through `start` alone.
    _map: Map,
    /// The first byte, of a large page unless on the heap.
    start: *mut u8,
    len: usize,
}

// SAFETY: a chunk is read and written only through its pieces, of which no two overlap.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Arena {
    /// `len` zeros on a boundary of 64 bytes; `None` if the system has no memory.
    pub(crate) fn take<T: Pod>(&mut self, len: usize) -> Option<Piece<T>> {
        const { assert!(align_of::<T>() <= LINE) };
        let bytes = len.checked_mul(size_of::<T>())?.checked_next_multiple_of(LINE)?;
        if self.chunk.as_ref().is_none_or(|chunk| chunk.len - self.used < bytes) {
            (self.chunk, self.used) = (Some(Arc::new(Chunk::new(bytes.max(CHUNK))?)), 0);
        }
        let chunk = Arc::clone(self.chunk.as_ref()?);
        // SAFETY: `used + bytes` is at most the length of the chunk.
        let start = unsafe { chunk.start.add(self.used) }.cast();
        self.used += bytes;
        Some(Piece { _chunk: chunk, start, len, owned: PhantomData })
    }
}

impl Chunk {
    #[cfg(not(watched))]
    fn new(len: usize) -> Option<Self> {
        let mut map = Map::map_anon(len.checked_add(PAGE)?).ok()?;
        // Refused, the pages stay small.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        let start = map.as_mut_ptr();
        let start = start.wrapping_add(start.align_offset(PAGE));
        Some(Chunk { _map: map, start, len })
    }

    #[cfg(watched)]
    fn new(len: usize) -> Option<Self> {
        let mut map: Map = bytemuck::allocation::try_zeroed_vec(len / LINE).ok()?;
        let start = map.as_mut_ptr().cast();
        Some(Chunk { _map: map, start, len })
    }
}

/// Some values in a chunk, owned like a `Box<[T]>`.
pub(crate) struct Piece<T> {
    _chunk: Arc<Chunk>,
    start: *mut T,
    len: usize,
    owned: PhantomData<T>,
}

// SAFETY: a piece owns its values as a box does.
unsafe impl<T: Send> Send for Piece<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Piece<T> {}

impl<T: Pod> Deref for Piece<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `take` has cut the piece to `len` values from memory of a chunk that lives as
        // long as the piece, aligned to a line, which began as zeros: values of any `Pod`. No other
        // piece overlaps it.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl<T: Pod> DerefMut for Piece<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the piece is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_zero_apart_and_outlive_the_arena() {
        let mut arena = Arena::default();
        let mut pieces: Vec<Piece<u32>> = Vec::new();
        for n in [0, 1, 15, 17, 1000, CHUNK.saturating_sub(1200) / 4, CHUNK / 2, 3] {
            let mut piece = arena.take::<u32>(n).expect("memory");
            assert!(piece.as_ptr().addr().is_multiple_of(LINE));
            assert!(piece.iter().all(|&x| x == 0), "{n}");
            piece.fill(n as u32);
            pieces.push(piece);
        }
        drop(arena);
        for piece in &pieces {
            assert!(piece.iter().all(|&x| x as usize == piece.len()));
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Arena::default().take::<u64>(usize::MAX / 4).is_none());
        assert!(Arena::default().take::<u64>(usize::MAX / 16).is_none());
    }
}
