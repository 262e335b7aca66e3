//! The promise of the engine on real arithmetic: tiny random Llama models on the CPU kernels,
//! speculative against plain, tokens and log-probability bits, on every instruction set of this
//! machine.

mod testkit;

use echo_core::{DType, Kernels};
use echo_kernels_cpu::{CpuKernels, CpuOptions, Isa, Path};
use std::sync::Arc;
use testkit::tiny::{self, Who};

fn cpu(path: Path, threads: usize) -> Arc<dyn Kernels> {
    Arc::new(CpuKernels::new(CpuOptions { threads, path, ..CpuOptions::default() }))
}

#[test]
fn speculation_changes_no_bit_on_any_path() {
    let mut paths = vec![Path::Reference];
    paths.extend(Isa::available().iter().map(|&isa| Path::With(isa)));
    let dtypes = [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_1];
    for path in paths {
        // Plainly on one thread, drafted for on two.
        let open = |_, who| cpu(path, if who == Who::Nobody { 1 } else { 2 });
        tiny::speculation_changes_no_bit(&dtypes, 6, open);
    }
}
