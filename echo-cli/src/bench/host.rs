//! Layer 1: what a step's policies cost on the host, without a device.

use super::table;
use crate::known::Known;
use crate::registry;
use echo_core::sampling::philox;
use echo_core::{Budget, Children, Gate, Keep, Limits, Load, Plan, Solver};
use echo_runtime::Profile;
use echo_tree::{Packed, SeqRows, SuperTree, check_plan, open};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Candidates of one sequence: 4 + 4 levels of 15.
const CANDIDATES: usize = 64;
const RUNS: usize = 1000;
/// Solvers with the gates that go with them.
const POLICIES: [(&str, &str); 10] = [
    ("uniform", SPARSE),
    ("topn:32", SPARSE),
    ("opt-tree:32", "opt-tree:32"),
    ("talon:32", "talon:32"),
    ("tetris:3", SPARSE),
    ("dcut", SPARSE),
    ("ema", "ema"),
    ("echo", SPARSE),
    ("goodput", SPARSE),
    ("goodput+fair:16", SPARSE),
];
const SPARSE: &str = "sparse:1=0.05,4=0.001";

/// Times at one size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    solver: &'static str,
    seqs: usize,
    /// The gate, all its looks of a step together.
    gate: Percentiles,
    /// The solver's plan.
    plan: Percentiles,
    /// Both, with opening each level and laying the plan out as rows.
    with_engine: Percentiles,
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
        for (name, gate) in POLICIES {
            let (gate, mut solver) = policy(gate, name, &limits(seqs));
            let us: Vec<_> = (0..RUNS).map(|_| scene.run(gate.as_ref(), solver.as_mut())).collect();
            let [gate, plan, with_engine] =
                [0, 1, 2].map(|i| Percentiles::of(us.iter().map(|us| us[i]).collect()));
            all.push(Host { solver: name, seqs, gate, plan, with_engine });
        }
    }
    all
}

/// A gate and a solver by their names, on a table that bends at 64 rows.
fn policy(gate: &str, solver: &str, limits: &Limits) -> (Box<dyn Gate>, Box<dyn Solver>) {
    let point = |rows, us| Profile { rows, kv_len: 64, time: Duration::from_micros(us) };
    let known = Known::new(&[point(64, 1000), point(65, 1002)], &[], &[], None).expect("times");
    let gate = registry::gate(gate, Some(&known)).expect("a known name");
    (gate, registry::solver(solver, limits, Some(&known)).expect("a known name"))
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
        Scene {
            keep,
            plan: Plan::with_capacity(limits.nodes_max()),
            packed: Packed::new(&limits),
            budget: Budget { rows, tree_max: CANDIDATES, load, shares: &[] },
            depth_cap,
            slots: (64..limits.kv_slots as u32).collect(),
            tree,
        }
    }

    /// Microseconds of the gate's looks, of one plan, and of both with opening the levels and one
    /// pack.
    fn run(&mut self, gate: &dyn Gate, solver: &mut dyn Solver) -> [f64; 3] {
        let tree = self.tree.view();
        let start = Instant::now();
        let mut looks = Duration::ZERO;
        for depth in 0..tree.levels() - 1 {
            let frontier = tree.up_to(depth).frontier();
            open(frontier, 4, 4, &self.depth_cap, &mut self.keep);
            if gate.looks_at(depth) {
                let asked = Instant::now();
                gate.narrow(frontier, self.budget.load, &mut self.keep);
                looks += asked.elapsed();
            }
        }
        self.plan.reset(tree.len(), tree.roots());
        let asked = Instant::now();
        solver.choose(tree, self.budget, &mut self.plan);
        let plan = asked.elapsed();
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
        let us = [looks, plan, start.elapsed()].map(|time| time.as_secs_f64() * 1e6);
        assert_eq!(check_plan(tree, &self.budget, &self.plan), Ok(()), "checked before it counts");
        us
    }
}

/// Prints the times.
pub(crate) fn print(host: &[Host]) {
    println!(
        "\nhost: gate, solver, and both with opening levels and pack, in µs, {CANDIDATES} \
         candidates per request\n"
    );
    let cells = |h: &Host| {
        let names = [h.solver.to_owned(), h.seqs.to_string()];
        let times = [h.gate, h.plan, h.with_engine].map(|of| [of.p50_us, of.p99_us]);
        names.into_iter().chain(times.concat().iter().map(|us| format!("{us:.1}"))).collect()
    };
    let rows = host.iter().map(cells).collect::<Vec<_>>();
    let head =
        ["solver", "requests", "gate p50", "p99", "solver p50", "p99", "with engine p50", "p99"];
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
