//! Policies that nobody vouches for, each on a thread of its own.

use crate::aside::Aside;
use echo_core::{Budget, Frontier, Gate, Keep, Load, Plan, Share, Solver, SuperTreeView, Token};
use std::cell::RefCell;
use std::mem::swap;
use std::time::Duration;

/// A gate on a thread of its own: one that never returns costs what one that panics does, and the
/// engine goes on without it.
///
/// A call copies the tree and wakes a thread, once for each level. Gates that can be trusted to
/// return are better called where they are.
pub struct IsolatedGate(RefCell<Aside<GateJob>>);

#[derive(Default)]
struct GateJob {
    tree: TreeCopy,
    load: Load,
    keep: Keep,
    /// Asks whether the gate looks at this depth; where `None`, to narrow.
    depth: Option<usize>,
    looks: bool,
}

impl IsolatedGate {
    /// Moves `gate` to a new thread. If a call has not come back after `time_max`, it panics, and
    /// so does every later one; the engine counts panics, and decodes plainly after three. A call
    /// that is merely late is judged by
    /// [`Options::policy_time_max`](crate::Options::policy_time_max), so `time_max` should be
    /// longer than that.
    pub fn new(gate: Box<dyn Gate>, time_max: Duration) -> Self {
        let work = move |job: &mut GateJob| match job.depth {
            Some(depth) => job.looks = gate.looks_at(depth),
            None => gate.narrow(job.tree.view().frontier(), job.load, &mut job.keep),
        };
        IsolatedGate(RefCell::new(Aside::new("gate", time_max, GateJob::default(), work)))
    }
}

impl Gate for IsolatedGate {
    fn looks_at(&self, depth: usize) -> bool {
        let mut aside = self.0.borrow_mut();
        aside.job().depth = Some(depth);
        aside.run().looks
    }

    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        let mut aside = self.0.borrow_mut();
        let job = aside.job();
        job.tree.copy(frontier.tree);
        (job.load, job.depth) = (load, None);
        swap(&mut job.keep, keep);
        swap(&mut aside.run().keep, keep);
    }
}

/// A solver on a thread of its own; see [`IsolatedGate`].
pub struct IsolatedSolver(Aside<SolverJob>);

#[derive(Default)]
struct SolverJob {
    tree: TreeCopy,
    rows: usize,
    tree_max: usize,
    load: Load,
    shares: Vec<Share>,
    plan: Plan,
}

impl IsolatedSolver {
    /// Moves `solver` to a new thread; as [`IsolatedGate::new`].
    pub fn new(mut solver: Box<dyn Solver>, time_max: Duration) -> Self {
        let work = move |job: &mut SolverJob| {
            let SolverJob { tree, rows, tree_max, load, shares, plan } = job;
            let budget = Budget { rows: *rows, tree_max: *tree_max, load: *load, shares };
            solver.choose(tree.view(), budget, plan);
        };
        IsolatedSolver(Aside::new("solver", time_max, SolverJob::default(), work))
    }
}

impl Solver for IsolatedSolver {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let job = self.0.job();
        job.tree.copy(tree);
        (job.rows, job.tree_max, job.load) = (budget.rows, budget.tree_max, budget.load);
        job.shares.clear();
        job.shares.extend_from_slice(budget.shares);
        swap(&mut job.plan, plan);
        swap(&mut self.0.run().plan, plan);
    }
}

/// A super-tree of one's own.
#[derive(Default)]
struct TreeCopy {
    parent: Vec<u32>,
    token: Vec<Token>,
    seq: Vec<u32>,
    score: Vec<f32>,
    level_start: Vec<u32>,
    passes: Vec<u32>,
}

impl TreeCopy {
    fn copy(&mut self, tree: SuperTreeView<'_>) {
        fn copy<T: Copy>(into: &mut Vec<T>, from: &[T]) {
            into.clear();
            into.extend_from_slice(from);
        }
        copy(&mut self.parent, tree.parent);
        copy(&mut self.token, tree.token);
        copy(&mut self.seq, tree.seq);
        copy(&mut self.score, tree.score);
        copy(&mut self.level_start, tree.level_start);
        copy(&mut self.passes, tree.passes);
    }

    fn view(&self) -> SuperTreeView<'_> {
        SuperTreeView {
            parent: &self.parent,
            token: &self.token,
            seq: &self.seq,
            score: &self.score,
            level_start: &self.level_start,
            passes: &self.passes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: SuperTreeView<'_> = SuperTreeView {
        parent: &[0, 1, 0, 0, 1],
        token: &[7, 8, 1, 2, 3],
        seq: &[0, 1, 0, 0, 1],
        score: &[0.0, 0.0, -0.5, -2.0, -1.0],
        level_start: &[0, 2, 5],
        passes: &[2],
    };
    const SOON: Duration = Duration::from_secs(60);

    fn load() -> Load {
        Load { n_seqs: 2, n_waiting: 3, accepted: Some(0.5), ..Load::default() }
    }

    /// Sees everything there is to see, and shows it in what it fills.
    struct Witness;

    impl Gate for Witness {
        fn looks_at(&self, depth: usize) -> bool {
            depth % 2 == 1
        }

        fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
            assert_eq!(format!("{:?}", frontier.tree), format!("{TREE:?}"));
            assert_eq!(load, self::load());
            keep.narrow(1, 0);
            keep.forgo_pass(2);
        }
    }

    impl Solver for Witness {
        fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
            assert_eq!(format!("{tree:?}"), format!("{TREE:?}"));
            assert_eq!((budget.rows, budget.tree_max, budget.load), (9, 8, load()));
            assert_eq!((budget.share(0), budget.share(1)), (Share::EVEN, SHARE));
            plan.keep(4);
        }
    }

    const SHARE: Share = Share { weight: 2.0, nodes_max: 3, waited: 1 };

    #[test]
    fn a_gate_sees_and_says_the_same_elsewhere() {
        let gate = IsolatedGate::new(Box::new(Witness), SOON);
        assert_eq!([0, 1, 2, 3].map(|depth| gate.looks_at(depth)), [false, true, false, true]);
        for _ in 0..3 {
            let mut keep = Keep::default();
            keep.reset(3);
            (0..3).for_each(|i| keep.open(i, 2));
            gate.narrow(TREE.frontier(), load(), &mut keep);
            assert_eq!(keep.as_slice(), [2, 0, 2]);
            assert_eq!([0, 1, 2].map(|i| keep.passes(i)), [true, false, false]);
        }
    }

    #[test]
    fn a_solver_sees_and_says_the_same_elsewhere() {
        let mut solver = IsolatedSolver::new(Box::new(Witness), SOON);
        let shares = [Share::EVEN, SHARE];
        let budget = Budget { rows: 9, tree_max: 8, load: load(), shares: &shares };
        for _ in 0..3 {
            let mut plan = Plan::default();
            plan.reset(5, 2);
            solver.choose(TREE, budget, &mut plan);
            assert_eq!(plan.iter().collect::<Vec<_>>(), [0, 1, 4]);
        }
    }
}
