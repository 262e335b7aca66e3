//! A soak: an engine under load, cancels, bad requests and faults of every part, for `--seconds`.
//!
//! Canaries are asked for all the time and must not change by a bit; every request must have an
//! end, and the right one; memory, files and threads must stay as they are. The model is the
//! simulated one, whose ledger notices what a real one would hide.

mod memory;
mod shaky;
#[path = "../tests/testkit/mod.rs"]
mod testkit;

use echo_core::{Limits, Sampling, Token};
use echo_model::sim::{SimLaw, SimOptions};
use echo_runtime::{Event, FinishReason, Handle, RejectReason, Request, Stops};
use memory::{Look, look, slope};
use shaky::{Dial, POISON, WORDS, engine};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::episode::Dice;
use testkit::oracle;

/// Callers at once.
const CALLERS: u64 = 48;
/// Memory that may come with 100,000 requests, in MiB.
const SLOPE_MAX: f64 = 1.0;
/// Growth below which a slope is noise, in KiB.
const NOISE_KIB: u64 = 2048;

/// What happened so far.
#[derive(Debug, Default)]
struct Tally {
    whole: AtomicUsize,
    left: AtomicUsize,
    full: AtomicUsize,
    malformed: AtomicUsize,
    poisoned: AtomicUsize,
    canaries: AtomicUsize,
    faults: AtomicUsize,
    /// Requests that ended in a way they should not have.
    wrong: AtomicUsize,
}

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn get(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seconds = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--seconds", n] => n.parse::<u64>().ok().filter(|&n| n > 0),
        [] => Some(600),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("usage: soak [--seconds N], N at least 1");
        return ExitCode::from(2);
    };
    testkit::sabotage::hush();
    assert_eq!(WORDS, testkit::sabotage::WORDS, "the hook knows what is on purpose");
    let (tally, looks) = soak(Duration::from_secs(seconds));
    report(&tally, &looks)
}

/// Runs everything for `time`.
fn soak(time: Duration) -> (Tally, Vec<Look>) {
    let law = SimOptions::small(1).law;
    let limits = Limits { seqs_max: 12, kv_slots: 600, ..testkit::small_limits() };
    let dial = Dial::default();
    let (handle, thread) = Handle::spawn(engine(law, limits, &dial));
    let (tally, stop, mut looks) = (Tally::default(), AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        let (handle, tally, stop) = (&handle, &tally, &stop);
        for caller in 0..CALLERS {
            scope.spawn(move || call(handle, law, caller, tally, stop));
        }
        scope.spawn(move || watch_canaries(handle, law, tally, stop));
        let start = Instant::now();
        let mut dice = Dice::new(99);
        while start.elapsed() < time {
            for _ in 0..4 {
                std::thread::sleep(Duration::from_millis(250).min(time));
                dial.turn(dice.pick(&Dial::ALL));
                add(&tally.faults);
            }
            let ended = get(&tally.whole) + get(&tally.left) + get(&tally.poisoned);
            looks.extend(look(ended));
        }
        stop.store(true, Ordering::Relaxed);
    });
    handle.shutdown();
    let engine = thread.join().expect("the engine's thread ends well");
    engine.audit();
    assert!(engine.is_idle(), "everybody was served");
    let totals = engine.totals();
    println!(
        "engine: {} steps, {} tokens, {:.2} a sequence and step, {} policy faults, {} devices \
         opened again",
        totals.steps,
        totals.committed,
        totals.mean_accepted_len(),
        totals.policy_faults,
        engine.n_reopened()
    );
    (tally, looks)
}

fn random_request(dice: &mut Dice) -> Request {
    let n = 1 + dice.below(40);
    let stops = Stops {
        max_tokens: Some(1 + dice.below(40)),
        strings: if dice.once_in(3) { vec!["ab".into(), "語".into()] } else { Vec::new() },
        ..Stops::default()
    };
    let sampling = Sampling {
        temperature: dice.pick(&[0.0, 0.7, 1.2]),
        repetition_penalty: dice.pick(&[1.0, 1.2]),
        seed: dice.below(1 << 20) as u64,
        logprobs: dice.pick(&[None, Some(2)]),
        ..Sampling::default()
    };
    let prompt = (0..n).map(|_| dice.below(32) as Token).collect();
    Request { stops, sampling, ..Request::new(prompt) }
}

/// What came of a request: its tokens, text and end.
type Said = (Vec<Token>, String, FinishReason);

fn read(events: impl Iterator<Item = Event>) -> Option<Said> {
    let (mut tokens, mut text) = (Vec::new(), String::new());
    for event in events {
        match event {
            Event::Token { token, text: piece, .. } => {
                tokens.push(token);
                text.push_str(&piece);
            }
            Event::Prompt { .. } => {}
            Event::Finished { reason, text: rest, .. } => {
                text.push_str(&rest);
                return Some((tokens, text, reason));
            }
        }
    }
    None
}

fn expected(law: SimLaw, request: &Request) -> Said {
    let want = oracle::decode(law, request, testkit::small_limits().context_max, &[]);
    (want.tokens, want.text, want.reason)
}

/// One caller after another: most stay, some leave early, some send nonsense, few send poison.
fn call(handle: &Handle, law: SimLaw, caller: u64, tally: &Tally, stop: &AtomicBool) {
    let mut dice = Dice::new(1000 + caller);
    while !stop.load(Ordering::Relaxed) {
        let mut request = random_request(&mut dice);
        if dice.once_in(100) {
            request.prompt = vec![dice.below(1000) as Token + 32];
            assert!(handle.submit(request).is_err(), "nonsense is refused");
            add(&tally.malformed);
            continue;
        }
        let is_poison = dice.once_in(2000);
        if is_poison {
            request.sampling.seed = POISON;
        }
        let mut stream = match handle.submit(request.clone()) {
            Ok(stream) => stream,
            Err(RejectReason::QueueFull { .. }) => {
                add(&tally.full);
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        if dice.once_in(10) {
            stream.by_ref().take(dice.below(20)).for_each(drop);
            add(&tally.left);
            continue;
        }
        let is_right = match read(stream) {
            Some((.., FinishReason::Device(_))) if is_poison => {
                add(&tally.poisoned);
                continue;
            }
            // The oracle costs more than the answer; one in many tells as much.
            Some(said) if dice.once_in(20) => said == expected(law, &request),
            Some((.., reason)) => matches!(reason, FinishReason::Stop | FinishReason::Length),
            None => false,
        };
        add(if is_right { &tally.whole } else { &tally.wrong });
    }
}

/// Asks the same eight things every second; the answers were known before.
fn watch_canaries(handle: &Handle, law: SimLaw, tally: &Tally, stop: &AtomicBool) {
    let mut dice = Dice::new(7);
    let canaries = (0..8).map(|_| random_request(&mut dice));
    let canaries: Vec<_> = canaries.map(|request| (expected(law, &request), request)).collect();
    while !stop.load(Ordering::Relaxed) {
        for (want, request) in &canaries {
            let stream = loop {
                match handle.submit(request.clone()) {
                    Ok(stream) => break stream,
                    Err(RejectReason::QueueFull { .. }) => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(other) => panic!("{other}"),
                }
            };
            let is_right = read(stream).as_ref() == Some(want);
            add(if is_right { &tally.canaries } else { &tally.wrong });
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn report(tally: &Tally, looks: &[Look]) -> ExitCode {
    println!(
        "requests: {} whole, {} left by their caller, {} ended for poison, {} refused as nonsense, \
         {} refused at a full queue",
        get(&tally.whole),
        get(&tally.left),
        get(&tally.poisoned),
        get(&tally.malformed),
        get(&tally.full)
    );
    let wrong = get(&tally.wrong);
    println!(
        "canaries: {} as they were; wrong or without an end, of all: {wrong}; faults dialled: {}",
        get(&tally.canaries),
        get(&tally.faults)
    );
    let mut is_flat = true;
    // The first third fills caches and allocators.
    if let [first, .., last] = &looks[looks.len() / 3..] {
        let slope = slope(&looks[looks.len() / 3..]);
        println!(
            "memory: {} to {} KiB, {slope:.2} MiB per 100,000 requests; files {} to {}, threads {} \
             to {}",
            first.kib, last.kib, first.files, last.files, first.threads, last.threads
        );
        let grown = last.kib.saturating_sub(first.kib);
        is_flat = (slope <= SLOPE_MAX || grown <= NOISE_KIB)
            && last.files <= first.files
            && last.threads <= first.threads;
    } else {
        println!("memory: not measured; too short, or no /proc");
    }
    let is_met = get(&tally.whole) > 0 && get(&tally.canaries) > 0;
    if wrong == 0 && is_flat && is_met {
        println!("soak: passed");
        return ExitCode::SUCCESS;
    }
    println!("soak: FAILED");
    ExitCode::FAILURE
}
