//! An engine so small that a model checker can run all of it: its thread, its callers, their
//! streams.
//!
//! `cargo xtask interleave` builds `echo-runtime` with `--cfg loom`, then with `--cfg shuttle`, and
//! runs the tests of this crate on it: loom through every order of a few steps, shuttle through
//! random orders of many. It is the handle's own code that runs; the checkers stand in for threads,
//! atomics, locks and channels (see `sync` there).
//!
//! A crate of its own, so that building it under another `cfg` builds little else.
#![forbid(unsafe_code)]

use echo_core::port::TargetShape;
use echo_core::{
    Budget, DeviceError, Frontier, Gate, Keep, Limits, Load, PackedView, Plan, SampleView, Solver,
    SuperTreeView, Target, Token, Verdicts, Vocab,
};
use echo_runtime::{Engine, NoDraft, Options, Parts, Request, Stops};
use std::sync::Arc;
use std::time::Duration;

/// Counts upwards from the last token.
struct Counter {
    fails: bool,
}

impl Target for Counter {
    fn shape(&self) -> TargetShape {
        let Limits { seqs_max, rows_max, context_max, kv_slots, .. } = limits(4);
        TargetShape { vocab: 16, context_max, kv_slots, rows_max, seqs_max }
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        _sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        if self.fails {
            return Err(DeviceError::Lost("as it was told to be".into()));
        }
        verdicts.reset(packed.sampled.len());
        for (verdict, &row) in verdicts.token.iter_mut().zip(packed.sampled) {
            *verdict = (packed.token[row as usize] + 1) % 16;
        }
        Ok(())
    }
}

/// Keeps nothing.
struct Never;

impl Gate for Never {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        keep.reset(frontier.nodes().len());
    }
}

impl Solver for Never {
    fn choose(&mut self, _tree: SuperTreeView<'_>, _budget: Budget<'_>, _plan: &mut Plan) {}
}

/// Sixteen tokens without text.
struct Silent;

impl Vocab for Silent {
    fn len(&self) -> usize {
        16
    }

    fn bytes(&self, _token: Token) -> &[u8] {
        b""
    }

    fn ends(&self, _token: Token) -> bool {
        false
    }
}

fn limits(seqs_max: usize) -> Limits {
    Limits {
        seqs_max,
        rows_max: 8,
        depth_max: 1,
        width_max: 1,
        beam_max: 1,
        tree_max: 1,
        context_max: 8,
        kv_slots: 32,
        logprobs_max: 0,
    }
}

/// An engine for `seqs_max` requests at once, of which none may wait; on a device that works, or
/// one that `is_lost` from the start.
pub fn engine(seqs_max: usize, is_lost: bool) -> Engine {
    let parts = Parts {
        target: Box::new(Counter { fails: is_lost }),
        drafter: Box::new(NoDraft),
        gate: Box::new(Never),
        solver: Box::new(Never),
        vocab: Arc::new(Silent),
    };
    let options = Options {
        queue_max: 0,
        prefix_cache: false,
        policy_time_max: Duration::MAX,
        draft_time_max: Duration::MAX,
        ..Options::default()
    };
    Engine::new(parts, limits(seqs_max), options).expect("small limits are legal")
}

/// A request for `n` tokens after `first`.
pub fn request(first: Token, n: usize) -> Request {
    let stops = Stops { max_tokens: Some(n), ..Stops::default() };
    Request { stops, ..Request::new(vec![first]) }
}
