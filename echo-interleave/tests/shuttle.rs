//! Random orders of many steps: submit, read slowly, cancel and drain, all at once.
//!
//! A failure prints the schedule that replays it.
#![cfg(shuttle)]

use echo_interleave::{engine, request};
use echo_runtime::{Event, FinishReason, Handle, RejectReason, Stream};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

/// Schedules of each kind.
const SCHEDULES: usize = if cfg!(thorough) { 500_000 } else { 10_000 };
/// Points at which the scheduler of the second kind changes its mind.
const DEPTH: usize = 4;

fn check(model: fn()) {
    Runner::new(RandomScheduler::new(SCHEDULES), Config::new()).run(model);
    Runner::new(PctScheduler::new(DEPTH, SCHEDULES), Config::new()).run(model);
}

/// Reads `stream` to its end: `n` tokens that count up from `first`, and why it ended.
fn expect_whole(stream: Stream, first: u32, n: usize) {
    let mut tokens = Vec::new();
    let mut end = None;
    for event in stream {
        match event {
            Event::Token { token, .. } => tokens.push(token),
            Event::Prompt { .. } => {}
            Event::Finished { reason, .. } => end = Some(reason),
        }
        // A slow reader lets everybody else go first.
        thread::yield_now();
    }
    let want: Vec<u32> = (1..=n as u32).map(|i| (first + i) % 16).collect();
    assert_eq!((tokens, end), (want, Some(FinishReason::Length)));
}

/// A caller who submits until the door is shut, and leaves some of its streams early.
fn call(handle: &Handle, caller: u32) {
    for turn in 0..3 {
        let n = 1 + (turn as usize + caller as usize) % 4;
        match handle.submit(request(caller, n)) {
            Ok(mut stream) if turn == 1 => drop(stream.next()),
            Ok(stream) => expect_whole(stream, caller, n),
            Err(RejectReason::QueueFull { .. }) => thread::yield_now(),
            Err(other) => {
                assert_eq!(other, RejectReason::Closed);
                return;
            }
        }
    }
}

#[test]
fn callers_who_come_leave_and_are_drained() {
    check(|| {
        let (handle, engine) = Handle::spawn(engine(2, false));
        let callers = (0..3).map(|caller| {
            let handle = handle.clone();
            thread::spawn(move || call(&handle, caller))
        });
        let callers: Vec<_> = callers.collect();
        thread::yield_now();
        handle.shutdown();
        callers.into_iter().for_each(|caller| caller.join().expect("it does not panic"));
        let engine = engine.join().expect("it ends well");
        assert!(engine.is_idle() && !handle.is_alive());
        engine.audit();
    });
}

#[test]
fn nobody_waits_for_an_engine_that_has_ended() {
    check(|| {
        let (handle, engine) = Handle::spawn(engine(2, true));
        let callers = (0..3).map(|caller| {
            let handle = handle.clone();
            thread::spawn(move || {
                while let Ok(stream) = handle.submit(request(caller, 2)) {
                    let end = stream.last();
                    let lost = matches!(&end, Some(Event::Finished { reason, .. })
                        if matches!(reason, FinishReason::Device(_)));
                    assert!(lost, "{end:?}");
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        callers.into_iter().for_each(|caller| caller.join().expect("it does not panic"));
        // Nobody may have come in, and then the engine still waits for its first request.
        handle.shutdown();
        engine.join().expect("it ends well").audit();
    });
}
