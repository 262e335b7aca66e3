//! The machine in software: libraries made of the kernels' sources, a heap for a device's memory,
//! with guard bytes around each piece, and the launches of each graph.

use crate::library::{self, Bug};
use echo_core::DeviceError;
use echo_kernels_cuda::driver::{Driver, Graph, Launch};
use echo_kernels_cuda::source::SOURCES;
use libloading::Library;
use std::alloc::{self, Layout};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Guard bytes before and behind each piece of memory.
const GUARD: usize = 256;
const GUARD_BYTE: u8 = 0xA5;

/// The software machine.
pub(crate) struct Emulated {
    /// Chooses the order of threads, warps and blocks.
    seed: u64,
    bug: Option<Bug>,
    memory: Mutex<Vec<Piece>>,
    libraries: Mutex<HashMap<&'static str, Library>>,
    graphs: Mutex<Vec<Vec<Launch>>>,
    tally: Arc<Tally>,
}

/// What the machine was asked to do.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) captured: AtomicUsize,
    pub(crate) replayed: AtomicUsize,
    /// By themselves, not in a graph.
    pub(crate) launched: AtomicUsize,
}

/// A piece of the device's memory, with guard bytes before and behind.
struct Piece {
    start: *mut u8,
    layout: Layout,
}

// SAFETY: a piece is owned memory; kernels write through its address, one launch at a time.
unsafe impl Send for Piece {}

impl Drop for Piece {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and nothing runs any more.
        unsafe { alloc::dealloc(self.start, self.layout) };
    }
}

impl Emulated {
    pub(crate) fn new(seed: u64) -> Self {
        Emulated {
            seed,
            bug: None,
            memory: Mutex::default(),
            libraries: Mutex::default(),
            graphs: Mutex::default(),
            tally: Arc::default(),
        }
    }

    /// A machine whose kernels have `bug`.
    pub(crate) fn with_bug(seed: u64, bug: Bug) -> Self {
        Emulated { bug: Some(bug), ..Emulated::new(seed) }
    }

    /// What it is asked to do from now on.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// Whether some kernel wrote beside the memory it was given.
    fn check_guards(&self) -> Result<(), DeviceError> {
        for piece in &*self.memory.lock().expect("no test panics with the lock") {
            // SAFETY: the piece is alive, and no launch is running.
            let bytes = unsafe { std::slice::from_raw_parts(piece.start, piece.layout.size()) };
            let (before, behind) = (&bytes[..GUARD], &bytes[bytes.len() - GUARD..]);
            if before.iter().chain(behind).any(|&byte| byte != GUARD_BYTE) {
                return Err(DeviceError::Failed("a write beside device memory".to_owned()));
            }
        }
        Ok(())
    }
}

impl Driver for Emulated {
    fn alloc(&self, bytes: usize, what: &str) -> Result<u64, DeviceError> {
        let layout = Layout::from_size_align(bytes + 2 * GUARD, 256);
        let layout =
            layout.map_err(|_| DeviceError::OutOfMemory { asked: bytes, what: what.into() })?;
        // SAFETY: the guards make the size positive, and they lie inside it.
        let start = unsafe {
            let start = alloc::alloc_zeroed(layout);
            assert!(!start.is_null(), "no memory for the emulation");
            start.write_bytes(GUARD_BYTE, GUARD);
            start.add(GUARD + bytes).write_bytes(GUARD_BYTE, GUARD);
            start
        };
        self.memory.lock().expect("no test panics with the lock").push(Piece { start, layout });
        Ok(start as u64 + GUARD as u64)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        // SAFETY: the port has checked the range against the buffer.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        Ok(())
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.check_guards()?;
        // SAFETY: the port has checked the range against the buffer.
        unsafe {
            std::ptr::copy_nonoverlapping(address as *const u8, into.as_mut_ptr(), into.len());
        };
        Ok(())
    }

    fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        self.tally.launched.fetch_add(1, Ordering::Relaxed);
        self.run(launch)
    }

    fn capture(&self, launches: &[Launch]) -> Result<Graph, DeviceError> {
        self.tally.captured.fetch_add(1, Ordering::Relaxed);
        let mut graphs = self.graphs.lock().expect("no test panics with the lock");
        graphs.push(launches.to_vec());
        Ok(Graph(graphs.len() as u32 - 1))
    }

    fn replay(&self, Graph(number): Graph) -> Result<(), DeviceError> {
        self.tally.replayed.fetch_add(1, Ordering::Relaxed);
        let graphs = self.graphs.lock().expect("no test panics with the lock");
        graphs[number as usize].iter().try_for_each(|launch| self.run(launch))
    }
}

impl Emulated {
    fn run(&self, launch: &Launch) -> Result<(), DeviceError> {
        let Launch { entry, geometry, args } = launch;
        let mut libraries = self.libraries.lock().expect("no test panics with the lock");
        let library = libraries.entry(entry.stem).or_insert_with(|| {
            let source = SOURCES.iter().find(|source| source.stem == entry.stem).expect("a stem");
            let path = library::compile(source, self.bug);
            // SAFETY: the library was made of our sources and runs nothing when loaded.
            unsafe { Library::new(&path) }.unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        });
        let call = CallGeometry {
            grid: geometry.grid,
            block: [geometry.threads, 1, 1],
            shared_bytes: geometry.shared_bytes,
            seed: self.seed,
        };
        let mut values: Vec<*const c_void> =
            args.iter().map(|arg| std::ptr::from_ref(&arg.0).cast()).collect();
        let mut error = [0; 256];
        // SAFETY: every library has a function of this type for each entry point of its source.
        let failed = unsafe {
            let name = format!("emulated_{}", entry.name);
            let run = library.get::<Run>(name.as_bytes()).expect("an entry point");
            run(&raw const call, values.as_mut_ptr(), values.len(), error.as_mut_ptr())
        };
        if failed == 0 {
            return Ok(());
        }
        // SAFETY: the emulation ends its message with a zero.
        let why = unsafe { CStr::from_ptr(error.as_ptr()) }.to_string_lossy().into_owned();
        Err(DeviceError::Failed(format!("{}: {why}", entry.name)))
    }
}

/// What runs an entry point: its geometry, addresses of the arguments, their number, and room for
/// a message.
type Run =
    unsafe extern "C" fn(*const CallGeometry, *mut *const c_void, usize, *mut c_char) -> c_int;

/// `emulation::Geometry`.
#[repr(C)]
struct CallGeometry {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    seed: u64,
}
