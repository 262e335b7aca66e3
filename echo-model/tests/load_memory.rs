//! A model that is loaded lies in memory once: as the kernels want it, not as the file has it, too.
//!
//! The only test of its program, because it reads what the whole process has held.
#![cfg(target_os = "linux")]

#[path = "files/support.rs"]
mod support;

use echo_core::Limits;
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_model::{Checkpoint, LlamaTarget};
use std::sync::Arc;

/// Memory that the process holds (`VmRSS`) or held at most (`VmHWM`), in bytes.
fn memory(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim_start_matches(':').trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[test]
fn the_peak_of_a_load_is_one_and_a_half_times_the_file() {
    let Some(file) = support::default_model("load_memory") else { return };
    let len = std::fs::metadata(&file).expect("it is there").len();
    let before = memory("VmRSS").expect("Linux tells");
    let checkpoint = Checkpoint::open(&file).expect("the default model is whole");
    let kernels = Arc::new(CpuKernels::new(CpuOptions::default()));
    let limits = Limits::usual(1, 512);
    let target = LlamaTarget::new(kernels, &checkpoint, &limits).expect("a sound model");
    let held = memory("VmHWM").expect("Linux tells").saturating_sub(before);
    assert!(held as f64 <= 1.5 * len as f64, "{held} bytes were held for a file of {len}");
    // The packed weights are as large as the file, so a peak below says that nothing was measured.
    assert!(held as f64 >= 0.9 * len as f64, "{held} bytes were held for a file of {len}");
    drop((target, checkpoint));
}
