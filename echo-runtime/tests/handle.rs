//! The engine on its own thread: many callers, streams that are dropped, a device that goes away.

mod testkit;

use echo_core::{DeviceError, Sampling, Token};
use echo_gate::Always;
use echo_model::sim::{FailAt, SimDraft, SimDrafter, SimOptions, SimTarget};
use echo_runtime::{Engine, Event, FinishReason, Handle, Options, Parts, RejectReason};
use echo_runtime::{Request, Stops};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use testkit::solvers::Greedy;
use testkit::vocab::SmallVocab;
use testkit::{oracle, small_limits};

fn engine(options: Options) -> (Engine, SimTarget) {
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
        vocab: Arc::new(SmallVocab),
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
fn a_lost_device_ends_every_stream_with_the_reason() {
    let (engine, target) = engine(Options::default());
    let lost = DeviceError::Lost("pulled out".into());
    target.fail(5, FailAt::End, lost.clone());
    let (handle, thread) = Handle::spawn(engine);
    let streams: Vec<_> =
        (0..3).map(|first| handle.submit(request(first, 60)).expect("there is room")).collect();
    for stream in streams {
        let last = stream.last().expect("a stream has an end");
        let Event::Finished { reason, .. } = last else { panic!("{last:?} is no end") };
        assert_eq!(reason, FinishReason::Device(lost.clone()));
    }
    // The engine goes on for others.
    let last = handle.submit(request(7, 5)).expect("there is room").last();
    assert!(matches!(last, Some(Event::Finished { reason: FinishReason::Length, .. })), "{last:?}");
    handle.shutdown();
    thread.join().expect("the engine thread ends well").audit();
}
