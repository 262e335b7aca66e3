//! Whatever a file declares: no panic, and at most four times its size plus 16 MiB of heap.
//!
//! Random mutations of a small valid file are opened under an allocator that counts what each
//! thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use echo_model::gguf::Gguf;

#[path = "files/gguf_writer.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod gguf_writer;

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
fn peak<T>(work: impl FnOnce() -> T) -> (isize, T) {
    let before = HELD.get().0;
    HELD.set((before, before));
    let result = work();
    (HELD.get().1 - before, result)
}

fn bound(len: usize) -> isize {
    (4 * len + (16 << 20)) as isize
}

/// A small generator with a period long enough for a test (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// One to four changes: bits, bytes, whole numbers of telling sizes, insertions, cuts.
fn mutate(file: &[u8], random: &mut Random) -> Vec<u8> {
    const TELLING: [u64; 12] =
        [0, 1, 7, 8, 255, 1 << 16, 1 << 20, 1 << 31, 1 << 32, 1 << 61, 1 << 63, u64::MAX];
    let mut bytes = file.to_vec();
    for _ in 0..=random.below(4) {
        // Most of the structure is in the first part of the file.
        let reach = if random.below(4) == 0 { bytes.len() } else { bytes.len().min(1700) };
        if reach == 0 {
            return bytes;
        }
        let at = random.below(reach);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let number = TELLING[random.below(TELLING.len())].to_le_bytes();
                let n = number.len().min(bytes.len() - at);
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            3 => {
                let n = 4.min(bytes.len() - at);
                let number = (random.next() as u32 >> random.below(32)).to_le_bytes();
                bytes[at..at + n].copy_from_slice(&number[..n]);
            }
            4 => bytes.truncate(at),
            _ => {
                let n = random.below(40);
                bytes.splice(at..at, std::iter::repeat_n(random.next() as u8, n));
            }
        }
    }
    bytes
}

#[test]
fn mutated_files_neither_panic_nor_allocate_much() {
    let file = gguf_writer::tiny_llama().bytes();
    let mut random = Random(0x0ec0);
    let (mut accepted, mut refused, mut most) = (0, 0, 0);
    for round in 0..100_000 {
        let bytes = mutate(&file, &mut random);
        let len = bytes.len();
        let (held, opened) = peak(|| {
            let opened = Gguf::from_bytes(bytes);
            // What was accepted can be read to the end.
            if let Ok(gguf) = &opened {
                let tensors: usize = gguf.tensors().map(|t| t.name.len() + t.bytes.len()).sum();
                let strings = gguf.metadata().filter_map(|(_, value)| match value {
                    echo_model::gguf::Value::Array(array) => Some(array),
                    _ => None,
                });
                let strings: usize = strings
                    .filter_map(|a| Some(a.strings()?.map(<[u8]>::len).sum::<usize>()))
                    .sum();
                assert!(tensors + strings <= 4 * len);
            }
            opened.is_ok()
        });
        assert!(held <= bound(len), "round {round}: {held} bytes for a file of {len}");
        most = most.max(held);
        *(if opened { &mut accepted } else { &mut refused }) += 1;
    }
    eprintln!("{accepted} accepted, {refused} refused, at most {most} bytes held");
    // Mutations reach both outcomes, or they test nothing.
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

/// Files made to cost as much as they can: as many of the smallest entries as the format allows.
#[test]
fn the_dearest_files_stay_within_the_bound() {
    use gguf_writer::{GgufWriter, array, flag};
    let with_keys =
        |n: usize| (0..n).fold(GgufWriter::new(), |file, i| file.key(format!("{i:x}"), flag(0)));
    let with_tensors = |n: usize| {
        (0..n).fold(GgufWriter::new(), |file, i| file.raw(&format!("{i:x}"), &[1], 1, vec![0; 2]))
    };
    let empty_strings = vec![0; 8 << 20];
    let files = [
        ("keys", with_keys(65_536)),
        ("tensors", with_tensors(65_536)),
        ("strings", GgufWriter::new().key("k", array(8, 1 << 20, &empty_strings))),
    ];
    for (kind, file) in files {
        let bytes = file.bytes();
        let len = bytes.len();
        let (held, opened) = peak(|| Gguf::from_bytes(bytes).is_ok());
        eprintln!("{kind}: {held} bytes for a file of {len}");
        assert!(opened, "{kind}");
        assert!(held <= bound(len), "{kind}: {held} bytes for a file of {len}");
    }
    // The counter counts: a reader that trusts a declared number would be seen.
    let trusting = |declared: usize| peak(|| Vec::<u64>::with_capacity(declared).capacity()).0;
    assert!(trusting(1 << 22) > bound(64));
}
