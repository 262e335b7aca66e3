//! `step` allocates nothing after warm-up: a hundred steps of a real forward, a real drafter and
//! real policies under a counting allocator.

mod testkit;

use echo_budget::{
    Between, Corrector, CorrectorParams, CostTable, Goodput, GoodputParams, Hinge, Survival, Worth,
    WorthParams,
};
use echo_core::{DType, Drafter, Gate, Limits, Sampling};
use echo_gate::{Sparse, SparseParams, Threshold};
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_model::eagle::EagleDrafter;
use echo_model::hybrid::HybridDrafter;
use echo_model::testkit::{TinyModel, TinyShape, tiny_head};
use echo_model::weights::Weights;
use echo_model::{LlamaTarget, NgramDrafter, NgramOptions};
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::vocab::SmallVocab;

/// Counts what is taken from the system, on all threads.
struct Counting;

static TAKEN: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator; counting touches no memory
// that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `ptr` came from the system.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps `realloc`'s contract, and `ptr` came from the system.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// An engine that drafts from the text, with a learned head too if `has_head`; its gate looks where
/// the calibration says, or where drafting pays; a learner follows.
fn engine(has_head: bool) -> Engine {
    let limits = Limits {
        seqs_max: 4,
        rows_max: 64,
        depth_max: 4,
        width_max: 3,
        beam_max: 3,
        tree_max: 12,
        context_max: 512,
        kv_slots: 1600,
        logprobs_max: 2,
    };
    let kernels = Arc::new(CpuKernels::new(CpuOptions { threads: 2, ..CpuOptions::default() }));
    let model = TinyModel::new(TinyShape::usual(DType::Q4_1), 1);
    let mut target =
        LlamaTarget::new(Arc::clone(&kernels) as _, &model, &limits).expect("a tiny model loads");
    let hinge = Hinge { ar_us: 100.0, gamma: 0.01, rows_knee: 16 };
    let cost = CostTable::hinge(hinge).expect("a knee of 16 rows");
    assert_eq!(cost.between(), Between::Linear);
    let thresholds = vec![Threshold { depth: 2, tau: 0.05 }];
    let ngram = NgramOptions { n_min: 1, prob_min: 0.0, ..NgramOptions::usual() };
    let ngram = Box::new(NgramDrafter::new(ngram, &limits));
    let sparse = Sparse::new(SparseParams { thresholds }).expect("in range");
    let (survival, ahead) = (Survival::identity(), vec![vec![0.9]]);
    let worth = WorthParams { cost: cost.clone(), survival: survival.clone(), ahead };
    let worth = Worth::new(worth).expect("shares");
    let (drafter, gate): (Box<dyn Drafter>, Box<dyn Gate>) = if has_head {
        let head = tiny_head(model.config(), 1);
        let eagle = EagleDrafter::new(kernels, &head, &mut target, &model, &limits);
        let eagle = Box::new(eagle.expect("a tiny head fits"));
        (Box::new(HybridDrafter::new(eagle, ngram, &limits)), Box::new(worth))
    } else {
        (ngram, Box::new(sparse))
    };
    let parts = Parts {
        target: Box::new(target),
        drafter,
        gate,
        solver: Box::new(Goodput::new(GoodputParams {
            cost: cost.clone(),
            survival: survival.clone(),
        })),
        vocab: Arc::new(SmallVocab),
    };
    let mut engine = Engine::new(parts, limits, Options::default()).expect("the limits are legal");
    engine.set_learner(Box::new(Corrector::new(CorrectorParams { cost, survival, ahead: 0.9 })));
    engine
}

/// The locks' own table of waiting threads grows when threads first wait, which on a busy machine
/// may be as late as in the counted steps.
fn let_threads_wait() {
    let lock = parking_lot::Mutex::new(());
    let held = lock.lock();
    std::thread::scope(|scope| {
        (0..16).for_each(|_| drop(scope.spawn(|| drop(lock.lock()))));
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(held);
    });
}

#[test]
fn a_hundred_steps_take_nothing() {
    let_threads_wait();
    // One after the other: the counter is everybody's.
    for has_head in [false, true] {
        take_nothing(engine(has_head));
    }
}

fn take_nothing(mut engine: Engine) {
    for seed in 0..4 {
        let sampling = Sampling {
            temperature: if seed % 2 == 0 { 0.0 } else { 0.8 },
            top_k: 20,
            top_p: 0.95,
            repetition_penalty: 1.1,
            frequency_penalty: 0.1,
            logprobs: Some(2),
            seed,
            ..Sampling::default()
        };
        let stops = Stops {
            ignore_eos: true,
            strings: vec!["never to be seen".into()],
            min_tokens: 3,
            ..Stops::default()
        };
        let prompt = (0..40).map(|i| (i * 7 + seed as u32) % 11 + 2).collect();
        engine.submit(Request { sampling, stops, ..Request::new(prompt) }).expect("a good request");
    }
    let mut out = Output::with_capacity(engine.limits());
    let mut step = |engine: &mut Engine| {
        engine.step(&mut out).expect("the CPU does not fail");
        assert!(out.finished.is_empty(), "{:?}", out.finished);
        out.clear();
    };
    for _ in 0..20 {
        step(&mut engine);
    }
    let drafted = engine.totals().drafted;
    let before = TAKEN.load(Ordering::Relaxed);
    for _ in 0..100 {
        step(&mut engine);
    }
    let taken = TAKEN.load(Ordering::Relaxed) - before;
    assert_eq!(taken, 0, "allocations in 100 steps");
    assert!(engine.totals().drafted > drafted, "the drafter was at work");
    // The count does count.
    drop(std::hint::black_box(vec![1u8; 10]));
    assert!(TAKEN.load(Ordering::Relaxed) > before);
}
