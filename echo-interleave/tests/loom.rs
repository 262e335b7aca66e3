//! Every order of a few steps: the queue, the cancel and the drain latch.
//!
//! Bounded at a few preemptions each, beside the switches a thread makes by waiting.
#![cfg(loom)]

use echo_interleave::{engine, request};
use echo_runtime::{Event, FinishReason, Handle, RejectReason, Stream};
use loom::thread;

/// Runs `model` in every order with at most so many `preemptions`.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 2_000;
    builder.check(model);
}

/// The tokens of `stream` and its end.
fn read(stream: Stream) -> (Vec<u32>, Option<FinishReason>) {
    let (mut tokens, mut end) = (Vec::new(), None);
    for event in stream {
        match event {
            Event::Token { token, .. } => tokens.push(token),
            Event::Prompt { .. } => {}
            Event::Finished { reason, .. } => end = Some(reason),
        }
    }
    (tokens, end)
}

/// The queue: what is taken is answered, whole and in order, and no more is taken than fits.
#[test]
fn two_callers_and_room_for_one() {
    check(2, || {
        let (handle, engine) = Handle::spawn(engine(1, false));
        let other = handle.clone();
        let other = thread::spawn(move || other.submit(request(8, 1)));
        let own = handle.submit(request(1, 1));
        let other = other.join().expect("it does not panic");
        assert!(own.is_ok() || other.is_ok(), "room for one");
        for (stream, token) in [(own, 2), (other, 9)] {
            match stream.map(read) {
                Ok(answer) => assert_eq!(answer, (vec![token], Some(FinishReason::Length))),
                Err(refused) => assert_eq!(refused, RejectReason::QueueFull { waiting: 0 }),
            }
        }
        handle.shutdown();
        let engine = engine.join().expect("it ends well");
        assert!(engine.is_idle());
        engine.audit();
    });
}

/// The cancel: it comes before, between or after the steps of its request, and frees everything.
#[test]
fn a_cancel_at_any_moment() {
    check(3, || {
        let (handle, engine) = Handle::spawn(engine(1, false));
        drop(handle.submit(request(1, 2)).expect("there is room"));
        handle.shutdown();
        let engine = engine.join().expect("it ends well");
        assert!(engine.is_idle());
        engine.audit();
    });
}

/// The drain latch: a request that comes with the shutdown is refused or has its end.
#[test]
fn a_shutdown_beside_a_submit() {
    check(3, || {
        let (handle, engine) = Handle::spawn(engine(1, false));
        let caller = handle.clone();
        let caller = thread::spawn(move || caller.submit(request(1, 1)).map(read));
        handle.shutdown();
        match caller.join().expect("it does not panic") {
            Ok(answer) => assert_eq!(answer, (vec![2], Some(FinishReason::Length))),
            Err(refused) => assert_eq!(refused, RejectReason::Closed),
        }
        engine.join().expect("it ends well").audit();
        assert!(!handle.is_alive());
    });
}

/// A device that is gone: whoever got in before the engine ended has the reason.
#[test]
fn an_engine_that_ends_beside_a_submit() {
    check(2, || {
        let (handle, engine) = Handle::spawn(engine(1, true));
        let caller = handle.clone();
        let caller = thread::spawn(move || caller.submit(request(1, 1)).map(read));
        let own = handle.submit(request(1, 1)).map(read);
        for answer in [own, caller.join().expect("it does not panic")] {
            match answer {
                Ok((tokens, end)) => {
                    assert!(tokens.is_empty());
                    assert!(matches!(end, Some(FinishReason::Device(_))), "{end:?}");
                }
                Err(RejectReason::Closed | RejectReason::QueueFull { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        engine.join().expect("it ends well").audit();
    });
}

/// The last handle: an engine that nobody can reach any more ends.
#[test]
fn everybody_leaves() {
    check(3, || {
        let (handle, engine) = Handle::spawn(engine(1, false));
        let stream = handle.submit(request(1, 1)).expect("there is room");
        let reader = thread::spawn(move || read(stream));
        drop(handle);
        let answer = reader.join().expect("it does not panic");
        assert_eq!(answer, (vec![2], Some(FinishReason::Length)));
        engine.join().expect("it ends well").audit();
    });
}
