//! A soak: an engine under load, cancels, bad requests and faults of every part, for `--seconds`.
//!
//! Canaries are asked for all the time and must not change by a bit; every request must have an
//! end, and the right one; memory, files and threads must stay as they are. The model is the
//! simulated one, whose ledger notices what a real one would hide; with `--model`, the default one.

mod heap;
mod memory;
mod real;
mod shaky;
#[path = "../tests/testkit/mod.rs"]
mod testkit;

use echo_core::{Limits, Sampling, Token};
use echo_model::sim::{SimLaw, SimOptions};
use echo_runtime::{Engine, Event, FinishReason, Handle, Output, RejectReason, Request, Stops};
use memory::{Look, look, slope};
use shaky::{Dial, POISON, WORDS, engine};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testkit::episode::Dice;
use testkit::oracle;

/// Callers at once.
const CALLERS: u64 = 48;
/// Steps between two faults at least.
const STEPS_APART: usize = 20;
/// What may come on the heap with 100,000 requests, in MiB.
const SLOPE_MAX: f64 = 1.0;
/// Growth of the heap below which a slope is noise, in KiB: as many requests are alive at the end
/// as it happens.
const NOISE_KIB: u64 = 256;
/// Growth of what the process holds that is laid to the allocator, which keeps pieces for each
/// thread, in KiB. Beyond it memory is lost that is not on the heap.
const KEPT_KIB: u64 = 16 << 10;

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
    let is_real = args.first().is_some_and(|arg| arg == "--model");
    let rest: Vec<&str> = args.iter().skip(usize::from(is_real)).map(String::as_str).collect();
    let seconds = match rest[..] {
        ["--seconds", n] => n.parse::<u64>().ok().filter(|&n| n > 0),
        [] => Some(600),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("usage: soak [--model] [--seconds N], N at least 1");
        return ExitCode::from(2);
    };
    testkit::sabotage::hush();
    assert_eq!(WORDS, testkit::sabotage::WORDS, "the hook knows what is on purpose");
    let dial = Dial::default();
    let Some(stage) = (if is_real { Stage::real(&dial) } else { Some(Stage::simulated(&dial)) })
    else {
        return ExitCode::from(2);
    };
    let (tally, looks) = soak(stage, &dial, Duration::from_secs(seconds));
    report(&tally, &looks)
}

/// What is under load.
struct Stage {
    engine: Engine,
    crowd: Crowd,
    /// Between two faults.
    pause: Duration,
}

/// What callers send, and what they know of the answers.
struct Crowd {
    /// Tokens there are.
    vocab: usize,
    /// Questions that are asked throughout, and their answers.
    canaries: Vec<(Request, Said)>,
    /// The law of the simulated model, which tells every answer.
    law: Option<SimLaw>,
    /// Before somebody who met a full queue comes again.
    patience: Duration,
}

impl Stage {
    fn simulated(dial: &Dial) -> Self {
        let law = SimOptions::small(1).law;
        let limits = Limits { seqs_max: 12, kv_slots: 600, ..testkit::small_limits() };
        let engine = engine(law, limits, dial);
        let canaries = canaries(32).into_iter().map(|asked| {
            let said = expected(law, &asked);
            (asked, said)
        });
        let patience = Duration::from_millis(1);
        let crowd = Crowd { vocab: 32, canaries: canaries.collect(), law: Some(law), patience };
        Stage { engine, crowd, pause: Duration::from_millis(250) }
    }

    /// The default model; it tells the canaries' answers before the load begins, to each alone and
    /// without drafts. `None` where the model is not there.
    fn real(dial: &Dial) -> Option<Self> {
        let (mut engine, vocab) = real::engine(dial)?;
        let canaries = canaries(vocab).into_iter().map(|asked| {
            let said = alone(&mut engine, &asked);
            (asked, said)
        });
        // So long that the cores are the model's, not the crowd's.
        let patience = Duration::from_millis(50);
        let crowd = Crowd { vocab, canaries: canaries.collect(), law: None, patience };
        Some(Stage { engine, crowd, pause: Duration::from_secs(3) })
    }
}

/// Eight questions.
fn canaries(vocab: usize) -> Vec<Request> {
    let mut dice = Dice::new(7);
    (0..8).map(|_| random_request(&mut dice, vocab)).collect()
}

/// What `engine` says to `asked` alone, decoded plainly.
fn alone(engine: &mut Engine, asked: &Request) -> Said {
    let request = Request { draft_depth_max: Some(0), ..asked.clone() };
    engine.submit(request).expect("a good request");
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("nothing is dialled yet");
    }
    let end = out.finished.first().expect("it ends");
    let said = out.committed.iter().map(|committed| &committed.text);
    let text = said.chain([&end.text]).map(|range| out.text_of(range)).collect();
    (out.committed.iter().map(|committed| committed.token).collect(), text, end.reason.clone())
}

/// Runs everything for `time`.
fn soak(stage: Stage, dial: &Dial, time: Duration) -> (Tally, Vec<Look>) {
    let Stage { engine, crowd, pause } = stage;
    let (handle, thread) = Handle::spawn(engine);
    let (tally, stop, mut looks) = (Tally::default(), AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        let (handle, crowd, tally, stop) = (&handle, &crowd, &tally, &stop);
        for caller in 0..CALLERS {
            scope.spawn(move || call(handle, crowd, caller, tally, stop));
        }
        scope.spawn(move || watch_canaries(handle, crowd, tally, stop));
        let start = Instant::now();
        let (mut dice, mut dialled) = (Dice::new(99), 0);
        while start.elapsed() < time {
            for _ in 0..4 {
                std::thread::sleep(pause.min(time));
                // Whoever fails at every try is rightly let go; these are to be single faults.
                let steps = handle.totals().steps;
                if steps >= dialled + STEPS_APART {
                    dial.turn(dice.pick(&Dial::ALL));
                    add(&tally.faults);
                    dialled = steps;
                }
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

fn random_request(dice: &mut Dice, vocab: usize) -> Request {
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
    let prompt = (0..n).map(|_| dice.below(vocab) as Token).collect();
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
fn call(handle: &Handle, crowd: &Crowd, caller: u64, tally: &Tally, stop: &AtomicBool) {
    let mut dice = Dice::new(1000 + caller);
    while !stop.load(Ordering::Relaxed) {
        let mut request = random_request(&mut dice, crowd.vocab);
        if dice.once_in(100) {
            request.prompt = vec![(crowd.vocab + dice.below(1000)) as Token];
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
                std::thread::sleep(crowd.patience);
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
            Some(said) => match crowd.law.filter(|_| dice.once_in(20)) {
                Some(law) => said == expected(law, &request),
                None => matches!(said.2, FinishReason::Stop | FinishReason::Length),
            },
            None => false,
        };
        add(if is_right { &tally.whole } else { &tally.wrong });
    }
}

/// Asks the same eight things every second; the answers were known before.
fn watch_canaries(handle: &Handle, crowd: &Crowd, tally: &Tally, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for (request, want) in &crowd.canaries {
            let stream = loop {
                match handle.submit(request.clone()) {
                    Ok(stream) => break stream,
                    Err(RejectReason::QueueFull { .. }) => std::thread::sleep(crowd.patience),
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
            "heap: {} to {} KiB, {slope:.2} MiB per 100,000 requests; with what the allocator \
             keeps {} to {} KiB; files {} to {}, threads {} to {}",
            first.live_kib,
            last.live_kib,
            first.kib,
            last.kib,
            first.files,
            last.files,
            first.threads,
            last.threads
        );
        let grown = last.live_kib.saturating_sub(first.live_kib);
        is_flat = (slope <= SLOPE_MAX || grown <= NOISE_KIB)
            && last.kib <= first.kib + KEPT_KIB
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
