//! The promise of the engine on CUDA's kernels: speculative against plain, tokens and
//! log-probability bits, in the software machine that the kernels' own tests use, and on a device
//! where there is one.

#[path = "../../echo-kernels-cuda/tests/emulated/driver.rs"]
#[allow(dead_code)]
mod driver;
#[path = "../../echo-kernels-cuda/tests/emulated/library.rs"]
#[allow(dead_code)]
mod library;
mod testkit;

use driver::Emulated;
use echo_core::{DType, Kernels, Limits};
use echo_gate::Always;
use echo_kernels_cuda::{Cuda, CudaKernels, CudaOptions};
use echo_model::LlamaTarget;
use echo_model::testkit::{TinyModel, TinyShape};
use echo_runtime::{Engine, Options, Output, Parts, profile, profile_draft};
use library::Bug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use testkit::episode::Dice;
use testkit::solvers::Greedy;
use testkit::tiny::{self, Who};
use testkit::vocab::SmallVocab;

const DTYPES: [DType; 4] = [DType::BF16, DType::F16, DType::Q8_0, DType::Q4_1];

/// A device. Without one the test `name` is skipped, which is printed, unless `ECHO_REQUIRE` names
/// cuda; one that is there and does not open always fails.
fn open(name: &str) -> Option<Arc<dyn Kernels>> {
    // Images lie beside the program where it was carried to a machine without a compiler.
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("cubins")));
    match Cuda::open(&CudaOptions { ordinal: 0, cache: beside }, &mut |_| ()) {
        Ok(cuda) => Some(Arc::new(CudaKernels::new(Box::new(cuda)))),
        Err(error) => {
            let required = std::env::var("ECHO_REQUIRE").is_ok_and(|names| names.contains("cuda"));
            assert!(error.is_absent() && !required, "{name}: {error}");
            eprintln!("skipped: {name}: {error}");
            None
        }
    }
}

#[test]
fn speculation_changes_no_bit_on_a_device() {
    let name = "speculation_changes_no_bit_on_a_device";
    if open(name).is_some() {
        let again = |_, _| open(name).expect("it was there before");
        tiny::speculation_changes_no_bit(&DTYPES, 6, again);
    }
}

#[test]
fn no_policy_changes_a_bit_on_a_device() {
    if let Some(kernels) = open("no_policy_changes_a_bit_on_a_device") {
        tiny::no_policy_changes_a_bit(&kernels);
    }
}

fn in_software(machine: Emulated) -> Arc<dyn Kernels> {
    Arc::new(CudaKernels::new(Box::new(machine)))
}

/// Threads, warps and blocks run in an order of their own for each model.
#[test]
fn speculation_changes_no_bit_in_software() {
    tiny::speculation_changes_no_bit(&DTYPES, 2, |nth, _| in_software(Emulated::new(nth as u64)));
}

#[test]
fn a_sum_that_knows_the_number_of_rows_is_seen_in_software() {
    let (from, to) = ("squares = 0.0f", "squares = 1e-6f * gridDim.x");
    let bug = Bug { stem: "rms_norm", from, to };
    let model = TinyModel::new(TinyShape::usual(DType::Q8_0), 1);
    let requests = &tiny::requests(&mut Dice::new(1), 32)[..1];
    let said = |who| {
        let kernels = in_software(Emulated::with_bug(0, bug));
        tiny::answers(&kernels, &model, requests, who, Options::default()).0
    };
    assert_ne!(said(Who::Nobody), said(Who::Ngram));
}

/// A forward and a draft at the start meet every list of operations that steps are made of: no
/// step captures anything, or is refused for want of a graph.
#[test]
fn steps_replay_what_the_start_has_captured() {
    let model = TinyModel::new(TinyShape::usual(DType::Q8_0), 3);
    for (who, depth_max) in [(Who::Nobody, 4), (Who::Hybrid, 4), (Who::Eagle, 1)] {
        let limits = Limits { depth_max, ..tiny::limits() };
        let machine = Emulated::new(0);
        let tally = machine.tally();
        let own = Arc::new(CudaKernels::new(Box::new(machine)));
        let kernels: Arc<dyn Kernels> = Arc::clone(&own) as _;
        let mut target =
            LlamaTarget::new(Arc::clone(&kernels), &model, &limits).expect("a tiny model loads");
        let mut drafter = who.drafter(&kernels, &model, &mut target, &limits);
        profile(&mut target, &limits, &[1], &[1], 1).expect("a forward");
        profile_draft(&mut target, &mut *drafter, &limits, &[1], 1, Duration::ZERO)
            .expect("drafts");
        own.seal();
        let captured = tally.captured.load(Ordering::Relaxed);
        let (gate, solver) = (Box::new(Always), Box::new(Greedy));
        let parts =
            Parts { target: Box::new(target), drafter, gate, solver, vocab: Arc::new(SmallVocab) };
        let options = Options { prompt_rows_max: 7, ..Options::default() };
        let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
        for request in tiny::requests(&mut Dice::new(3), 32) {
            engine.submit(request).expect("a good request");
        }
        while !engine.is_idle() {
            engine.step(&mut Output::default()).expect("every graph is there");
        }
        assert_eq!(tally.captured.load(Ordering::Relaxed), captured, "{who:?}");
        let totals = engine.totals();
        assert_eq!((totals.policy_faults, totals.verified > 0), (0, who != Who::Nobody), "{who:?}");
    }
}
