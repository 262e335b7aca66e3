//! Growing, packing and walking batches of 64 drafted nodes per sequence, with 256 cached tokens.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use echo_core::{Children, Keep, Limits, Plan, Slot, Verdicts};
use echo_tree::{Packed, Paths, SeqRows, SuperTree, accept, check_plan, open};
use std::hint::black_box;
use std::time::Duration;

/// Levels of 4, 16, 16, 16 and 12 nodes: 64 per sequence.
const BEAMS: [usize; 5] = [1, 4, 4, 4, 3];
const KV_LEN: usize = 256;

fn limits(n_seqs: usize) -> Limits {
    Limits {
        seqs_max: n_seqs,
        rows_max: n_seqs * 65,
        depth_max: BEAMS.len(),
        width_max: 4,
        beam_max: 4,
        tree_max: 64,
        context_max: KV_LEN + 8,
        kv_slots: n_seqs * (KV_LEN + 72),
        logprobs_max: 0,
    }
}

/// What a drafter proposes for the frontier; worst first, so that sorting has work to do.
fn propose(tree: &SuperTree, children: &mut Children) {
    children.clear();
    for n in tree.view().frontier().nodes() {
        let noise = (n * 2_654_435_761 % 97) as f32 / 97.0;
        (0..4).for_each(|rank| children.push(n, rank, rank as f32 - 4.0 - noise));
    }
}

fn grow(tree: &mut SuperTree, n_seqs: usize, keep: &mut Keep, children: &mut Children) {
    tree.plant((0..n_seqs as u32).map(|seq| (seq, 7)));
    for beam in BEAMS {
        open(tree.view().frontier(), 4, beam, &[99; 256][..n_seqs], keep);
        propose(tree, children);
        tree.push_level(keep, children);
    }
}

fn pack(packed: &mut Packed, tree: &SuperTree, plan: &Plan, slots: &[Slot]) {
    let tree = tree.view();
    packed.begin(tree);
    for &seq in &tree.seq[..tree.roots()] {
        let cached = &slots[..KV_LEN];
        packed.push_seq(
            tree,
            plan,
            SeqRows { seq, cached, context: &[], root: true, scored: false, slots },
        );
    }
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("tree");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    for n_seqs in [1, 8, 64, 256] {
        group.throughput(Throughput::Elements(64 * n_seqs as u64));
        let limits = limits(n_seqs);
        let mut tree = SuperTree::new(&limits);
        let (mut keep, mut children) = (Keep::default(), Children::default());
        grow(&mut tree, n_seqs, &mut keep, &mut children);
        assert_eq!(tree.view().len(), 65 * n_seqs);
        group.bench_function(BenchmarkId::new("grow", n_seqs), |b| {
            b.iter(|| grow(&mut tree, n_seqs, &mut keep, &mut children));
        });

        let mut plan = Plan::default();
        plan.reset(tree.view().len(), tree.view().len());
        let load = echo_core::Load::default();
        let budget = echo_core::Budget { rows: 65 * n_seqs, tree_max: 64, load, shares: &[] };
        assert_eq!(check_plan(tree.view(), &budget, &plan), Ok(()));
        group.bench_function(BenchmarkId::new("check", n_seqs), |b| {
            b.iter(|| check_plan(black_box(tree.view()), &budget, &plan));
        });

        let mut packed = Packed::new(&limits);
        let slots: Vec<Slot> = (0..512).collect();
        pack(&mut packed, &tree, &plan, &slots);
        assert_eq!(packed.view().rows(), 65 * n_seqs);
        group.bench_function(BenchmarkId::new("pack", n_seqs), |b| {
            b.iter(|| pack(&mut packed, &tree, &plan, &slots));
        });

        // Token 3 ranks first everywhere, so every walk reaches the deepest level.
        let mut verdicts = Verdicts::default();
        verdicts.reset(packed.view().sampled.len());
        verdicts.token.fill(3);
        let mut paths = Paths::new(&limits);
        accept(tree.view(), &packed, &verdicts, &mut paths);
        assert_eq!(paths.rows(n_seqs - 1).len(), 1 + BEAMS.len());
        group.bench_function(BenchmarkId::new("accept", n_seqs), |b| {
            b.iter(|| accept(tree.view(), &packed, &verdicts, &mut paths));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
