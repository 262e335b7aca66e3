//! Faults of every kind, beside 8 to 32 requests that have nothing to do with them: those say what
//! they would have said alone, to the bit, and nothing is lost. The request concerned says it too,
//! or ends soon, with the beginning of its text and a reason that names the fault.

mod scene;
#[path = "../testkit/mod.rs"]
mod testkit;

use echo_core::DeviceError;
use echo_model::sim::FailAt;
use echo_runtime::{FinishReason, IsolatedGate, IsolatedSolver};
use scene::{Crowd, Fate, Leaving, POLICY_TIME, PROMPT, Scene, Taken, VICTIM};
use std::time::Duration;
use testkit::sabotage::{BadGate, BadSolver, Plot, Vice, WORDS, hush};

/// Runs of each point.
const SEEDS: u64 = 100;

type Point = (&'static str, fn(u64) -> Scene, fn(&Taken) -> bool);

/// Runs each point with every seed. Each says by what is seen that the fault was really met.
fn check(points: &[Point]) {
    hush();
    let mut taken: Vec<_> = points.iter().map(|_| Taken::default()).collect();
    for seed in 0..SEEDS {
        let crowd = Crowd::new(seed);
        for ((name, scene, _), taken) in points.iter().zip(&mut taken) {
            crowd.run(name, scene(seed), taken);
        }
    }
    for ((name, _, is_met), taken) in points.iter().zip(&taken) {
        eprintln!("{name}: {taken:?}");
        assert!(is_met(taken), "{name}: {taken:?}");
    }
}

const N: usize = SEEDS as usize;

fn failed() -> DeviceError {
    DeviceError::Failed(WORDS.into())
}

fn lost() -> DeviceError {
    DeviceError::Lost(WORDS.into())
}

fn is_failed(reason: &FinishReason) -> bool {
    *reason == FinishReason::Device(failed())
}

fn is_lost(reason: &FinishReason) -> bool {
    *reason == FinishReason::Device(lost())
}

fn is_faulty(reason: &FinishReason) -> bool {
    *reason == FinishReason::Faulty
}

fn is_cancelled(reason: &FinishReason) -> bool {
    *reason == FinishReason::Cancelled
}

/// The device is lost at some forward; what is opened then fails as `openings` and `then` say.
fn loses(seed: u64, openings: Vec<DeviceError>, then: &[u64]) -> Scene {
    let at = if seed.is_multiple_of(2) { FailAt::Start } else { FailAt::End };
    Scene {
        failures: vec![(seed % 12, at, lost())],
        openings: Some(openings),
        failures_then: then.iter().map(|&forward| (forward, FailAt::End, lost())).collect(),
        ..Scene::default()
    }
}

fn fails(forwards: &[u64], at: FailAt) -> Scene {
    let failures = forwards.iter().map(|&forward| (forward, at, failed())).collect();
    Scene { failures, ..Scene::default() }
}

const DEVICE: [Point; 7] = [
    ("a kernel fails before it writes", |seed| fails(&[seed % 12], FailAt::Start), |_| true),
    ("a kernel fails after it wrote", |seed| fails(&[seed % 12], FailAt::End), |_| true),
    ("a launch times out twice", |seed| fails(&[seed % 12, seed % 12 + 1], FailAt::End), |_| true),
    ("the device is lost", |seed| loses(seed, vec![], &[]), |t| t.reopened == N),
    (
        "memory is short when it is opened again",
        |seed| {
            let short = DeviceError::OutOfMemory { asked: 1 << 30, what: "weights".into() };
            loses(seed, vec![short, failed()], &[])
        },
        |t| t.reopened == N,
    ),
    ("it is lost again at once", |seed| loses(seed, vec![], &[0]), |t| t.reopened == 2 * N),
    (
        "a forward panics",
        |seed| Scene {
            plot: Plot::Panic { forward: seed % 12 },
            openings: Some(vec![]),
            ..Scene::default()
        },
        |t| t.hits == N && t.reopened == N,
    ),
];

#[test]
fn a_failing_device_changes_nobodys_text() {
    check(&DEVICE);
}

fn no_number(position: u32, drafted_only: bool, fate: Fate) -> Scene {
    let plot = Plot::NoNumber { seed: VICTIM, position, drafted_only };
    Scene { plot, fate, ..Scene::default() }
}

fn poison(seed: u64, error: DeviceError, openings: Option<Vec<DeviceError>>) -> Scene {
    let fate = Fate::Cut(if error == failed() { is_failed } else { is_lost });
    let plot = Plot::Poison { seed: VICTIM, position: PROMPT + seed as u32 % 20, error };
    Scene { plot, openings, fate, ..Scene::default() }
}

const REQUEST: [Point; 6] = [
    (
        "no number at the end of a prompt",
        |_| no_number(PROMPT, false, Fate::Cut(is_faulty)),
        |t| t.cut == N,
    ),
    (
        "no number while decoding",
        |seed| no_number(PROMPT + 1 + seed as u32 % 20, false, Fate::Cut(is_faulty)),
        |t| t.cut == N,
    ),
    (
        "no number in drafted rows",
        |seed| no_number(PROMPT + 1 + seed as u32 % 20, true, Fate::Perhaps(is_faulty)),
        |t| t.hits > N && t.cut > N / 4,
    ),
    (
        "a request that fails every forward",
        |seed| poison(seed, failed(), None),
        |t| t.cut == N && t.reopened == 0,
    ),
    (
        "a request that fails every forward, on a device that can be opened again",
        |seed| poison(seed, failed(), Some(vec![])),
        |t| t.cut == N && t.reopened >= N,
    ),
    (
        "a request that loses every device",
        |seed| poison(seed, lost(), Some(vec![])),
        |t| t.cut == N && t.reopened > 4 * N,
    ),
];

#[test]
fn a_request_that_is_no_good_ends_alone() {
    check(&REQUEST);
}

fn drafts(from: u64, vice: Vice) -> Scene {
    Scene { draft_vice: Some((from, vice)), ..Scene::default() }
}

fn gates(vice: Vice) -> Scene {
    Scene { gate: Box::new(BadGate(vice)), ..Scene::default() }
}

/// What a policy does that never returns, and how long a thread of its own is waited for.
const NEVER: Vice = Vice::Stall(Duration::MAX);
const PATIENCE: Duration = Duration::from_millis(2);

fn never_gates() -> Scene {
    let gate = IsolatedGate::new(Box::new(BadGate(NEVER)), PATIENCE);
    Scene { gate: Box::new(gate), ..Scene::default() }
}

fn never_solves() -> Scene {
    let solver = IsolatedSolver::new(Box::new(BadSolver(NEVER)), PATIENCE);
    Scene { solver: Box::new(solver), ..Scene::default() }
}

fn solves(vice: Vice) -> Scene {
    Scene { solver: Box::new(BadSolver(vice)), ..Scene::default() }
}

/// Switched off after the third fault.
fn is_off_soon(taken: &Taken) -> bool {
    taken.parts_off == N && (3 * N..5 * N).contains(&taken.policy_faults)
}

const PLUG_INS: [Point; 12] = [
    ("the draft model fails", |seed| drafts(seed % 9, Vice::Error), is_off_soon),
    ("the draft model panics", |seed| drafts(seed % 9, Vice::Panic), is_off_soon),
    ("the draft model makes tokens up", |seed| drafts(seed % 9, Vice::Rules), is_off_soon),
    ("the gate panics", |_| gates(Vice::Panic), is_off_soon),
    ("the gate stalls", |_| gates(Vice::Stall(2 * POLICY_TIME)), is_off_soon),
    ("the gate never comes back", |_| never_gates(), is_off_soon),
    ("the gate opens what is closed", |_| gates(Vice::Rules), is_off_soon),
    ("the solver panics", |_| solves(Vice::Panic), is_off_soon),
    ("the solver stalls", |_| solves(Vice::Stall(2 * POLICY_TIME)), is_off_soon),
    ("the solver never comes back", |_| never_solves(), is_off_soon),
    ("the solver breaks the rules", |_| solves(Vice::Rules), is_off_soon),
    (
        "slots are short",
        |_| Scene { kv_slots: 150, ..Scene::default() },
        |taken| taken.preemptions > N,
    ),
];

#[test]
fn a_bad_plug_in_costs_time_only() {
    check(&PLUG_INS);
}

fn leaves(seed: u64, leaving: Leaving) -> Scene {
    let failures = match leaving {
        Leaving::AfterFailure => vec![(seed % 4, FailAt::End, failed())],
        _ => Vec::new(),
    };
    let fate = match leaving {
        Leaving::AfterEnd => Fate::Unharmed,
        _ => Fate::Cut(is_cancelled),
    };
    Scene { failures, leaving: Some(leaving), fate, ..Scene::default() }
}

fn all_cut(taken: &Taken) -> bool {
    taken.cut == N
}

const LEAVING: [Point; 6] = [
    ("its caller leaves while it waits", |seed| leaves(seed, Leaving::Waiting), all_cut),
    ("its caller leaves while it is read", |seed| leaves(seed, Leaving::Reading), all_cut),
    ("its caller leaves at its first token", |seed| leaves(seed, Leaving::FirstToken), all_cut),
    ("its caller leaves while it decodes", |seed| leaves(seed, Leaving::Decoding), all_cut),
    ("its caller leaves after a failed step", |seed| leaves(seed, Leaving::AfterFailure), all_cut),
    ("its caller leaves after its end", |seed| leaves(seed, Leaving::AfterEnd), |t| t.cut == 0),
];

#[test]
fn who_leaves_disturbs_nobody() {
    check(&LEAVING);
}
