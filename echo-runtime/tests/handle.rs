//! The engine on its own thread: many callers, streams that are dropped, a device that goes away.

mod testkit;

use echo_core::{DeviceError, Sampling, Token, Vocab};
use echo_gate::Always;
use echo_model::sim::{FailAt, SimDraft, SimDrafter, SimOptions, SimTarget};
use echo_runtime::{
    Engine, Event, FinishReason, Handle, NoDraft, Options, Pair, Parts, RejectReason, Request,
    Stops, Stream,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use testkit::sabotage::{WORDS, hush};
use testkit::solvers::Greedy;
use testkit::vocab::SmallVocab;
use testkit::{oracle, small_limits};

fn engine(options: Options) -> (Engine, SimTarget) {
    engine_with(options, Arc::new(SmallVocab))
}

fn engine_with(options: Options, vocab: Arc<dyn Vocab>) -> (Engine, SimTarget) {
    let limits = small_limits();
    let target = SimTarget::new(SimOptions {
        kv_slots: limits.kv_slots,
        context_max: limits.context_max,
        ..SimOptions::small(5)
    });
    let draft = SimDraft { law: target.law(), agreement: vec![0.8; 4], silence: 0.0, unruly: 0.0 };
    let parts = Parts {
        target: Box::new(target.clone()),
        drafter: Box::new(SimDrafter::new(draft)),
        gate: Box::new(Always),
        solver: Box::new(Greedy),
        vocab,
    };
    (Engine::new(parts, limits, options).expect("small limits are legal"), target)
}

fn request(first: Token, max_tokens: usize) -> Request {
    let stops = Stops { max_tokens: Some(max_tokens), ignore_eos: true, ..Stops::default() };
    let sampling = Sampling { temperature: 0.9, seed: u64::from(first), ..Sampling::default() };
    Request { stops, sampling, ..Request::new(vec![first % 32, 3, 4]) }
}

#[test]
fn callers_on_many_threads_get_their_own_text() {
    let (engine, target) = engine(Options::default());
    let (handle, thread) = Handle::spawn(engine);
    thread::scope(|scope| {
        for first in 0..16 {
            let (handle, law) = (handle.clone(), target.law());
            scope.spawn(move || {
                let request = request(first, 40);
                let (mut tokens, mut text) = (Vec::new(), String::new());
                for event in handle.submit(request.clone()).expect("there is room") {
                    match event {
                        Event::Token { token, text: piece, .. } => {
                            tokens.push(token);
                            text.push_str(&piece);
                        }
                        Event::Prompt { .. } => {}
                        Event::Finished { reason, text: rest, usage } => {
                            text.push_str(&rest);
                            assert_eq!((reason, usage.output_tokens), (FinishReason::Length, 40));
                        }
                    }
                }
                let want = oracle::decode(law, &request, 96, &[]);
                assert_eq!((tokens, text), (want.tokens, want.text));
            });
        }
    });
    assert_eq!(handle.totals().committed, 16 * 40);
    handle.shutdown();
    let engine = thread.join().expect("the engine thread ends well");
    assert!(engine.is_idle());
    engine.audit();
    assert_eq!(handle.submit(request(1, 1)).err(), Some(RejectReason::Closed));
}

#[test]
fn a_dropped_stream_cancels_its_request_and_makes_room() {
    let (engine, _) = engine(Options { queue_max: 0, ..Options::default() });
    let (handle, thread) = Handle::spawn(engine);
    let open = |first| handle.submit(request(first, 90));
    let streams: Vec<_> = (0..4).map(|first| open(first).expect("there is room")).collect();
    assert_eq!(open(9).err(), Some(RejectReason::QueueFull { waiting: 0 }));
    drop(streams);
    let deadline = Instant::now() + Duration::from_secs(10);
    while open(9).is_err() {
        assert!(Instant::now() < deadline, "no room was made");
        thread::yield_now();
    }
    handle.shutdown();
    let engine = thread.join().expect("the engine thread ends well");
    assert!(engine.is_idle());
    engine.audit();
}

#[test]
fn a_device_that_is_gone_for_good_ends_every_stream_with_the_reason() {
    let (engine, target) = engine(Options::default());
    let lost = DeviceError::Lost("pulled out".into());
    target.fail(5, FailAt::End, lost.clone());
    let (handle, thread) = Handle::spawn(engine);
    let streams: Vec<_> =
        (0..3).filter_map(|first| handle.submit(request(first, 60)).ok()).collect();
    assert!(!streams.is_empty());
    for stream in streams {
        assert_eq!(reason(stream), FinishReason::Device(lost.clone()));
    }
    thread.join().expect("the engine thread ends well").audit();
    assert_eq!((handle.is_open(), handle.is_alive()), (false, false));
    assert_eq!(handle.submit(request(7, 5)).err(), Some(RejectReason::Closed));
}

#[test]
fn a_device_that_is_opened_again_ends_nobodys_stream() {
    let (mut engine, target) = engine(Options::default());
    target.fail(5, FailAt::End, DeviceError::Lost("pulled out".into()));
    let law = target.law();
    engine.on_loss(Box::new(move || {
        let limits = small_limits();
        let target = SimTarget::new(SimOptions {
            kv_slots: limits.kv_slots,
            context_max: limits.context_max,
            ..SimOptions::small(5)
        });
        Ok(Pair { target: Box::new(target), drafter: Box::new(NoDraft) })
    }));
    let (handle, thread) = Handle::spawn(engine);
    let requests = (0..6).map(|first| request(first, 60));
    let streams: Vec<_> = requests
        .map(|request| (handle.submit(request.clone()).expect("there is room"), request))
        .collect();
    for (stream, request) in streams {
        assert_eq!(tokens(stream), oracle::decode(law, &request, 96, &[]).tokens);
    }
    assert_eq!((handle.snapshot().reopened, handle.is_alive()), (1, true));
    handle.shutdown();
    thread.join().expect("the engine thread ends well").audit();
}

/// A vocabulary with a bug in it.
struct Buggy;

impl Vocab for Buggy {
    fn len(&self) -> usize {
        SmallVocab.len()
    }

    fn bytes(&self, token: Token) -> &[u8] {
        assert!(token < 20, "a vocabulary with a bug, {WORDS}");
        SmallVocab.bytes(token)
    }

    fn ends(&self, token: Token) -> bool {
        SmallVocab.ends(token)
    }
}

#[test]
fn a_bug_in_the_engine_leaves_nobody_waiting() {
    hush();
    for round in 0..20 {
        let (buggy, _) = engine_with(Options::default(), Arc::new(Buggy));
        let (handle, thread) = Handle::spawn(buggy);
        thread::scope(|scope| {
            for first in 0..4 {
                let handle = handle.clone();
                scope.spawn(move || {
                    for again in 0..20 {
                        let Ok(stream) = handle.submit(request(first + again, 60)) else { return };
                        let reason = reason(stream);
                        let ends = [FinishReason::Crashed, FinishReason::Length];
                        assert!(ends.contains(&reason), "round {round}: {reason:?}");
                    }
                });
            }
        });
        assert!(thread.join().is_err(), "the panic goes on to who joins");
        assert_eq!((handle.is_open(), handle.is_alive()), (false, false));
    }
}

#[test]
fn a_sink_that_panics_is_a_caller_who_left() {
    hush();
    let (engine, target) = engine(Options { queue_max: 0, ..Options::default() });
    let (handle, thread) = Handle::spawn(engine);
    let bad = |at: usize| {
        let mut n = 0;
        let sink = move |_| {
            n += 1;
            assert!(n < at, "a sink with a bug, {WORDS}");
        };
        handle.submit_to(request(1, 40), sink).expect("there is room")
    };
    let tickets = [bad(1), bad(9), bad(41)];
    let good = request(3, 60);
    let stream = handle.submit(good.clone()).expect("there is room");
    assert_eq!(tokens(stream), oracle::decode(target.law(), &good, 96, &[]).tokens);
    // Their places are free although they hold their tickets.
    let again = (0..4).map(|first| {
        loop {
            if let Ok(stream) = handle.submit(request(first, 8)) {
                break stream;
            }
            thread::yield_now();
        }
    });
    again.collect::<Vec<_>>().into_iter().for_each(|stream| assert_eq!(tokens(stream).len(), 8));
    drop(tickets);
    handle.shutdown();
    thread.join().expect("the engine thread ends well").audit();
}

#[test]
fn an_engine_ends_when_nobody_holds_it() {
    let (engine, target) = engine(Options::default());
    let (handle, thread) = Handle::spawn(engine);
    let last = request(2, 30);
    let stream = handle.submit(last.clone()).expect("there is room");
    drop(handle);
    assert_eq!(tokens(stream), oracle::decode(target.law(), &last, 96, &[]).tokens);
    thread.join().expect("the engine thread ends well").audit();
}

/// Shutdown at random moments, with callers who come, stay and leave: every stream that was opened
/// ends, each with its own text or by its caller's wish, and nothing is left.
#[test]
fn a_drain_leaves_no_stream_without_an_end() {
    for round in 0..50 {
        let (engine, target) = engine(Options { queue_max: 3, ..Options::default() });
        let (handle, thread) = Handle::spawn(engine);
        let ended = AtomicUsize::new(0);
        thread::scope(|scope| {
            for caller in 0..6 {
                let (handle, law, ended) = (handle.clone(), target.law(), &ended);
                scope.spawn(move || {
                    for turn in 0.. {
                        let request = request(caller * 5 + turn, 30);
                        match handle.submit(request.clone()) {
                            Ok(mut stream) if (caller + turn) % 4 == 0 => {
                                let left = stream.by_ref().take((turn % 7) as usize).count();
                                assert_eq!(left, (turn % 7) as usize);
                            }
                            Ok(stream) => {
                                let want = oracle::decode(law, &request, 96, &[]).tokens;
                                assert_eq!(tokens(stream), want, "round {round}");
                                ended.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(RejectReason::QueueFull { .. }) => thread::yield_now(),
                            Err(other) => {
                                assert_eq!(other, RejectReason::Closed);
                                return;
                            }
                        }
                    }
                });
            }
            while ended.load(Ordering::Relaxed) < round % 7 {
                thread::yield_now();
            }
            handle.shutdown();
        });
        let engine = thread.join().expect("the engine thread ends well");
        assert!(engine.is_idle() && !handle.is_alive());
        engine.audit();
    }
}

fn reason(stream: Stream) -> FinishReason {
    match stream.last() {
        Some(Event::Finished { reason, .. }) => reason,
        other => panic!("{other:?} is no end"),
    }
}

fn tokens(stream: Stream) -> Vec<Token> {
    let mut is_ended = false;
    let mut tokens = Vec::new();
    for event in stream {
        match event {
            Event::Token { token, .. } => tokens.push(token),
            Event::Prompt { .. } => {}
            Event::Finished { reason, .. } => is_ended = reason == FinishReason::Length,
        }
    }
    assert!(is_ended, "after {tokens:?}");
    tokens
}
