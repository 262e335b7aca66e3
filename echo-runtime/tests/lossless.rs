//! Speculation changes nothing: every request's tokens, text, log-probabilities and end are those
//! of plain decoding, for every gate and solver, any arrival, cancellation, preemption and budget.
//!
//! Method: random episodes on the simulated pair, whose target's ledger notes every wrong position,
//! mask and slot; each answer is compared with an oracle that decodes the request alone, token by
//! token, without a cache. The same episodes on a target that is shown bent rows must be caught.

mod testkit;

use echo_gate::Always;
use echo_model::sim::{SimDrafter, SimOptions, SimTarget};
use echo_runtime::FinishReason;
use testkit::bent::{Bend, BentTarget};
use testkit::episode::{Episode, Run};
use testkit::oracle;
use testkit::policies::{GATES, SOLVERS};
use testkit::solvers::Greedy;

/// Episodes for each pair of a gate and a solver.
const EPISODES: u64 = 700;

/// What differs between an episode's answers and the oracle's, if anything does.
fn difference(episode: &Episode, run: &Run) -> Option<String> {
    if let Some(fault) = run.faults.first() {
        return Some(fault.clone());
    }
    for (r, request) in episode.requests.iter().enumerate() {
        let want = oracle::decode(episode.law, request, episode.limits.context_max, &[]);
        let Some(got) = run.answers.get(&r) else {
            return Some(format!("request {r} has no answer"));
        };
        let same = match got.reason {
            FinishReason::Cancelled => {
                episode.cancel[r].is_some()
                    && want.scored.starts_with(&got.scored)
                    && want.tokens.starts_with(&got.tokens)
            }
            _ => *got == want,
        };
        if !same {
            return Some(format!("request {r}: {request:?}\n got {got:?}\nwant {want:?}"));
        }
    }
    None
}

/// How often the hard paths were taken.
#[derive(Debug, Default)]
struct Taken {
    preemptions: usize,
    cancelled: usize,
    accepted: usize,
    wasted: usize,
    cached: usize,
    /// Requests whose prompt was scored and that were preempted.
    scored: usize,
}

fn check(gate: usize) {
    let (gate_name, gate) = GATES[gate];
    let mut taken = Taken::default();
    for (solver_name, solver) in SOLVERS {
        for seed in 0..EPISODES {
            let episode = Episode::random(seed);
            let run = episode.run(gate(), solver());
            let difference = difference(&episode, &run);
            assert_eq!(difference, None, "{gate_name}, {solver_name}, seed {seed}");
            assert_eq!(run.policy_faults, 0, "{gate_name}, {solver_name}, seed {seed}");
            let cancelled = |answer: &&oracle::Answer| answer.reason == FinishReason::Cancelled;
            taken.preemptions += run.preemptions;
            taken.cancelled += run.answers.values().filter(cancelled).count();
            taken.accepted += run.accepted;
            taken.wasted += run.wasted;
            let is_scored = |r: &usize| !run.answers[r].scored.is_empty();
            let preempted = run.ended.iter().filter(|(_, usage)| usage.preemptions > 0);
            taken.scored += preempted.filter(|(r, _)| is_scored(r)).count();
            taken.cached += run.ended.values().filter(|usage| usage.cached_tokens > 0).count();
        }
    }
    // A test that never met a hard path would prove nothing about it.
    let Taken { preemptions, cancelled, accepted, wasted, cached, scored } = taken;
    assert!(preemptions > 50 && cancelled > 100 && cached > 200 && scored > 20, "{taken:?}");
    assert!(accepted > 1000 && wasted > 1000, "{taken:?}");
}

#[test]
fn always_changes_nothing() {
    check(0);
}

#[test]
fn fixed_changes_nothing() {
    check(1);
}

#[test]
fn dense_changes_nothing() {
    check(2);
}

#[test]
fn sparse_changes_nothing() {
    check(3);
}

#[test]
fn ddd_changes_nothing() {
    check(4);
}

#[test]
fn auto_changes_nothing() {
    check(5);
}

#[test]
fn opt_tree_changes_nothing() {
    check(6);
}

#[test]
fn talon_changes_nothing() {
    check(7);
}

#[test]
fn ema_changes_nothing() {
    check(8);
}

/// The comparison above must see each of these bugs within a few dozen episodes, by the answers
/// alone: the ledger's own notes are ignored here.
#[test]
fn bent_rows_are_caught() {
    for bend in Bend::ALL {
        let caught = (0..60).any(|seed| {
            let episode = Episode::random(seed);
            let inner = SimTarget::new(SimOptions {
                law: episode.law,
                kv_slots: episode.limits.kv_slots,
                rows_max: episode.limits.rows_max,
                context_max: episode.limits.context_max,
            });
            let target = Box::new(BentTarget { inner, bend });
            let drafter = Box::new(SimDrafter::new(episode.draft.clone()));
            let run = episode.drive(target, drafter, Box::new(Always), Box::new(Greedy));
            difference(&episode, &run).is_some()
        });
        assert!(caught, "{bend:?} went unnoticed");
    }
}
