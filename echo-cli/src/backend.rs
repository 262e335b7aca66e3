//! Which device computes: the processor, or a GPU through wgpu or CUDA.

use crate::cuda;
use crate::engine_args::EngineArgs;
use crate::registry;
use anyhow::{Result, anyhow};
use echo_core::Kernels;
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_kernels_cuda::{CudaKernels, OpenError};
use echo_kernels_wgpu::{Choice, WgpuKernels, WgpuOptions};
use std::path::Path;
use std::sync::Arc;

const BACKENDS: [&str; 4] = ["auto", "cpu", "wgpu", "cuda"];

/// An open device.
pub(crate) struct Backend {
    /// `cpu`, `wgpu` or `cuda`.
    pub(crate) name: &'static str,
    /// The device and how it is used, for reports.
    pub(crate) device: String,
    /// What quantised weights meet: `int8` or `float`.
    pub(crate) activations: String,
    pub(crate) kernels: Arc<dyn Kernels>,
    /// The same, if it captures graphs.
    pub(crate) captured: Option<Arc<CudaKernels>>,
}

impl Backend {
    /// Opens the device that `--backend` means.
    pub(crate) fn open(args: &EngineArgs) -> Result<Backend> {
        match args.backend.as_str() {
            "auto" => auto(args),
            "cpu" => cpu(args),
            "wgpu" => wgpu(Choice::Any),
            "cuda" => cuda::open(!args.no_graphs)
                .map_err(|error| anyhow!("--backend cuda: {error}; try --backend cpu")),
            name => Err(registry::unknown("backend", name, &BACKENDS)),
        }
    }
}

fn auto(args: &EngineArgs) -> Result<Backend> {
    let gpu = || if may_have_gpu() { wgpu(Choice::Gpu).ok() } else { None };
    first(|| cuda::open(!args.no_graphs), gpu, || cpu(args))
}

/// CUDA if there is a device, else a GPU through wgpu, else the CPU. A GPU that can't be opened is
/// no reason to go without a model, but a CUDA device that is there and does not open is told.
fn first(
    cuda: impl FnOnce() -> Result<Backend, OpenError>,
    gpu: impl FnOnce() -> Option<Backend>,
    cpu: impl FnOnce() -> Result<Backend>,
) -> Result<Backend> {
    match cuda() {
        Ok(backend) => return Ok(backend),
        Err(error) if error.is_absent() => {}
        Err(error) => tell!("note: going on without CUDA: {error}"),
    }
    gpu().map_or_else(cpu, Ok)
}

/// The threads that `args` gives the processor's kernels, and the host's side of any device.
pub(crate) fn threads(args: &EngineArgs) -> usize {
    args.threads.unwrap_or_else(|| CpuOptions::default().threads)
}

/// Whether it is worth asking the drivers: they take a while to answer, and some print.
fn may_have_gpu() -> bool {
    let devices = ["/dev/dri", "/dev/nvidia0", "/dev/dxg"];
    !cfg!(target_os = "linux") || devices.iter().any(|device| Path::new(device).exists())
}

fn cpu(args: &EngineArgs) -> Result<Backend> {
    let options = CpuOptions {
        threads: threads(args),
        path: registry::kernels(&args.kernels)?,
        activations: registry::activations(&args.activations)?,
    };
    let device = format!("{} kernels on {} threads", args.kernels, options.threads);
    let kernels = Arc::new(CpuKernels::new(options));
    let activations = args.activations.clone();
    Ok(Backend { name: "cpu", device, activations, kernels, captured: None })
}

/// A device through wgpu. A software device is taken only when `--backend wgpu` asks for it: the
/// CPU's own kernels are far faster.
fn wgpu(choice: Choice) -> Result<Backend> {
    let kernels = WgpuKernels::open(&WgpuOptions { choice, ..WgpuOptions::default() })
        .map_err(|error| anyhow!("opening a device through wgpu: {error}; try --backend cpu"))?;
    if kernels.found().software {
        tell!("note: {} is the processor; --backend cpu is faster", kernels.found().name);
    }
    let (device, kernels) = (kernels.found().to_string(), Arc::new(kernels));
    Ok(Backend { name: "wgpu", device, activations: "float".into(), kernels, captured: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> Backend {
        let kernels = Arc::new(CpuKernels::new(CpuOptions { threads: 1, ..CpuOptions::default() }));
        let (device, activations) = (String::new(), String::new());
        Backend { name, device, activations, kernels, captured: None }
    }

    #[test]
    fn auto_takes_cuda_then_a_gpu_then_the_cpu() {
        let found = |cuda: Result<(), OpenError>, gpu: bool| {
            let cuda = || cuda.map(|()| named("cuda"));
            let gpu = || gpu.then(|| named("wgpu"));
            first(cuda, gpu, || Ok(named("cpu"))).expect("there is always a CPU").name
        };
        let old = || OpenError::TooOld { name: "an old one".into(), major: 7, minor: 5 };
        assert_eq!(found(Ok(()), true), "cuda");
        assert_eq!(found(Err(OpenError::NoDriver), true), "wgpu");
        assert_eq!(found(Err(OpenError::NoDevice), false), "cpu");
        assert_eq!((found(Err(old()), true), found(Err(old()), false)), ("wgpu", "cpu"));
    }
}
