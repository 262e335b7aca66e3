//! `echo-llm doctor`: what this machine offers.

use crate::cuda;
use crate::model;
use anyhow::Result;
use echo_kernels_cpu::{CpuOptions, Isa};
use std::io::Write;

pub(crate) fn run() -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "echo-llm      {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "machine       {}", machine())?;
    writeln!(out, "threads       {} may be used", CpuOptions::default().threads)?;
    let names: Vec<String> = Isa::available().iter().map(ToString::to_string).collect();
    writeln!(out, "cpu kernels   {} (used: {})", names.join(", "), Isa::detect())?;
    writeln!(out, "cuda          {}", cuda::describe())?;
    let found = echo_kernels_wgpu::adapters();
    if found.is_empty() {
        writeln!(out, "wgpu          no device; is a Vulkan driver installed?")?;
    }
    for found in found {
        writeln!(out, "wgpu          {found}")?;
    }
    let path = model::default_path()?;
    let state = match std::fs::metadata(&path) {
        Ok(data) => format!("{} ({:.0} MB)", path.display(), data.len() as f64 / 1e6),
        Err(_) => format!("not there; `cargo xtask fetch` puts it at {}", path.display()),
    };
    writeln!(out, "default model {state}")?;
    Ok(())
}

/// Processor, cores and memory, as far as the system tells.
pub(crate) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown CPU".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib = memory.and_then(|m| m.split(' ').next()?.parse::<f64>().ok());
    let memory = kib.map_or(String::new(), |kib| format!(", {:.0} GiB", kib / 1_048_576.0));
    format!("{cpu}, {} {}, {cores} cores{memory}", std::env::consts::OS, std::env::consts::ARCH)
}
