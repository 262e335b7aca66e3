//! The promise of the engine on real arithmetic: tiny random Llama models on the CPU kernels,
//! speculative against plain, tokens and log-probability bits, on every instruction set of this
//! machine.

mod testkit;

use echo_core::{DType, Kernels};
use echo_kernels_cpu::{CpuKernels, CpuOptions, Isa, Path};
use echo_model::testkit::{TinyModel, TinyShape};
use echo_runtime::Options;
use std::sync::Arc;
use testkit::episode::Dice;
use testkit::tiny::{Who, answers, requests};

fn cpu(path: Path, threads: usize) -> Arc<dyn Kernels> {
    Arc::new(CpuKernels::new(CpuOptions { threads, path, ..CpuOptions::default() }))
}

#[test]
fn speculation_changes_no_bit_on_any_path() {
    let mut paths = vec![Path::Reference];
    paths.extend(Isa::available().iter().map(|&isa| Path::With(isa)));
    let dtypes = [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_1];
    let drafters = [Who::Ngram, Who::Eagle, Who::Hybrid];
    let mut accepted_by = [0; 3];
    for (seed, dtype) in dtypes.into_iter().enumerate() {
        let shape = TinyShape::usual(dtype);
        let model = TinyModel::new(shape, seed as u64);
        for &path in &paths {
            let mut dice = Dice::new(seed as u64);
            let requests = requests(&mut dice, 32);
            let one = Options { prompt_rows_max: 7, ..Options::default() };
            let plain = answers(&cpu(path, 1), &model, &requests, Who::Nobody, Options::default());
            assert_eq!(plain.1, 0);
            for (who, accepted_in_all) in drafters.iter().zip(&mut accepted_by) {
                let (drafted, accepted) = answers(&cpu(path, 2), &model, &requests, *who, one);
                assert_eq!(plain.0, drafted, "{dtype}, {path:?}, {who:?}");
                *accepted_in_all += accepted;
            }
        }
    }
    let enough = accepted_by.iter().all(|&accepted| accepted > 100);
    assert!(enough, "{drafters:?} had {accepted_by:?} tokens accepted");
}
