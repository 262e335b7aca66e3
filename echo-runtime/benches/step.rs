//! Host cost of a whole step: everything but the models. Target and drafter answer at once and
//! always agree on the likeliest token.

#[path = "../tests/testkit/mod.rs"]
mod testkit;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use echo_budget::{TopN, TopNParams};
use echo_core::port::{Children, TargetShape};
use echo_core::sampling::SampleView;
use echo_core::{
    BatchView, DeviceError, Drafter, Frontier, Keep, Limits, PackedView, Settled, Target, Token,
    Verdicts,
};
use echo_gate::Always;
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use std::sync::Arc;
use testkit::vocab::SmallVocab;

const VOCAB: u32 = 32;

fn after(token: Token) -> Token {
    (token + 1) % VOCAB
}

/// Commits the token that follows, for nothing.
struct Counts(TargetShape);

impl Target for Counts {
    fn shape(&self) -> TargetShape {
        self.0
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        _sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        verdicts.reset(packed.sampled.len());
        for (verdict, &row) in verdicts.token.iter_mut().zip(packed.sampled) {
            *verdict = after(packed.token[row as usize]);
        }
        Ok(())
    }
}

/// Proposes the token that follows first, and three others.
struct Guesses;

impl Drafter for Guesses {
    fn settle(&mut self, _settled: Settled<'_>) {}

    fn extend(
        &mut self,
        _batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        for (i, node) in frontier.nodes().enumerate() {
            for child in 0..keep.children(i) {
                let token = (after(frontier.tree.token[node]) + child) % VOCAB;
                children.push(node, token, -0.1 - child as f32);
            }
        }
        Ok(())
    }

    fn forget(&mut self, _seq: u32) {}
}

/// An engine with `seqs` sequences that draft 4 levels of 4 nodes and more.
fn engine(seqs: usize) -> Engine {
    let limits = Limits { seqs_max: seqs, ..Limits::usual(seqs, 512) };
    let shape = TargetShape {
        vocab: VOCAB as usize,
        context_max: limits.context_max,
        kv_slots: limits.kv_slots,
        rows_max: limits.rows_max,
        seqs_max: seqs,
    };
    let parts = Parts {
        target: Box::new(Counts(shape)),
        drafter: Box::new(Guesses),
        gate: Box::new(Always),
        solver: Box::new(TopN::new(TopNParams { n: 16 })),
        vocab: Arc::new(SmallVocab),
    };
    let mut engine = Engine::new(parts, limits, Options::default()).expect("the limits are legal");
    for _ in 0..seqs {
        let stops = Stops { ignore_eos: true, ..Stops::default() };
        engine.submit(Request { stops, ..Request::new(vec![3, 4, 5]) }).expect("room");
    }
    engine
}

fn step(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    for seqs in [1, 8, 64, 256] {
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
