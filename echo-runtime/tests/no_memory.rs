//! A request for which there is no memory is refused with a reason; the others say what they would
//! have said.

mod testkit;

use echo_core::{Limits, Sampling, Token};
use echo_gate::Always;
use echo_model::sim::{SimDraft, SimDrafter, SimOptions, SimTarget};
use echo_runtime::{Engine, Event, FinishReason, Handle, Options, Parts, Request, Stops, Stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use testkit::oracle;
use testkit::solvers::Greedy;
use testkit::vocab::SmallVocab;

/// Bytes from which on a piece of memory counts as large.
const LARGE: usize = 8 << 10;

/// Has no memory for one large piece.
struct Short;

/// Large pieces that are still to be had before one is refused; negative for no refusal.
static LEFT: AtomicIsize = AtomicIsize::new(-1);

fn refuses(bytes: usize) -> bool {
    bytes >= LARGE && LEFT.load(Ordering::Relaxed) >= 0 && LEFT.fetch_sub(1, Ordering::Relaxed) == 0
}

// SAFETY: every call is passed on unchanged to the system's allocator, or answered with null, which
// means that there is no memory.
unsafe impl GlobalAlloc for Short {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract, and `ptr` came from the system.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if refuses(new_size) {
            return null_mut();
        }
        // SAFETY: the caller keeps `realloc`'s contract, and `ptr` came from the system.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Short = Short;

const CONTEXT: usize = 4096;

fn engine(seed: u64) -> (Engine, SimTarget) {
    let limits = Limits { context_max: CONTEXT, kv_slots: 5 * CONTEXT, ..testkit::small_limits() };
    let target = SimTarget::new(SimOptions {
        kv_slots: limits.kv_slots,
        context_max: limits.context_max,
        ..SimOptions::small(seed)
    });
    let draft = SimDraft { law: target.law(), agreement: vec![0.9; 4], silence: 0.0, unruly: 0.0 };
    let parts = Parts {
        target: Box::new(target.clone()),
        drafter: Box::new(SimDrafter::new(draft)),
        gate: Box::new(Always),
        solver: Box::new(Greedy),
        vocab: Arc::new(SmallVocab),
    };
    (Engine::new(parts, limits, Options::default()).expect("the limits are legal"), target)
}

/// A request for `max_tokens` tokens, or for all that the context holds.
fn request(first: Token, max_tokens: Option<usize>, frequency_penalty: f32) -> Request {
    let stops = Stops { max_tokens, ignore_eos: true, ..Stops::default() };
    let seed = u64::from(first);
    let sampling = Sampling { temperature: 0.7, seed, frequency_penalty, ..Sampling::default() };
    Request { stops, sampling, ..Request::new(vec![first; 5]) }
}

fn read(stream: Stream) -> (Vec<Token>, Option<FinishReason>) {
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

#[test]
fn a_request_without_memory_is_refused_alone() {
    let (engine, target) = engine(3);
    let (handle, thread) = Handle::spawn(engine);
    let bystanders: Vec<_> = (0..3).map(|first| request(first, Some(400), 0.0)).collect();
    let submit = |request: &Request| handle.submit(request.clone()).expect("a good request");
    let streams: Vec<_> = bystanders.iter().map(submit).collect();
    // Its tokens, the edits of its own text, and those of a batch full of its like.
    let greedy = request(9, None, 0.2);
    let mut refused = 0;
    for nth in 0.. {
        let mut stream = submit_short(&handle, &greedy, nth);
        match stream.next() {
            Some(Event::Finished { reason, usage, .. }) => {
                assert_eq!(reason, FinishReason::NoMemory, "piece {nth}");
                assert_eq!((usage.output_tokens, usage.seated), (0, None), "piece {nth}");
                refused += 1;
            }
            Some(_) => break,
            None => panic!("piece {nth}: no end"),
        }
    }
    LEFT.store(-1, Ordering::Relaxed);
    assert!(refused >= 3, "only {refused} pieces could be refused");
    for (request, stream) in bystanders.iter().zip(streams) {
        let want = oracle::decode(target.law(), request, CONTEXT, &[]);
        assert_eq!(read(stream), (want.tokens, Some(want.reason)));
    }
    handle.shutdown();
    let engine = thread.join().expect("the engine goes on");
    assert!(engine.is_idle());
    engine.audit();
}

/// Hands `request` in while there is no memory for its large piece number `nth`.
fn submit_short(handle: &Handle, request: &Request, nth: isize) -> Stream {
    let request = request.clone();
    LEFT.store(nth, Ordering::Relaxed);
    handle.submit(request).expect("it is checked, not made")
}
