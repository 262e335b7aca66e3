//! The device port on the host, and the choice between reference and fast forms.

use crate::fast::Fast;
use crate::linear::{Activations, Isa};
use crate::memory::{Memory, Stored};
use crate::reference;
use echo_core::port::{Buffer, Data, Device, Element, Stage, Weight};
use echo_core::sampling;
use echo_core::{DeviceError, Limits, PackedView, TensorView};
use parking_lot::Mutex;

/// Which form of the operations runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The slow and obvious one, on one thread. Allocates as it likes.
    Reference,
    /// The fast one, with the best instruction set of this processor.
    Fast,
    /// The fast one, with a given instruction set.
    With(Isa),
}

/// How the kernels run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// Threads that share an operation, the caller's included; 0 is taken as 1. No result depends
    /// on it.
    pub threads: usize,
    /// The form of the operations.
    pub path: Path,
    /// What quantised weights meet on the fast path. With [`Activations::Int8`] keys and values
    /// are kept in half precision there, whatever the weights.
    pub activations: Activations,
}

impl Default for CpuOptions {
    /// The fast path with a thread for each core that the process may use: what its affinity and,
    /// on Linux, the quota of its control group (`cpu.max`, or `cpu.cfs_quota_us`) leave it.
    fn default() -> Self {
        CpuOptions {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            path: Path::Fast,
            activations: Activations::Int8,
        }
    }
}

/// The CPU as a device. Operations run when they are called, one at a time.
pub struct CpuKernels {
    pub(crate) state: Mutex<State>,
}

/// Everything behind the lock.
pub(crate) struct State {
    pub(crate) memory: Memory,
    /// `None` on the reference path.
    pub(crate) fast: Option<Fast>,
    pub(crate) slow: Slow,
}

/// Buffers of the reference path.
#[derive(Default)]
pub(crate) struct Slow {
    /// A copy of an operand that is overwritten.
    pub(crate) operand: Vec<f32>,
    pub(crate) sampling: sampling::Scratch,
}

impl CpuKernels {
    /// A device with no memory taken yet.
    ///
    /// Panics if the system refuses a thread, or if `options.path` names an instruction set that is
    /// not in [`Isa::available`].
    pub fn new(options: CpuOptions) -> Self {
        let CpuOptions { threads, path, activations } = options;
        let halves = path != Path::Reference && activations == Activations::Int8;
        let fast = match path {
            Path::Reference => None,
            Path::Fast => Some(Fast::new(threads, Isa::detect(), activations)),
            Path::With(isa) => Some(Fast::new(threads, isa, activations)),
        };
        CpuKernels {
            state: Mutex::new(State { memory: Memory::new(halves), fast, slow: Slow::default() }),
        }
    }
}

impl Device for CpuKernels {
    fn alloc(&self, element: Element, len: usize, what: &str) -> Result<Buffer, DeviceError> {
        self.state.lock().memory.alloc(element, len, what)
    }

    fn open_stage(&self, limits: &Limits) -> Result<Stage, DeviceError> {
        Ok(self.state.lock().memory.open_stage(limits))
    }

    fn stage(&self, stage: Stage, packed: PackedView<'_>) -> Result<(), DeviceError> {
        self.state.lock().memory.stage_mut(stage).fill(packed);
        Ok(())
    }

    fn weight(&self, parts: &[TensorView<'_>]) -> Result<Weight, DeviceError> {
        let mut state = self.state.lock();
        let stored = match &mut state.fast {
            Some(fast) => Stored::Packed(fast.pack(parts)?),
            None => plain(parts)?,
        };
        Ok(state.memory.keep(stored))
    }

    fn write(&self, buffer: Buffer, start: usize, data: Data<'_>) -> Result<(), DeviceError> {
        self.state.lock().memory.write(buffer, start, data);
        Ok(())
    }

    fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) -> Result<(), DeviceError> {
        self.state.lock().memory.read(buffer, start, out);
        Ok(())
    }
}

/// Dequantises `parts` one below the other.
fn plain(parts: &[TensorView<'_>]) -> Result<Stored, DeviceError> {
    let cols = parts.first().map_or(0, |part| part.cols);
    let mut values = Vec::new();
    for part in parts {
        let bytes = part.dtype.row_bytes(part.cols);
        let bytes = bytes.and_then(|bytes| bytes.checked_mul(part.rows));
        if part.cols != cols || bytes != Some(part.bytes.len()) {
            let why = format!(
                "tensor {} ({}): {} rows of {} columns in {} bytes beside parts of {cols} columns; \
                 columns must be whole blocks, agree, and fit the bytes",
                part.name,
                part.dtype,
                part.rows,
                part.cols,
                part.bytes.len()
            );
            return Err(DeviceError::Unsupported(why));
        }
        reference::dequantize(part, &mut values);
    }
    Ok(Stored::Plain { values, cols })
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::DType;

    #[test]
    fn a_damaged_weight_is_refused_by_name_on_every_path() {
        for path in [Path::Reference, Path::Fast] {
            let kernels = CpuKernels::new(CpuOptions { threads: 1, path, ..CpuOptions::default() });
            for (cols, len) in [(33, 34), (32, 33)] {
                let tensor = TensorView {
                    name: "blk.0.weight",
                    dtype: DType::Q8_0,
                    rows: 1,
                    cols,
                    bytes: &vec![0; len],
                };
                let error = kernels.weight(&[tensor]).unwrap_err();
                assert!(error.to_string().contains("blk.0.weight"), "{error}");
            }
        }
    }
}
