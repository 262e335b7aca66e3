//! The rules of a legal plan, checked without trust in the solver that made it.

use echo_core::{Budget, Plan, SuperTreeView};
use std::fmt;

/// The first rule that a plan breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanFault {
    /// The plan covers another number of nodes than the tree has.
    Coverage {
        /// Nodes the plan covers.
        plan: usize,
        /// Nodes of the tree.
        tree: usize,
    },
    /// This root is not kept.
    RootDropped(usize),
    /// This node is kept without its parent.
    Orphan(usize),
    /// More rows are kept than the budget allows.
    OverBudget {
        /// Nodes kept, roots included.
        rows: usize,
        /// [`Budget::rows`].
        budget: usize,
    },
    /// One sequence keeps more drafted nodes than the budget allows.
    OverTree {
        /// Its root.
        root: usize,
        /// Drafted nodes it keeps.
        nodes: usize,
        /// [`Budget::tree_max`].
        tree_max: usize,
    },
}

impl fmt::Display for PlanFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanFault::Coverage { plan, tree } => {
                write!(f, "plan covers {plan} nodes of a tree with {tree}")
            }
            PlanFault::RootDropped(n) => write!(f, "plan drops root {n}"),
            PlanFault::Orphan(n) => write!(f, "plan keeps node {n} without its parent"),
            PlanFault::OverBudget { rows, budget } => {
                write!(f, "plan keeps {rows} rows, budget is {budget}")
            }
            PlanFault::OverTree { root, nodes, tree_max } => write!(
                f,
                "plan keeps {nodes} drafted nodes under root {root}, at most {tree_max} may be"
            ),
        }
    }
}

impl std::error::Error for PlanFault {}

/// Whether `plan` is legal for `tree` under `budget`: see [`Plan`]. Allocates nothing.
pub fn check_plan(
    tree: SuperTreeView<'_>,
    budget: &Budget<'_>,
    plan: &Plan,
) -> Result<(), PlanFault> {
    if plan.nodes() != tree.len() {
        return Err(PlanFault::Coverage { plan: plan.nodes(), tree: tree.len() });
    }
    if let Some(root) = tree.level(0).find(|&n| !plan.contains(n)) {
        return Err(PlanFault::RootDropped(root));
    }
    let orphan = |&n: &usize| !plan.contains(tree.parent[n] as usize);
    if let Some(node) = plan.iter().find(orphan) {
        return Err(PlanFault::Orphan(node));
    }
    // Counted anew: the plan's own count is part of what is checked.
    let rows = plan.iter().count();
    if rows > budget.rows {
        return Err(PlanFault::OverBudget { rows, budget: budget.rows });
    }
    let mut drafted = (0..tree.roots()).step_by(AT_ONCE).flat_map(|first| {
        let counts = drafted_from(tree, plan, first);
        (first..tree.roots()).zip(counts)
    });
    match drafted.find(|&(_, nodes)| nodes > budget.tree_max) {
        Some((root, nodes)) => Err(PlanFault::OverTree { root, nodes, tree_max: budget.tree_max }),
        None => Ok(()),
    }
}

/// Sequences counted in one walk.
const AT_ONCE: usize = 64;

/// How many drafted nodes the plan keeps of the sequence of root `first` and those of the next.
fn drafted_from(tree: SuperTreeView<'_>, plan: &Plan, first: usize) -> [usize; AT_ONCE] {
    let mut counts = [0; AT_ONCE];
    let roots = first..tree.roots().min(first + AT_ONCE);
    for depth in 1..tree.levels() {
        for (count, nodes) in counts.iter_mut().zip(tree.families_of(depth, roots.clone())) {
            *count += plan.count(nodes);
        }
    }
    counts
}

/// How many drafted nodes of `seq` the plan keeps: the slots its drafted rows need.
pub fn drafted_of(tree: SuperTreeView<'_>, plan: &Plan, seq: u32) -> usize {
    (1..tree.levels()).map(|depth| plan.count(tree.family(depth, seq))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Drawing;
    use echo_core::Load;

    fn check(rows: usize, tree_max: usize, change: impl Fn(&mut Plan)) -> Result<(), PlanFault> {
        let text = "
            seq 0: 7 *
              1 -0.5 *
                2 -1 *
              3 -2
            seq 1: 8 *
              4 -1 *";
        let mut drawing = Drawing::parse(text).unwrap();
        change(&mut drawing.plan);
        let budget = Budget { rows, tree_max, load: Load::default(), shares: &[] };
        check_plan(drawing.tree.view(), &budget, &drawing.plan)
    }

    #[test]
    fn each_broken_rule_is_named() {
        // Nodes in level order: 0, 1 roots; 2, 3 under 0; 4 under 1; 5 under 2.
        assert_eq!(check(5, 2, |_| ()), Ok(()));
        assert_eq!(check(4, 2, |_| ()), Err(PlanFault::OverBudget { rows: 5, budget: 4 }));
        let over = PlanFault::OverTree { root: 0, nodes: 2, tree_max: 1 };
        assert_eq!(check(5, 1, |_| ()), Err(over));
        assert_eq!(check(9, 9, |p| p.remove(2)), Err(PlanFault::Orphan(5)));
        assert_eq!(check(9, 9, |p| p.remove(1)), Err(PlanFault::RootDropped(1)));
        let coverage = PlanFault::Coverage { plan: 3, tree: 6 };
        assert_eq!(check(9, 9, |p| p.reset(3, 2)), Err(coverage));
    }
}
