//! What the kernels need of a machine: memory, copies, launches, and lists of launches it keeps.
//!
//! [`Cuda`](crate::Cuda) is the real one. The tests bring one in software that runs the same
//! sources, so that everything above this trait is proven without a device.

use echo_core::DeviceError;
use std::ops::Deref;

/// An entry point of a source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The file, without its extension.
    pub stem: &'static str,
    /// The function.
    pub name: &'static str,
}

/// How many threads a launch has, and what they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Blocks, in three directions.
    pub grid: [u32; 3],
    /// Threads of a block, in one.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub shared_bytes: u32,
}

/// An argument of a kernel, by its bits: an address, a `u32` or an `f32`, from the low end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arg(pub u64);

/// Most arguments of an entry point.
pub const ARGS_MAX: usize = 23;

/// The arguments of an entry point, in order and number those of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args {
    /// Zero beyond the last, so that equal arguments are equal here.
    values: [Arg; ARGS_MAX],
    n: usize,
}

impl<const N: usize> From<[Arg; N]> for Args {
    fn from(args: [Arg; N]) -> Self {
        const { assert!(N <= ARGS_MAX) };
        let mut values = [Arg::default(); ARGS_MAX];
        values[..N].copy_from_slice(&args);
        Args { values, n: N }
    }
}

impl Deref for Args {
    type Target = [Arg];

    fn deref(&self) -> &[Arg] {
        &self.values[..self.n]
    }
}

/// An entry point, over so many threads, with these arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What runs.
    pub entry: Entry,
    /// How often.
    pub geometry: Geometry,
    /// On what.
    pub args: Args,
}

/// Launches that a machine keeps, known to it alone. Lives as long as the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph(pub u32);

impl From<u64> for Arg {
    fn from(address: u64) -> Self {
        Arg(address)
    }
}

impl From<u32> for Arg {
    fn from(value: u32) -> Self {
        Arg(u64::from(value))
    }
}

impl From<usize> for Arg {
    /// For counts, which kernels take in 32 bits. Panics if the count has more.
    fn from(value: usize) -> Self {
        Arg::from(u32::try_from(value).expect("counts on the device have 32 bits"))
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Arg::from(value.to_bits())
    }
}

/// A machine with memory of its own that runs the entry points in the order they were launched.
///
/// Addresses are the machine's. One caller at a time; the owner sees to it.
pub trait Driver: Send + Sync {
    /// Takes `bytes` of zeroed memory, aligned to 256 bytes, for the life of the driver.
    fn alloc(&self, bytes: usize, what: &str) -> Result<u64, DeviceError>;

    /// Copies `bytes` to `address`, after all that was enqueued before. `bytes` may be reused when
    /// this returns.
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Waits for all that was enqueued, then copies from `address`.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Enqueues a launch.
    fn launch(&self, launch: &Launch) -> Result<(), DeviceError>;

    /// Keeps `launches`, in their order, and runs none of them.
    fn capture(&self, launches: &[Launch]) -> Result<Graph, DeviceError>;

    /// Enqueues all launches of a graph at once.
    fn replay(&self, graph: Graph) -> Result<(), DeviceError>;
}

const _: Option<&dyn Driver> = None;
