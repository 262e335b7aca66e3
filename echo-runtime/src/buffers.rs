//! What the stages of a step fill: one buffer each, sized once.

use crate::commit::Ledger;
use crate::guarded::GuardedSolver;
use crate::schedule::Schedule;
use crate::specs::Specs;
use echo_core::{Budget, Children, Keep, Limits, Load, Plan, Share, Solver, Token, Verdicts};
use echo_tree::{Packed, Paths, SuperTree};

/// The buffers of a step, one per stage, sized once.
pub(crate) struct Buffers {
    pub(crate) schedule: Schedule,
    pub(crate) tree: SuperTree,
    pub(crate) keep: Keep,
    pub(crate) children: Children,
    pub(crate) plan: Plan,
    pub(crate) packed: Packed,
    pub(crate) specs: Specs,
    pub(crate) verdicts: Verdicts,
    pub(crate) paths: Paths,
    pub(crate) ledger: Ledger,
}

impl Buffers {
    pub(crate) fn new(limits: &Limits) -> Self {
        let nodes = limits.nodes_max();
        Buffers {
            schedule: Schedule::new(limits),
            tree: SuperTree::new(limits),
            keep: Keep::with_capacity(nodes),
            children: Children::with_capacity(nodes),
            plan: Plan::with_capacity(nodes),
            packed: Packed::new(limits),
            specs: Specs::new(limits),
            verdicts: Verdicts::with_capacity(limits.rows_max, limits.logprobs_max),
            paths: Paths::new(limits),
            ledger: Ledger::new(limits),
        }
    }

    /// Shows `solver` the largest tree there can be, so that it takes its scratch now.
    pub(crate) fn prime(&mut self, solver: &mut GuardedSolver, limits: &Limits) {
        // A fault of the policies before is none of theirs.
        solver.forgive();
        let Buffers { tree, keep, children, plan, .. } = self;
        tree.plant((0..limits.seqs_max as u32).map(|seq| (seq, 0)));
        for _ in 0..limits.depth_max {
            let nodes = tree.view().frontier().nodes();
            keep.reset(nodes.len());
            children.clear();
            for node in nodes.clone() {
                keep.open(node - nodes.start, limits.width_max as u32);
                for token in 0..limits.width_max {
                    children.push(node, token as Token, -1.0);
                }
            }
            tree.push_level(keep, children);
        }
        let load = Load { n_seqs: limits.seqs_max, ..Load::default() };
        // Even shares, then weights and rows owed, then caps: each needs scratch of its own.
        let heavy = Share { weight: 2.0, waited: usize::MAX - 1, ..Share::EVEN };
        let capped = Share { nodes_max: limits.tree_max.saturating_sub(1), ..Share::EVEN };
        for share in [Share::EVEN, heavy, capped] {
            let mut shares = vec![share; limits.seqs_max];
            shares[0].weight = 1.0;
            let tree_max = limits.tree_max;
            let budget = Budget { rows: limits.rows_max, tree_max, load, shares: &shares };
            plan.reset(tree.view().len(), limits.seqs_max);
            solver.choose(tree.view(), budget, plan);
        }
        solver.forgive();
        self.forget_round();
    }

    /// Nothing was drafted, verified or accepted.
    pub(crate) fn forget_round(&mut self) {
        self.tree.plant(std::iter::empty());
        self.plan.reset(0, 0);
        self.packed.begin(self.tree.view());
        self.paths.clear();
    }
}
