//! The simplest solver: nodes in order while the budget lasts. Tests that are not about policies
//! use it.

use echo_core::{Budget, Plan, Solver, SuperTreeView};

pub(crate) struct Greedy;

impl Solver for Greedy {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let mut drafted = [0; 64];
        for n in tree.roots()..tree.len() {
            let drafted = &mut drafted[tree.seq[n] as usize];
            let fits = plan.len() < budget.rows && *drafted < budget.tree_max;
            if fits && plan.contains(tree.parent[n] as usize) {
                plan.keep(n);
                *drafted += 1;
            }
        }
    }
}
