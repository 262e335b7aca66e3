//! Cost of one draft level of the n-gram drafter, per node, on texts that repeat themselves.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use echo_core::{BatchView, Children, Drafter, Keep, Limits, SuperTreeView};
use echo_model::{NgramDrafter, NgramOptions};

/// Tokens of each text.
const LEN: usize = 500;

fn extend(c: &mut Criterion) {
    let mut group = c.benchmark_group("ngram/extend");
    for seqs in [1, 16, 64] {
        let limits = Limits::usual(seqs, LEN);
        // A phrase of 37 tokens again and again, with a slip now and then.
        let token = |i: usize| if i.is_multiple_of(101) { 999 } else { (i % 37) as u32 };
        let tokens: Vec<u32> = (0..seqs * LEN).map(token).collect();
        let counts = vec![LEN as u32; seqs];
        let batch = BatchView {
            tokens: &tokens,
            slots: &[],
            stride: LEN,
            n_tokens: &counts,
            n_cached: &vec![0; seqs],
            seed: &vec![0; seqs],
            temperature: &vec![0.0; seqs],
        };
        let place: Vec<u32> = (0..seqs as u32).collect();
        let last: Vec<u32> = (0..seqs).map(|s| tokens[(s + 1) * LEN - 1]).collect();
        let tree = SuperTreeView {
            parent: &place,
            token: &last,
            seq: &place,
            score: &vec![0.0; seqs],
            level_start: &[0, seqs as u32],
            passes: &[],
        };
        let mut keep = Keep::default();
        keep.reset(seqs);
        for root in 0..seqs {
            keep.open(root, 4);
        }
        let mut drafter = NgramDrafter::new(NgramOptions::usual(), &limits);
        let mut children = Children::default();
        let mut run = || {
            children.clear();
            drafter
                .extend(batch, tree.frontier(), &keep, &mut children)
                .expect("it needs no device");
            children.len()
        };
        // Checked before timed: a text that repeats itself has a continuation for each sequence.
        assert!(run() >= seqs);
        group.throughput(Throughput::Elements(seqs as u64));
        group.bench_function(BenchmarkId::from_parameter(seqs), |b| b.iter(&mut run));
    }
    group.finish();
}

criterion_group!(benches, extend);
criterion_main!(benches);
