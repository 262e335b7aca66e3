//! Gate, solver and pack on drafted batches of 64 candidates per sequence.
//!
//! Every plan is checked before it is timed. Criterion gives means; a loop beside it prints median
//! and 99th percentile, since the aim is about the tail: at most 50 us per solver on one core with
//! 256 sequences.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use echo_budget::{
    Between, CostTable, DCut, DCutParams, Echo, EchoParams, Ema, EmaParams, Goodput, GoodputParams,
    OptTree, OptTreeParams, Sample, Survival, Talon, TalonParams, Tetris, TetrisParams, TopN,
    TopNParams, Uniform, Width,
};
use echo_core::{Budget, Children, Gate, Keep, Limits, Load, Plan, Slot, Solver};
use echo_gate::{Sparse, SparseParams, Threshold};
use echo_tree::{Packed, SeqRows, SuperTree, check_plan, drafted_of, open};
use std::hint::black_box;
use std::time::{Duration, Instant};

const BATCHES: [usize; 4] = [1, 8, 64, 256];
/// Drafted rows per sequence that the budget has, on average: tight, and roomy.
const SHARES: [usize; 2] = [3, 15];
const KV_LEN: usize = 256;

/// Levels of 4, 16, 16, 16 and 12 nodes: 64 candidates per sequence.
const BEAMS: [usize; 5] = [1, 4, 4, 4, 3];

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

/// A draft whose sequences are unequally sure, from a small generator with a fixed seed.
fn drafted(n_seqs: usize) -> SuperTree {
    let mut tree = SuperTree::new(&limits(n_seqs));
    tree.plant((0..n_seqs as u32).map(|seq| (seq, 7)));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let sureness: Vec<f32> = (0..n_seqs).map(|_| 0.2 + 3.0 * unit()).collect();
    let mut keep = Keep::default();
    let mut children = Children::default();
    for beam in BEAMS {
        let view = tree.view();
        open(view.frontier(), 4, beam, &vec![99; n_seqs], &mut keep);
        children.clear();
        for n in view.frontier().nodes() {
            let sure = sureness[view.seq[n] as usize];
            (0..4).for_each(|rank| {
                children.push(n, rank, -(rank as f32 + unit()) * sure);
            });
        }
        tree.push_level(&keep, &children);
    }
    assert_eq!(tree.view().len(), 65 * n_seqs);
    tree
}

fn solvers() -> Vec<(&'static str, Box<dyn Solver>)> {
    let width = Width::Ratio { mu: 0.03, most: 4 };
    let echo = Echo::new(EchoParams { seed: 2, width }).unwrap();
    let opt_tree = OptTree::new(OptTreeParams { n: 32, delta: 0.0 }).unwrap();
    let talon = Talon::new(TalonParams { n: 32, mu: 0.03 }).unwrap();
    let ema = Ema::new(EmaParams { ladders: vec![(1, vec![3])] }).unwrap();
    let dcut = DCut::new(DCutParams { cost: cost(Between::Linear) });
    vec![
        ("uniform", Box::new(Uniform::default())),
        ("topn", Box::new(TopN::new(TopNParams { n: 32 }))),
        ("opt-tree", Box::new(opt_tree)),
        ("talon", Box::new(talon)),
        ("tetris", Box::new(Tetris::new(TetrisParams { k: 3, seqs_min: 1 }))),
        ("dcut", Box::new(dcut)),
        ("ema", Box::new(ema)),
        ("echo", Box::new(echo)),
        ("goodput-step", Box::new(goodput(Between::Step))),
        ("goodput-linear", Box::new(goodput(Between::Linear))),
    ]
}

fn goodput(between: Between) -> Goodput {
    Goodput::new(GoodputParams { cost: cost(between), survival: Survival::identity() })
}

/// Twelve measured sizes at two KV lengths. Rows are cheap, so that most of the budget is used.
fn cost(between: Between) -> CostTable {
    let sizes = (0..12).map(|i| 1_usize << i);
    let time = |rows: usize, kv_len: usize| 5_000.0 + 0.5 * rows as f64 + 0.1 * kv_len as f64;
    let verify: Vec<Sample> = sizes
        .flat_map(|rows| [(rows, 128), (rows, 1024)])
        .map(|(rows, kv_len)| Sample { rows, kv_len, us: time(rows, kv_len) })
        .collect();
    CostTable::from_samples(&verify, &[], 100.0, between).unwrap()
}

fn budget(n_seqs: usize, share: usize) -> Budget<'static> {
    let load = Load { n_seqs, kv_len: KV_LEN, ..Load::default() };
    Budget { rows: n_seqs * (1 + share), tree_max: 64, load, shares: &[] }
}

fn choose(solver: &mut dyn Solver, tree: &SuperTree, budget: Budget<'_>, plan: &mut Plan) {
    plan.reset(tree.view().len(), tree.view().roots());
    solver.choose(black_box(tree.view()), budget, plan);
    black_box(plan);
}

/// Packs the plan; every sequence holds `KV_LEN` cached tokens.
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
    black_box(packed.view());
}

fn sparse() -> Sparse {
    let thresholds = vec![Threshold { depth: 1, tau: 0.3 }, Threshold { depth: 5, tau: 0.05 }];
    Sparse::new(SparseParams { thresholds }).unwrap()
}

/// Prints the least, median and 99th percentile of `runs` calls; on a busy machine the least says
/// more about the code and the tail more about the neighbours.
fn percentiles(what: &str, n_seqs: usize, runs: usize, mut call: impl FnMut()) {
    (0..runs / 10).for_each(|_| call());
    let mut times: Vec<Duration> = Vec::with_capacity(runs);
    for _ in 0..runs {
        let start = Instant::now();
        call();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let us = |d: Duration| d.as_secs_f64() * 1e6;
    let [least, p50, p99] = [0, runs / 2, runs * 99 / 100].map(|i| us(times[i]));
    println!("{what:>21} x {n_seqs:<4} min {least:8.2} us   p50 {p50:8.2} us   p99 {p99:8.2} us");
}

fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("solve");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(300));
    group.measurement_time(Duration::from_secs(1));
    for n_seqs in BATCHES {
        let tree = drafted(n_seqs);
        let mut plan = Plan::default();
        let budget = budget(n_seqs, SHARES[0]);
        for (name, mut solver) in solvers() {
            let roomy = self::budget(n_seqs, SHARES[1]);
            let what = format!("{name}, roomy");
            percentiles(&what, n_seqs, 4000, || choose(&mut *solver, &tree, roomy, &mut plan));
        }
        for (name, mut solver) in solvers() {
            choose(&mut *solver, &tree, budget, &mut plan);
            assert_eq!(check_plan(tree.view(), &budget, &plan), Ok(()));
            assert!(plan.len() > 2 * n_seqs, "{name} keeps too little to be timed");
            percentiles(name, n_seqs, 4000, || choose(&mut *solver, &tree, budget, &mut plan));
            group.bench_function(BenchmarkId::new(name, n_seqs), |b| {
                b.iter(|| choose(&mut *solver, &tree, budget, &mut plan));
            });
        }
        let (gate, frontier) = (sparse(), tree.view().frontier());
        let (mut keep, cap) = (Keep::default(), vec![99; n_seqs]);
        let mut look = || {
            open(frontier, 4, 4, &cap, &mut keep);
            gate.narrow(frontier, budget.load, &mut keep);
        };
        percentiles("open + gate", n_seqs, 4000, &mut look);
        group.bench_function(BenchmarkId::new("open + gate", n_seqs), |b| b.iter(&mut look));
        let slots: Vec<Slot> = (0..512).collect();
        let mut packed = Packed::new(&limits(n_seqs));
        let mut lay = || pack(&mut packed, &tree, &plan, &slots);
        percentiles("pack", n_seqs, 4000, &mut lay);
        group.bench_function(BenchmarkId::new("pack", n_seqs), |b| b.iter(&mut lay));
        let seq = tree.view().seq[0];
        assert!(packed.view().drafted(0).len() == drafted_of(tree.view(), &plan, seq));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
