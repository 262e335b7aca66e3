//! Where a backend keeps things: buffers, weights, and the way in and out.

use crate::error::DeviceError;
use crate::limits::Limits;
use crate::packed::PackedView;
use crate::tensor::TensorView;

/// A device array of one element type, known to its device alone. Lives as long as the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buffer(pub u32);

/// A weight matrix as a device keeps it (repacked, possibly still quantised).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight(pub u32);

/// A place on a device for the rows of one forward. A target and each drafter have their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stage(pub u32);

/// Element type of a [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Activations and norms.
    F32,
    /// Keys and values. Written and read as F32; how finely a device keeps them is its own affair,
    /// and the same for as long as it lives.
    Kv,
    /// Row numbers.
    U32,
}

/// Host data on its way into a [`Buffer`].
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// For [`Element::F32`] and [`Element::Kv`].
    F32(&'a [f32]),
    /// For [`Element::U32`].
    U32(&'a [u32]),
}

/// A device's memory. All of it is taken at start; there is no freeing.
///
/// Using a buffer out of its range or with the wrong element type is a bug and panics.
pub trait Device: Send + Sync {
    /// A buffer of `len` zeros; `what` it is for, in case there is no room.
    fn alloc(&self, element: Element, len: usize, what: &str) -> Result<Buffer, DeviceError>;

    /// A place for the rows of forwards within `limits`, sized once.
    fn open_stage(&self, limits: &Limits) -> Result<Stage, DeviceError>;

    /// Lays the packed rows out where the device reads them, as the rows of `stage` until the next
    /// call. Rows beyond the limits the stage was opened with are a bug and panic.
    fn stage(&self, stage: Stage, packed: PackedView<'_>) -> Result<(), DeviceError>;

    /// Takes the rows of `parts`, one part below the other, as one matrix. All parts have the same
    /// number of columns; each keeps its own element type.
    fn weight(&self, parts: &[TensorView<'_>]) -> Result<Weight, DeviceError>;

    /// Copies `data` into `buffer` from element `start` on.
    fn write(&self, buffer: Buffer, start: usize, data: Data<'_>) -> Result<(), DeviceError>;

    /// Waits for all that was enqueued, then copies `out.len()` elements of an F32 or Kv buffer
    /// from element `start` on.
    fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) -> Result<(), DeviceError>;
}

const _: Option<&dyn Device> = None;
