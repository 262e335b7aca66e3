//! What goes wrong touches the request concerned and nobody else, and leaves no slot behind.

mod testkit;

use echo_core::{Budget, DeviceError, Gate, Plan, Sampling, Solver, SuperTreeView, Token};
use echo_gate::Always;
use echo_model::sim::{FailAt, SimDraft, SimDrafter, SimOptions, SimTarget};
use echo_runtime::{
    Engine, FinishReason, IsolatedGate, Options, Output, Parts, RejectReason, Request, Stops,
};
use std::sync::Arc;
use std::time::Duration;
use testkit::oracle;
use testkit::sabotage::{BadGate, BadSolver, Vice, hush};
use testkit::small_limits;
use testkit::solvers::Greedy;
use testkit::vocab::SmallVocab;

/// An engine on a simulated pair, and a handle of its target and drafter.
fn engine(seed: u64, solver: Box<dyn Solver>) -> (Engine, SimTarget, SimDrafter) {
    let limits = small_limits();
    let target = SimTarget::new(SimOptions {
        kv_slots: limits.kv_slots,
        context_max: limits.context_max,
        ..SimOptions::small(seed)
    });
    let draft = SimDraft { law: target.law(), agreement: vec![0.9; 4], silence: 0.0, unruly: 0.0 };
    let drafter = SimDrafter::new(draft);
    let parts = Parts {
        target: Box::new(target.clone()),
        drafter: Box::new(drafter.clone()),
        gate: Box::new(Always),
        solver,
        vocab: Arc::new(SmallVocab),
    };
    let engine = Engine::new(parts, limits, Options::default()).expect("small limits are legal");
    (engine, target, drafter)
}

fn request(first: Token) -> Request {
    let stops = Stops { max_tokens: Some(24), ignore_eos: true, ..Stops::default() };
    let sampling = Sampling { temperature: 0.7, seed: u64::from(first), ..Sampling::default() };
    let prompt = (0..20).map(|i| (first + i) % 32).collect();
    Request { stops, sampling, ..Request::new(prompt) }
}

/// Steps until idle; returns the tokens and end of each of `n` requests, and the failed steps.
fn run(engine: &mut Engine, n: usize) -> (Vec<(Vec<Token>, FinishReason)>, usize) {
    let mut out = Output::default();
    let (mut failed, before) = (0, engine.totals().preemptions);
    while !engine.is_idle() {
        failed += usize::from(engine.step(&mut out).is_err());
        engine.audit();
    }
    // Those of a step that fails count, too.
    let preemptions: usize = out.finished.iter().map(|f| f.usage.preemptions).sum();
    assert_eq!(engine.totals().preemptions - before, preemptions);
    let answers = (0..n).map(|r| {
        let id = echo_core::SeqId(r as u64);
        let tokens = out.committed.iter().filter(|c| c.id == id).map(|c| c.token).collect();
        let end = out.finished.iter().find(|f| f.id == id).expect("every request ends");
        (tokens, end.reason.clone())
    });
    (answers.collect(), failed)
}

#[test]
fn a_failed_step_commits_nothing_and_can_be_tried_again() {
    let lost = || DeviceError::Failed("injected".into());
    for seed in 0..50 {
        let (mut engine, target, drafter) = engine(seed, Box::new(Greedy));
        for r in 0..4 {
            engine.submit(request(r)).expect("a good request");
        }
        target.fail(seed % 5, FailAt::Start, lost());
        target.fail(5 + seed % 7, FailAt::End, lost());
        drafter.fail(2 + seed % 11, lost());
        let (answers, failed) = run(&mut engine, 4);
        assert_eq!(failed, 2, "seed {seed}: both failures of the target were met");
        let faults = engine.totals().policy_faults;
        assert_eq!(faults, 1, "seed {seed}: the drafter's was its own");
        for (r, (tokens, reason)) in answers.into_iter().enumerate() {
            let want = oracle::decode(target.law(), &request(r as u32), 96, &[]);
            assert_eq!((tokens, reason), (want.tokens, want.reason), "seed {seed}, request {r}");
        }
        assert!(target.faults().is_empty(), "{:?}", target.faults());
    }
}

#[test]
fn a_row_without_numbers_ends_its_request_alone() {
    for seed in 0..50 {
        let (mut engine, target, _) = engine(seed, Box::new(Greedy));
        for r in 0..3 {
            engine.submit(request(r)).expect("a good request");
        }
        // Requests are seated in order, so place 1 is request 1; its prompt ends at position 19.
        let spoilt = 19 + seed as usize % 20;
        target.spoil(1, spoilt as u32);
        let (answers, _) = run(&mut engine, 3);
        for (r, (tokens, reason)) in answers.into_iter().enumerate() {
            let spoilt = if r == 1 { vec![spoilt] } else { Vec::new() };
            let want = oracle::decode(target.law(), &request(r as u32), 96, &spoilt);
            assert_eq!((tokens, reason), (want.tokens, want.reason), "seed {seed}, request {r}");
        }
    }
}

/// Whoever drives the engine hears from it between any two forwards, also while it looks for the
/// request that fails.
#[test]
fn no_advance_runs_more_than_one_forward() {
    let (mut engine, target, _) = engine(4, Box::new(Greedy));
    for r in 0..4 {
        engine.submit(request(r)).expect("a good request");
    }
    (0..60).filter(|forward| forward % 7 < 5).for_each(|forward| {
        target.fail(forward, FailAt::Start, DeviceError::Failed("injected".into()));
    });
    let mut out = Output::default();
    while !engine.is_idle() {
        let before = target.work().0;
        engine.advance(&mut out).expect("the device is there");
        assert!(target.work().0 <= before + 1);
        engine.audit();
    }
    assert_eq!(out.finished.len(), 4);
}

/// A device may have left numbers that are none in what was read, too.
#[test]
fn what_a_faulty_request_has_read_is_lent_to_nobody() {
    let (mut engine, target, _) = engine(3, Box::new(Greedy));
    engine.submit(request(1)).expect("a good request");
    target.spoil(0, 19);
    let (answers, _) = run(&mut engine, 1);
    assert_eq!(answers[0].1, FinishReason::Faulty);
    target.heal();
    for cached in [0, 16] {
        engine.submit(request(1)).expect("a good request");
        let mut out = Output::default();
        while !engine.is_idle() {
            engine.step(&mut out).expect("nothing fails here");
            engine.audit();
        }
        let usage = out.finished[0].usage;
        assert_eq!((&out.finished[0].reason, usage.cached_tokens), (&FinishReason::Length, cached));
    }
}

/// Keeps one node more than the budget allows, or an orphan, or drops a root.
struct Unruly(usize);

impl Solver for Unruly {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        match self.0 {
            0 => (0..tree.len()).take(budget.rows + 1).for_each(|n| plan.keep(n)),
            1 => plan.keep(tree.len() - 1),
            _ => plan.remove(0),
        }
    }
}

#[test]
fn a_solver_that_breaks_the_rules_costs_time_only() {
    for kind in 0..3 {
        let (mut engine, target, _) = engine(9, Box::new(Unruly(kind)));
        for r in 0..4 {
            engine.submit(request(r)).expect("a good request");
        }
        let (answers, failed) = run(&mut engine, 4);
        assert!(engine.totals().policy_faults > 0, "kind {kind} was caught");
        assert_eq!(failed, 0);
        for (r, (tokens, reason)) in answers.into_iter().enumerate() {
            let want = oracle::decode(target.law(), &request(r as u32), 96, &[]);
            assert_eq!((tokens, reason), (want.tokens, want.reason), "kind {kind}, request {r}");
        }
    }
}

#[test]
fn an_abort_ends_everybody_and_frees_everything() {
    let (mut engine, ..) = engine(1, Box::new(Greedy));
    for r in 0..6 {
        engine.submit(request(r)).expect("a good request");
    }
    let mut out = Output::default();
    for _ in 0..3 {
        engine.step(&mut out).expect("nothing fails here");
    }
    engine.abort(&DeviceError::Lost("gone".into()), &mut out);
    assert_eq!(out.finished.len(), 6);
    assert!(engine.is_idle());
    engine.audit();
}

#[test]
fn bad_requests_are_refused_by_name_and_disturb_nobody() {
    let (mut engine, ..) = engine(1, Box::new(Greedy));
    let mut refuse = |request: Request| engine.submit(request).expect_err("refused").to_string();
    let base = || request(1);
    let stops = |stops: Stops| Request { stops, ..base() };
    let sampling = |sampling: Sampling| Request { sampling, ..base() };
    let cases = [
        (Request { prompt: vec![], ..base() }, "the prompt is empty"),
        (Request { prompt: vec![1; 96], ..base() }, "the prompt has 96 tokens and the context 96"),
        (Request { prompt: vec![32], ..base() }, "token 32 is not in the vocabulary of 32"),
        (stops(Stops { max_tokens: Some(0), ..Stops::default() }), "max_tokens is 0"),
        (
            stops(Stops { max_tokens: Some(2), min_tokens: 3, ..Stops::default() }),
            "min_tokens is 3, above max_tokens",
        ),
        (
            stops(Stops { strings: vec![String::new()], ..Stops::default() }),
            "stop strings must have",
        ),
        (stops(Stops { strings: vec!["x".into(); 17], ..Stops::default() }), "stop strings are 17"),
        (stops(Stops { tokens: vec![99], ..Stops::default() }), "stop tokens name token 99"),
        (stops(Stops { tokens: vec![1; 65], ..Stops::default() }), "stop tokens are 65"),
        (sampling(Sampling { temperature: -1.0, ..Sampling::default() }), "temperature is -1"),
        (sampling(Sampling { logprobs: Some(9), ..Sampling::default() }), "logprobs is 9"),
    ];
    for (request, message) in cases {
        let refused = refuse(request);
        assert!(refused.starts_with(message), "{refused:?} should say {message:?}");
    }
    assert!(engine.is_idle());
}

#[test]
fn a_solver_that_is_off_costs_no_drafts() {
    hush();
    let (mut engine, ..) = engine(1, Box::new(BadSolver(Vice::Panic)));
    engine.submit(request(1)).expect("a good request");
    run(&mut engine, 1);
    assert!(engine.has_part_off());
    let drafted = engine.totals().drafted;
    assert!(drafted > 0);
    engine.submit(request(2)).expect("a good request");
    run(&mut engine, 0);
    assert_eq!(engine.totals().drafted, drafted);
}

#[test]
fn a_panic_of_a_gate_is_one_fault_wherever_it_runs() {
    hush();
    let far = IsolatedGate::new(Box::new(BadGate(Vice::Panic)), Duration::from_secs(60));
    for gate in [Box::new(BadGate(Vice::Panic)) as Box<dyn Gate>, Box::new(far)] {
        let (mut engine, ..) = engine(1, Box::new(Greedy));
        engine.set_policies(gate, Box::new(Greedy));
        engine.submit(request(1)).expect("a good request");
        let mut out = Output::default();
        while engine.last_step().policy_faults == 0 {
            engine.step(&mut out).expect("no device fails");
        }
        assert_eq!(engine.totals().policy_faults, 1);
        run(&mut engine, 0);
        assert!(engine.has_part_off());
    }
}

#[test]
fn those_who_lose_their_places_in_a_step_that_fails_are_counted() {
    let crowded = || {
        let (mut engine, target, _) = engine(1, Box::new(Greedy));
        for r in 0..4 {
            let stops = Stops { max_tokens: Some(60), ignore_eos: true, ..Stops::default() };
            engine.submit(Request { stops, ..request(r) }).expect("a good request");
        }
        (engine, target)
    };
    let (mut engine, _) = crowded();
    let mut forward = 0;
    while engine.last_step().preemptions == 0 {
        assert!(!engine.is_idle(), "nobody lost a place");
        engine.step(&mut Output::default()).expect("nothing fails here");
        forward += 1;
    }
    let (mut engine, target) = crowded();
    target.fail(forward - 1, FailAt::Start, DeviceError::Failed("injected".into()));
    let (_, failed) = run(&mut engine, 4);
    assert!(failed == 1 && engine.totals().preemptions > 0);
}

#[test]
fn a_full_queue_refuses_and_goes_on() {
    let (mut engine, ..) = engine(1, Box::new(Greedy));
    let queue_max = Options::default().queue_max;
    for _ in 0..queue_max + small_limits().seqs_max {
        engine.submit(request(1)).expect("there is room");
    }
    let refused = engine.submit(request(1));
    assert_eq!(refused, Err(RejectReason::QueueFull { waiting: queue_max }));
    engine.step(&mut Output::default()).expect("nothing fails here");
    engine.cancel(echo_core::SeqId(7), &mut Output::default());
    assert!(engine.submit(request(1)).is_ok(), "one that left made room");
}
