//! Which device computes: the processor, or a GPU through wgpu or CUDA.

use crate::engine_args::EngineArgs;
use crate::registry;
use anyhow::{Result, bail};
use echo_core::Kernels;
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use std::sync::Arc;

const BACKENDS: [&str; 4] = ["auto", "cpu", "wgpu", "cuda"];

/// An open device.
pub(crate) struct Backend {
    /// `cpu`, `wgpu` or `cuda`.
    pub(crate) name: &'static str,
    /// The device and how it is used, for reports.
    pub(crate) device: String,
    pub(crate) kernels: Arc<dyn Kernels>,
}

impl Backend {
    /// Opens the device that `--backend` means.
    pub(crate) fn open(args: &EngineArgs) -> Result<Backend> {
        match args.backend.as_str() {
            "auto" | "cpu" => cpu(args),
            "wgpu" => bail!("the wgpu backend is not built yet; try --backend cpu"),
            "cuda" => bail!("the CUDA backend is not built yet; try --backend cpu"),
            name => Err(registry::unknown("backend", name, &BACKENDS)),
        }
    }
}

/// The threads that `args` gives the processor's kernels, and the host's side of any device.
pub(crate) fn threads(args: &EngineArgs) -> usize {
    args.threads.unwrap_or_else(|| CpuOptions::default().threads)
}

fn cpu(args: &EngineArgs) -> Result<Backend> {
    let options = CpuOptions {
        threads: threads(args),
        path: registry::kernels(&args.kernels)?,
        activations: registry::activations(&args.activations)?,
    };
    let device = format!("{} kernels on {} threads", args.kernels, options.threads);
    Ok(Backend { name: "cpu", device, kernels: Arc::new(CpuKernels::new(options)) })
}
