//! The device port on a GPU.

use crate::adapter::{Choice, Found};
use crate::gpu::{Array, Gpu};
use crate::memory::Memory;
use crate::pipelines::{Constants, Pipelines};
use crate::stream::Stream;
use echo_core::port::{Buffer, Data, Device, Element, Stage, Weight};
use echo_core::sampling::Scratch;
use echo_core::{DeviceError, Limits, PackedView, TensorView};
use parking_lot::Mutex;

/// Groups of 32 weights that are summed side by side on a GPU, to have enough lanes for few rows. A
/// processor that plays a GPU has few lanes to fill.
const SEGMENTS: [u32; 2] = [8, 1];

/// How the kernels run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WgpuOptions {
    /// The device that is opened.
    pub choice: Choice,
    /// In how many segments, 1, 2, 4 or 8, a product sums side by side; what suits the device if
    /// not given. The bits of results depend on it.
    pub segments: Option<u32>,
    /// Bytes of one buffer, if the device's own limit is not to be used up.
    pub buffer_max: Option<usize>,
    /// Bytes that all buffers may have together, if the device is not to be filled up.
    pub memory_max: Option<usize>,
    /// Operations after which the device is taken away, as a reset driver or an unplugged GPU does,
    /// to test what happens then.
    pub lose_after: Option<u64>,
}

/// A GPU as a device. Operations are recorded, and run when something is read or enough of them
/// are there.
pub struct WgpuKernels {
    pub(crate) state: Mutex<State>,
    found: Found,
}

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) gpu: Gpu,
    pub(crate) memory: Memory,
    pub(crate) stream: Stream,
    pub(crate) pipelines: Pipelines,
    pub(crate) segments: u32,
    /// What kernels answer to the host.
    pub(crate) answers: Option<Array>,
    /// How the rows of a forward are sampled.
    pub(crate) specs: Option<Array>,
    /// Logits of rows that the host samples.
    pub(crate) logits: Vec<f32>,
    pub(crate) sampling: Scratch,
}

impl WgpuKernels {
    /// Opens a device, with no memory taken yet.
    pub fn open(options: &WgpuOptions) -> Result<Self, DeviceError> {
        let gpu = Gpu::open(options)?;
        let usual = SEGMENTS[usize::from(gpu.found.software)];
        let segments = options.segments.unwrap_or(usual);
        assert!([1, 2, 4, 8].contains(&segments), "{segments} segments; 1, 2, 4 or 8 are possible");
        let state = State {
            memory: Memory::default(),
            stream: Stream::new(&gpu, options.lose_after)?,
            pipelines: Pipelines::default(),
            segments,
            answers: None,
            specs: None,
            logits: Vec::new(),
            sampling: Scratch::default(),
            gpu,
        };
        Ok(WgpuKernels { found: state.gpu.found.clone(), state: Mutex::new(state) })
    }

    /// The device that was opened.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// An operation to be recorded.
pub(crate) struct Launch<'a> {
    pub(crate) stem: &'static str,
    pub(crate) constants: Constants,
    pub(crate) bound: &'a [&'a Array],
    pub(crate) immediates: &'a [u32],
    pub(crate) groups: [u32; 2],
}

impl Launch<'_> {
    /// Records it.
    pub(crate) fn record(self, gpu: &Gpu, pipelines: &mut Pipelines, stream: &mut Stream) {
        let Launch { stem, constants, bound, immediates, groups } = self;
        let (pipeline, bound) = pipelines.get(gpu, stem, constants, bound);
        stream.dispatch(gpu, pipeline, bound, immediates, groups);
    }
}

impl Device for WgpuKernels {
    fn alloc(&self, element: Element, len: usize, what: &str) -> Result<Buffer, DeviceError> {
        let State { gpu, memory, .. } = &mut *self.state.lock();
        memory.alloc(gpu, element, len, what)
    }

    fn open_stage(&self, limits: &Limits) -> Result<Stage, DeviceError> {
        let State { gpu, memory, .. } = &mut *self.state.lock();
        memory.open_stage(gpu, limits)
    }

    fn stage(&self, stage: Stage, packed: PackedView<'_>) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, .. } = &mut *self.state.lock();
        let staged = memory.staged_mut(stage);
        staged.fill(packed);
        let words = bytemuck::cast_slice(staged.words());
        stream.write(gpu, &staged.array.buffer, 0, words);
        gpu.check()
    }

    fn weight(&self, parts: &[TensorView<'_>]) -> Result<Weight, DeviceError> {
        let State { gpu, memory, stream, .. } = &mut *self.state.lock();
        memory.keep(gpu, stream, parts)
    }

    fn write(&self, buffer: Buffer, start: usize, data: Data<'_>) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, .. } = &mut *self.state.lock();
        let (array, bytes): (_, &[u8]) = match data {
            Data::F32(data) => (memory.floats(buffer), bytemuck::cast_slice(data)),
            Data::U32(data) => (memory.numbers(buffer), bytemuck::cast_slice(data)),
        };
        assert!(start + bytes.len() / 4 <= array.len, "{buffer:?} has {} elements", array.len);
        stream.write(gpu, &array.buffer, 4 * start, bytes);
        gpu.check()
    }

    fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) -> Result<(), DeviceError> {
        let State { gpu, memory, stream, .. } = &mut *self.state.lock();
        let array = memory.floats(buffer);
        assert!(start + out.len() <= array.len, "{buffer:?} has {} elements", array.len);
        if out.is_empty() {
            return gpu.check();
        }
        let bytes = size_of_val(out);
        stream.read(gpu, &array.buffer, 4 * start, bytes, |bytes| {
            bytemuck::cast_slice_mut(out).copy_from_slice(bytes);
        })
    }
}
