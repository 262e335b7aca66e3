//! What a step leaves for calibration, and what draft passes cost, on a real drafter.

use echo_budget::{TopN, TopNParams};
use echo_core::{Correction, DType, Frontier, Gate, Keep, Learner, Limits, Load, Sampling, Seen};
use echo_gate::Always;
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_model::LlamaTarget;
use echo_model::eagle::EagleDrafter;
use echo_model::testkit::{TinyModel, TinyShape, tiny_head};
use echo_model::weights::Weights;
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops, profile_draft};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

mod testkit;

use testkit::vocab::SmallVocab;

fn limits() -> Limits {
    Limits { logprobs_max: 0, ..Limits::usual(3, 128) }
}

fn pair() -> (LlamaTarget, EagleDrafter) {
    let kernels = Arc::new(CpuKernels::new(CpuOptions { threads: 1, ..CpuOptions::default() }));
    let model = TinyModel::new(TinyShape::usual(DType::Q8_0), 1);
    let mut target =
        LlamaTarget::new(Arc::clone(&kernels) as _, &model, &limits()).expect("it fits");
    let head = tiny_head(model.config(), 1);
    let drafter = EagleDrafter::new(kernels, &head, &mut target, &model, &limits());
    (target, drafter.expect("it fits"))
}

#[test]
fn rounds_agree_with_what_was_committed() {
    let (target, drafter) = pair();
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(drafter),
        gate: Box::new(Always),
        solver: Box::new(TopN::new(TopNParams { n: 16 })),
        vocab: Arc::new(SmallVocab),
    };
    let mut engine = Engine::new(parts, limits(), Options::default()).expect("legal limits");
    for seed in 0..3 {
        let sampling = Sampling { temperature: 0.4, seed, ..Sampling::default() };
        let stops = Stops { max_tokens: Some(40), ignore_eos: true, ..Stops::default() };
        let prompt = (0..9).map(|i| (i * 5 + seed as u32) % 32).collect();
        engine.submit(Request { sampling, stops, ..Request::new(prompt) }).expect("a request");
    }
    let (mut accepted, mut depths, mut out) = (Vec::new(), Vec::new(), Output::default());
    let (mut deepest, mut committed) = (0, 0);
    while !engine.is_idle() {
        engine.step(&mut out).expect("the CPU does not fail");
        let round = engine.last_round();
        round.accepted(&mut accepted);
        round.accepted_depths(&mut depths);
        assert_eq!((accepted.len(), depths.len()), (round.tree.len(), round.tree.roots()));
        let drafted = accepted.iter().filter(|&&a| a).count() - round.tree.roots();
        assert_eq!(drafted as u32, depths.iter().sum::<u32>());
        for (node, _) in accepted.iter().enumerate().filter(|(_, a)| **a) {
            assert!(round.plan.contains(node) && accepted[round.tree.parent[node] as usize]);
        }
        // A limit may cut what was accepted, nothing may add to it.
        let now = out.committed.len();
        assert!(now - committed <= drafted + round.tree.roots());
        committed = now;
        deepest = depths.iter().copied().chain([deepest]).max().unwrap_or(0);
    }
    assert!(deepest > 0, "nothing was accepted");
}

/// Counts what it is shown, and says so in the chance that policies hear of.
struct Counts;

impl Learner for Counts {
    fn learn(&mut self, seen: Seen<'_>) -> Correction {
        assert_eq!(seen.accepted_depth.len(), seen.tree.roots());
        assert_eq!(seen.plan.nodes(), seen.tree.len());
        assert!(seen.verify_us > 0.0 && seen.host_us > 0.0);
        assert!(seen.draft_us > 0.0 || seen.tree.levels() == 1);
        // The last pass may have brought nothing.
        let grown = seen.tree.levels() - 1;
        assert!((grown..=grown + 1).contains(&seen.tree.passes.len()));
        let chance = seen.load.correction.chance + 1.0;
        Correction { chance, ..Correction::NONE }
    }
}

/// Holds what it hears against the forwards there were.
struct Hears(Arc<AtomicUsize>);

impl Gate for Hears {
    fn looks_at(&self, depth: usize) -> bool {
        depth == 0
    }

    fn narrow(&self, _frontier: Frontier<'_>, load: Load, _keep: &mut Keep) {
        let forwards = self.0.load(Ordering::Relaxed);
        assert_eq!(load.correction.chance, 1.0 + forwards as f32);
    }
}

#[test]
fn a_learner_sees_every_forward_and_policies_hear_of_it() {
    let (target, drafter) = pair();
    let forwards = Arc::new(AtomicUsize::new(0));
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(drafter),
        gate: Box::new(Hears(Arc::clone(&forwards))),
        solver: Box::new(TopN::new(TopNParams { n: 4 })),
        vocab: Arc::new(SmallVocab),
    };
    let mut engine = Engine::new(parts, limits(), Options::default()).expect("legal limits");
    engine.set_learner(Box::new(Counts));
    let mut out = Output::default();
    // A step of an idle engine runs no forward.
    engine.step(&mut out).expect("nothing to do");
    assert_eq!(engine.learnt(), Correction::NONE);
    let stops = Stops { max_tokens: Some(20), ignore_eos: true, ..Stops::default() };
    engine.submit(Request { stops, ..Request::new(vec![3, 4, 5]) }).expect("a request");
    while !engine.is_idle() {
        engine.step(&mut out).expect("the CPU does not fail");
        forwards.store(engine.totals().steps, Ordering::Relaxed);
    }
    assert!(engine.totals().steps > 3);
}

#[test]
fn a_drafter_is_timed_level_by_level_and_left_as_it_was() {
    let (mut target, mut drafter) = pair();
    for _ in 0..2 {
        let times = profile_draft(
            &mut target,
            &mut drafter,
            &limits(),
            &[1, 3, 64],
            2,
            Duration::from_secs(2),
        );
        let times = times.expect("the CPU does not fail");
        let rows: Vec<usize> = times.iter().map(|profile| profile.rows).collect();
        assert_eq!(rows, [1, 4, 1, 4, 3, 12, 3, 12]);
        assert!(times.iter().all(|profile| !profile.time.is_zero()));
    }
}
