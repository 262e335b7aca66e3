//! Layer 1: what gate, solver and pack cost on the host, without a device.

use super::table;
use crate::known::Known;
use crate::registry;
use echo_core::sampling::philox;
use echo_core::{Budget, Children, Gate, Keep, Limits, Load, Plan, Solver};
use echo_gate::{Sparse, SparseParams, Threshold};
use echo_runtime::Profile;
use echo_tree::{Packed, SeqRows, SuperTree, check_plan, open};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Candidates of one sequence: 4 + 4 levels of 15.
const CANDIDATES: usize = 64;
const RUNS: usize = 1000;
const SOLVERS: [&str; 10] = [
    "uniform",
    "topn:32",
    "opt-tree:32",
    "talon:32",
    "tetris:3",
    "dcut",
    "ema",
    "echo",
    "goodput",
    "goodput+fair:16",
];

/// Times at one size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    solver: &'static str,
    seqs: usize,
    /// Gate and solver.
    policy: Percentiles,
    /// Laying the plan out as rows, too.
    with_pack: Percentiles,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50_us: f64,
    p99_us: f64,
}

impl Percentiles {
    fn of(mut us: Vec<f64>) -> Self {
        us.sort_by(f64::total_cmp);
        Percentiles { p50_us: us[us.len() / 2], p99_us: us[us.len() * 99 / 100] }
    }
}

/// Measures every solver at 1 to 256 sequences.
pub(crate) fn measure() -> Vec<Host> {
    let mut all = Vec::new();
    for seqs in [1, 8, 64, 256] {
        let mut scene = Scene::new(seqs);
        for name in SOLVERS {
            let mut solver = solver(name, &limits(seqs));
            let (policy, with_pack) = (0..RUNS).map(|_| scene.run(solver.as_mut())).unzip();
            let (policy, with_pack) = (Percentiles::of(policy), Percentiles::of(with_pack));
            all.push(Host { solver: name, seqs, policy, with_pack });
        }
    }
    all
}

/// A solver by its name, on a table that bends at 64 rows.
fn solver(name: &str, limits: &Limits) -> Box<dyn Solver> {
    let point = |rows, us| Profile { rows, kv_len: 64, time: Duration::from_micros(us) };
    let known = Known::new(&[point(64, 1000), point(65, 1002)], &[], &[], None).expect("times");
    registry::solver(name, limits, Some(&known)).expect("a known name")
}

fn limits(seqs: usize) -> Limits {
    Limits {
        seqs_max: seqs,
        rows_max: seqs * (CANDIDATES + 1),
        depth_max: 5,
        width_max: 4,
        beam_max: 4,
        tree_max: CANDIDATES,
        context_max: 64,
        kv_slots: seqs * (CANDIDATES + 1) + 64,
        logprobs_max: 0,
    }
}

/// A drafted super-tree and the buffers of a step.
struct Scene {
    tree: SuperTree,
    gate: Sparse,
    keep: Keep,
    plan: Plan,
    packed: Packed,
    budget: Budget<'static>,
    depth_cap: Vec<u32>,
    slots: Vec<u32>,
}

impl Scene {
    fn new(seqs: usize) -> Self {
        let limits = limits(seqs);
        let mut tree = SuperTree::new(&limits);
        tree.plant((0..seqs as u32).map(|seq| (seq, 0)));
        let (mut keep, mut children) = (Keep::default(), Children::default());
        let depth_cap = vec![5; seqs];
        for depth in 0..5 {
            let frontier = tree.view().frontier();
            open(frontier, 4, 4, &depth_cap, &mut keep);
            children.clear();
            for node in frontier.nodes() {
                // Four levels of 15 below the first: the last node of each beam has three children.
                let most = if depth > 0 { 15 } else { 4 };
                let owned = children
                    .parent
                    .iter()
                    .filter(|&&p| tree.view().seq[p as usize] == tree.view().seq[node])
                    .count();
                let open = keep.children(node - frontier.nodes().start) as usize;
                for child in 0..open.min(most - owned.min(most)) {
                    let bits = philox([node as u32, child as u32, depth, 0], [7, 7])[0];
                    let log_prob = (f64::from(bits) + 1.0).ln() - f64::from(u32::MAX).ln();
                    children.push(node, child as u32, (0.7 * log_prob) as f32);
                }
            }
            tree.push_level(&keep, &children);
        }
        let rows = 4 * seqs;
        let load = Load { n_seqs: seqs, rows_free: rows, kv_len: 64, ..Load::default() };
        let thresholds = vec![Threshold { depth: 5, tau: 0.05 }];
        Scene {
            gate: Sparse::new(SparseParams { thresholds }).expect("in range"),
            keep,
            plan: Plan::with_capacity(limits.nodes_max()),
            packed: Packed::new(&limits),
            budget: Budget { rows, tree_max: CANDIDATES, load, shares: &[] },
            depth_cap,
            slots: (64..limits.kv_slots as u32).collect(),
            tree,
        }
    }

    /// Microseconds of one look of the gate and one plan, and of that with one pack.
    fn run(&mut self, solver: &mut dyn Solver) -> (f64, f64) {
        let tree = self.tree.view();
        let start = Instant::now();
        open(tree.frontier(), 4, 4, &self.depth_cap, &mut self.keep);
        self.gate.narrow(tree.frontier(), self.budget.load, &mut self.keep);
        self.plan.reset(tree.len(), tree.roots());
        solver.choose(tree, self.budget, &mut self.plan);
        let planned = start.elapsed();
        self.packed.begin(tree);
        let mut used = 0;
        for seq in 0..tree.roots() as u32 {
            let rows = SeqRows {
                seq,
                cached: &[],
                context: &[],
                root: true,
                scored: false,
                slots: &self.slots[used..],
            };
            used += self.packed.push_seq(tree, &self.plan, rows);
        }
        let us = [planned, start.elapsed()].map(|time| time.as_secs_f64() * 1e6);
        assert_eq!(check_plan(tree, &self.budget, &self.plan), Ok(()), "checked before it counts");
        us.into()
    }
}

/// Prints the times.
pub(crate) fn print(host: &[Host]) {
    println!("\nhost: gate and solver, and with pack, {CANDIDATES} candidates per request\n");
    let cells = |h: &Host| {
        let times = [h.policy.p50_us, h.policy.p99_us, h.with_pack.p50_us, h.with_pack.p99_us];
        let names = [h.solver.to_owned(), h.seqs.to_string()];
        names.into_iter().chain(times.map(|us| format!("{us:.1}"))).collect()
    };
    let rows = host.iter().map(cells).collect::<Vec<_>>();
    let head = ["solver", "requests", "p50 µs", "p99 µs", "packed p50", "packed p99"];
    table::print(&head, &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scene_has_the_candidates_it_claims() {
        let scene = Scene::new(8);
        assert_eq!(scene.tree.view().len(), 8 * (CANDIDATES + 1));
    }
}
