//! Who is seated first, and whether the counts agree with each other.

mod testkit;

use echo_core::{Frontier, Gate, Keep, Load, Sampling, SeqId, Token};
use echo_gate::{Fixed, FixedParams};
use echo_model::sim::{SimDraft, SimDrafter, SimOptions, SimTarget};
use echo_runtime::{Engine, Options, Output, Parts, Request, StepStats, Stops, Usage};
use std::sync::Arc;
use testkit::small_limits;
use testkit::solvers::Greedy;
use testkit::vocab::SmallVocab;

fn engine(seqs_max: usize) -> Engine {
    gated(seqs_max, Box::new(Fixed::new(FixedParams { tau: 0.3 }).expect("tau is a probability")))
}

fn gated(seqs_max: usize, gate: Box<dyn Gate>) -> Engine {
    let limits = echo_core::Limits { seqs_max, ..small_limits() };
    let target = SimTarget::new(SimOptions {
        kv_slots: limits.kv_slots,
        context_max: limits.context_max,
        ..SimOptions::small(5)
    });
    let draft = SimDraft { law: target.law(), agreement: vec![0.8; 4], silence: 0.0, unruly: 0.0 };
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(SimDrafter::new(draft)),
        gate,
        solver: Box::new(Greedy),
        vocab: Arc::new(SmallVocab),
    };
    Engine::new(parts, limits, Options::default()).expect("small limits are legal")
}

fn request(first: Token, party: u16, priority: i32) -> Request {
    let stops = Stops { max_tokens: Some(12), ignore_eos: true, ..Stops::default() };
    let sampling = Sampling { temperature: 0.9, seed: u64::from(first), ..Sampling::default() };
    Request { stops, sampling, party, priority, ..Request::new(vec![first % 32, 3, 4]) }
}

/// Runs `requests`, handed in together, and returns the order in which they began.
fn order(requests: &[Request]) -> Vec<usize> {
    let mut engine = engine(2);
    let ids: Vec<SeqId> =
        requests.iter().map(|r| engine.submit(r.clone()).expect("there is room")).collect();
    let (mut out, mut began) = (Output::default(), Vec::new());
    while !engine.is_idle() {
        engine.step(&mut out).expect("the device is sound");
        for committed in &out.committed {
            let at = ids.iter().position(|&id| id == committed.id).expect("a known id");
            if !began.contains(&at) {
                began.push(at);
            }
        }
        out.clear();
    }
    began
}

/// Slots are taken when rows run, steps after a place was: what is promised counts.
#[test]
fn nobody_is_seated_on_slots_that_others_were_promised() {
    let mut engine = engine(4);
    for r in 0..4 {
        let prompt = (0..70).map(|i| (r * 7 + i * (r + 1)) % 32).collect();
        let stops = Stops { max_tokens: Some(4), ignore_eos: true, ..Stops::default() };
        engine.submit(Request { stops, ..Request::new(prompt) }).expect("there is room");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("the device is sound");
        assert!(engine.n_live() <= 2, "160 slots hold two of them");
    }
    assert_eq!(out.finished.iter().map(|f| f.usage.preemptions).collect::<Vec<_>>(), [0; 4]);
}

#[test]
fn the_urgent_go_first_and_equals_by_age() {
    let requests: Vec<_> =
        [0, 0, 5, 0, -1].iter().zip(0..).map(|(&p, first)| request(first, 0, p)).collect();
    let order = order(&requests);
    assert_eq!(order[2..], [1, 3, 2], "{order:?}");
    assert!(order[..2].contains(&4) && order[..2].contains(&0), "{order:?}");
}

#[test]
fn a_party_that_floods_waits_for_itself() {
    let mut requests: Vec<_> = (0..8).map(|first| request(first, 7, 0)).collect();
    requests.extend((8..10).map(|first| request(first, 3, 0)));
    let order = order(&requests);
    // One of two places goes to the other party, although all of the first came before.
    assert!(order[..2].contains(&8), "{order:?}");
    let second = order.iter().position(|&at| at == 9).expect("it ran");
    assert!(second <= 3, "{order:?}");
}

/// Runs one request to its end.
fn totals(mut engine: Engine, request: Request) -> StepStats {
    let mut out = Output::default();
    engine.submit(request).expect("there is room");
    while !engine.is_idle() {
        engine.step(&mut out).expect("the device is sound");
        out.clear();
    }
    *engine.totals()
}

#[test]
fn nobody_is_drafted_for_beyond_the_rows_it_may_have() {
    let levels = |draft_nodes_max| {
        let request = Request { draft_nodes_max, ..request(1, 0, 0) };
        let drafted = totals(engine(1), request).by_depth.drafted;
        drafted.iter().take_while(|&&n| n > 0).count()
    };
    assert!(levels(None) > 2, "the draft goes deeper by itself");
    assert_eq!([0, 1, 2].map(|most| levels(Some(most))), [0, 1, 2]);
}

/// Spends no pass.
struct Forgoing;

impl Gate for Forgoing {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        (0..frontier.nodes().len()).for_each(|i| keep.forgo_pass(i));
    }
}

#[test]
fn a_gate_that_forgoes_a_pass_has_fired() {
    let totals = totals(gated(1, Box::new(Forgoing)), request(1, 0, 0));
    assert!(totals.gate_looks[0] > 1);
    // In the last step nothing is open, since one token is wanted.
    assert_eq!(totals.gate_fires[0], totals.gate_looks[0] - 1);
}

#[test]
fn counts_by_depth_add_up() {
    let mut engine = engine(2);
    for first in 0..6 {
        engine.submit(request(first, 0, 0)).expect("there is room");
    }
    let (mut out, mut usages): (Output, Vec<Usage>) = Default::default();
    let (mut looks, mut granted) = (0, 0);
    while !engine.is_idle() {
        engine.step(&mut out).expect("the device is sound");
        let last = engine.last_step();
        assert!(last.used() <= last.granted, "{last:?}");
        granted += last.granted;
        looks += last.gate_looks[0];
        usages.extend(out.finished.iter().map(|finished| finished.usage));
        out.clear();
    }
    let StepStats { drafted, verified, accepted, by_depth, gate_looks, gate_fires, .. } =
        *engine.totals();
    assert!(accepted > 20 && verified > accepted, "{by_depth:?}");
    let sum = |counts: [u64; 16]| counts.iter().sum::<u64>() as usize;
    let all = (sum(by_depth.drafted), sum(by_depth.verified), sum(by_depth.accepted));
    assert_eq!(all, (drafted, verified, accepted));
    assert!(by_depth.accepted.is_sorted_by(|a, b| a >= b), "{by_depth:?}");
    assert_eq!((engine.totals().granted, gate_looks[0]), (granted, looks));
    assert!(sum(gate_fires) > 0 && sum(gate_fires) < sum(gate_looks), "{gate_fires:?}");
    let of = |count: fn(&Usage) -> u64| usages.iter().map(count).sum::<u64>();
    assert_eq!(of(|u| u.by_depth.drafted[0]), by_depth.drafted[0]);
    assert_eq!(of(|u| u.by_depth.accepted[0]), by_depth.accepted[0]);
    for usage in &usages {
        let parts = [usage.by_depth.drafted, usage.by_depth.verified, usage.by_depth.accepted];
        assert_eq!(parts.map(sum), [usage.drafted, usage.verified, usage.accepted]);
    }
}
