//! The device port: memory, weights and stages, over any [`Driver`].

use crate::attention::Splits;
use crate::division::Division;
use crate::driver::Driver;
use crate::graphs::Graphs;
use crate::memory::{Memory, Scratch};
use crate::queue::Queue;
use crate::sampling::Sampler;
use crate::staged::Staged;
use crate::weight::{self, Matrix, Part};
use echo_core::port::{Buffer, Data, Device, Element, Heads, Stage, Weight};
use echo_core::{DeviceError, Limits, PackedView, TensorView};
use parking_lot::Mutex;

/// The operations of the port on a machine that runs CUDA C++.
///
/// Operations run in the order of the calls. They are collected until something is copied or waited
/// for, then enqueued together, as a graph if [`Graphs`] says so. Memory is taken while weights are
/// loaded and stages are opened, and when a stage first meets attention; after that an operation
/// allocates nothing, unless it meets more rows or more edits of logits than the limits of the
/// stages announced. Graphs take theirs when a list of operations is first met.
pub struct CudaKernels {
    pub(crate) driver: Box<dyn Driver>,
    pub(crate) state: Mutex<State>,
}

/// Everything behind the lock.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) memory: Memory,
    pub(crate) queue: Queue,
    /// Slices of linear layers.
    pub(crate) slices: Scratch,
    /// Splits of attention.
    pub(crate) splits: Scratch,
    pub(crate) sampler: Sampler,
    /// Answers of `topk_logprob`, on the device and here.
    pub(crate) best: Scratch,
    pub(crate) best_host: Vec<u32>,
}

impl CudaKernels {
    /// A device with no memory taken yet.
    pub fn new(driver: Box<dyn Driver>) -> Self {
        CudaKernels::with_graphs(driver, Graphs::default())
    }

    /// The same, with graphs of these lists of operations.
    pub fn with_graphs(driver: Box<dyn Driver>, graphs: Graphs) -> Self {
        let state = State { queue: Queue::new(graphs), ..State::default() };
        CudaKernels { driver, state: Mutex::new(state) }
    }

    /// Ends the start: a list of operations that is to be captured and has not been is an error
    /// from now on, which names its tier; with it the device counts as lost.
    pub fn seal(&self) {
        self.state.lock().queue.seal();
    }
}

impl State {
    /// Room for the slices of every linear layer at the most rows of every stage.
    fn reserve_slices(&mut self, driver: &dyn Driver) -> Result<(), DeviceError> {
        let rows = self.queue.rows_most(0);
        let sliced = |matrix: &Matrix| {
            let parts = matrix.parts.iter();
            parts.map(|part| part.sliced_bytes(matrix.cols, rows)).max().unwrap_or(0)
        };
        let bytes = self.memory.weights.iter().map(sliced).max().unwrap_or(0);
        self.slices.reserve(driver, bytes, "slices of linear layers; lower rows_max")?;
        Ok(())
    }

    /// Where attention of a stage leaves splits. The first attention says how large heads are, so
    /// only then is it taken, for the limits of every stage. Fails for heads, or trees of the size
    /// that the stage allows, that the kernels can't hold.
    pub(crate) fn splits(
        &mut self,
        driver: &dyn Driver,
        stage: Stage,
        heads: Heads,
    ) -> Result<Splits, DeviceError> {
        let staged = self.memory.stage(stage);
        Division::new(heads, &staged.limits).check(&staged.limits)?;
        if let Some(splits) = staged.splits {
            return Ok(splits);
        }
        let limits = self.memory.stages.iter().map(|staged| &staged.limits);
        let largest = limits.map(|limits| Division::new(heads, limits)).reduce(Division::or);
        let rows = self.queue.rows_most(0);
        let left = largest.map_or(0, |division| division.bytes_wanted(rows));
        let what = "splits of attention; lower context_max";
        let address = self.splits.reserve(driver, Splits::bytes(left), what)?;
        let splits = Splits { address, bytes: self.splits.bytes() };
        self.memory.stages[stage.0 as usize].splits = Some(splits);
        Ok(splits)
    }
}

impl Device for CudaKernels {
    fn alloc(&self, element: Element, len: usize, what: &str) -> Result<Buffer, DeviceError> {
        let state = &mut *self.state.lock();
        state.queue.check()?;
        state.memory.alloc(&*self.driver, element, len, what)
    }

    fn open_stage(&self, limits: &Limits) -> Result<Stage, DeviceError> {
        let (state, driver) = (&mut *self.state.lock(), &*self.driver);
        state.queue.check()?;
        let staged = Staged::new(driver, limits)?;
        state.memory.stages.push(staged);
        state.queue.rows_max = state.queue.rows_max.max(limits.rows_max);
        state.reserve_slices(driver)?;
        state.sampler.reserve(driver, limits)?;
        Ok(Stage(state.memory.stages.len() as u32 - 1))
    }

    fn stage(&self, stage: Stage, packed: PackedView<'_>) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        state.queue.flush(&*self.driver)?;
        state.memory.stages[stage.0 as usize].fill(&*self.driver, packed)
    }

    fn weight(&self, parts: &[TensorView<'_>]) -> Result<Weight, DeviceError> {
        let (state, driver) = (&mut *self.state.lock(), &*self.driver);
        state.queue.check()?;
        let mut matrix =
            Matrix { parts: Vec::new(), cols: parts.first().map_or(0, |part| part.cols) };
        for run in weight::runs(parts)? {
            let records = weight::pack(run);
            let address = driver.alloc(records.len(), run[0].name)?;
            driver.write(address, &records)?;
            let part =
                Part { dtype: run[0].dtype, address, rows: run.iter().map(|t| t.rows).sum() };
            matrix.parts.push(part);
        }
        state.memory.weights.push(matrix);
        state.reserve_slices(driver)?;
        Ok(Weight(state.memory.weights.len() as u32 - 1))
    }

    fn write(&self, buffer: Buffer, start: usize, data: Data<'_>) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let (element, len, bytes): (_, _, &[u8]) = match data {
            Data::F32(data) => (Element::F32, data.len(), bytemuck::cast_slice(data)),
            Data::U32(data) => (Element::U32, data.len(), bytemuck::cast_slice(data)),
        };
        let address = state.memory.range(buffer, element, start, len);
        state.queue.flush(&*self.driver)?;
        self.driver.write(address, bytes)
    }

    fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) -> Result<(), DeviceError> {
        let state = &mut *self.state.lock();
        let address = state.memory.range(buffer, Element::F32, start, out.len());
        state.queue.flush(&*self.driver)?;
        self.driver.read(address, bytemuck::cast_slice_mut(out))
    }
}
