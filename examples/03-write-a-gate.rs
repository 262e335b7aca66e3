//! Write a gate: twenty lines, and no text changes by it.

use echo_core::{Frontier, Gate, Keep, Limits, Load};
use echo_model::sim::{ByteVocab, SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use std::sync::Arc;

/// Drafts deeper than `depth` only while nobody waits for a place.
struct Courteous {
    depth: usize,
}

impl Gate for Courteous {
    fn looks_at(&self, depth: usize) -> bool {
        depth >= self.depth
    }

    fn narrow(&self, _frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        if load.n_waiting > 0 {
            (0..keep.len()).for_each(|i| keep.narrow(i, 0));
        }
    }
}

fn main() {
    let law = SimLaw { seed: 1, vocab: 256, spread: 1.5, ties: 0.0 };
    let target = SimTarget::new(SimOptions { law, ..SimOptions::small(1) });
    let draft = SimDraft { law, agreement: vec![0.8], silence: 0.0, unruly: 0.0 };
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(SimDrafter::new(draft)),
        gate: Box::new(Courteous { depth: 1 }),
        solver: Box::new(echo_budget::Uniform::default()),
        vocab: Arc::new(ByteVocab::default()),
    };
    let limits = Limits::usual(2, 128);
    let mut engine = Engine::new(parts, limits, Options::default()).expect("the limits are legal");
    for first in 0..4 {
        let stops = Stops { max_tokens: Some(40), ..Stops::default() };
        engine.submit(Request { stops, ..Request::new(vec![first]) }).expect("a good request");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("nothing fails here");
        let levels = engine.last_step().levels;
        println!("{} waiting, {levels} levels drafted", engine.n_waiting());
    }
    println!("{:.2} tokens per forward and sequence", engine.totals().mean_accepted_len());
}
