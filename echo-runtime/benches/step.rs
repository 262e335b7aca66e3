//! Host cost of a whole step on the simulated pair: what the engine adds to a device's time.

#[path = "../tests/testkit/mod.rs"]
mod testkit;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use echo_budget::{TopN, TopNParams};
use echo_core::{Limits, Sampling};
use echo_gate::Always;
use echo_model::sim::{SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use std::sync::Arc;
use testkit::vocab::SmallVocab;

/// An engine with `seqs` sequences that never end.
fn engine(seqs: usize) -> Engine {
    let limits = Limits { seqs_max: seqs, ..Limits::usual(seqs, 512) };
    let law = SimLaw { seed: 1, vocab: 32, spread: 1.5, ties: 0.0 };
    let target = SimTarget::new(SimOptions {
        law,
        kv_slots: limits.kv_slots,
        rows_max: limits.rows_max,
        context_max: limits.context_max,
    });
    let draft = SimDraft { law, agreement: vec![0.7; 5], silence: 0.0, unruly: 0.0 };
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(SimDrafter::new(draft)),
        gate: Box::new(Always),
        solver: Box::new(TopN::new(TopNParams { n: 16 })),
        vocab: Arc::new(SmallVocab),
    };
    let mut engine = Engine::new(parts, limits, Options::default()).expect("the limits are legal");
    for seed in 0..seqs as u64 {
        let sampling = Sampling { temperature: 0.7, seed, ..Sampling::default() };
        let stops = Stops { ignore_eos: true, ..Stops::default() };
        engine.submit(Request { sampling, stops, ..Request::new(vec![3, 4, 5]) }).expect("room");
    }
    engine
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    for seqs in [1, 8, 64] {
        group.throughput(Throughput::Elements(seqs as u64));
        group.bench_function(BenchmarkId::from_parameter(seqs), |b| {
            let mut live = engine(seqs);
            let mut out = Output::default();
            b.iter(|| {
                if live.n_live() < seqs {
                    live = engine(seqs);
                }
                live.step(&mut out).expect("nothing fails here");
                out.clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, step);
criterion_main!(benches);
