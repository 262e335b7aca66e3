//! Write a solver, and hold it to the rules of a legal plan.

use echo_core::{Budget, Load, Plan, Solver, SuperTreeView};
use echo_tree::{Drawing, check_plan, draw};

/// Deepest first: follows each sequence's best path down before anything else.
struct Greedy;

impl Solver for Greedy {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        // Siblings stand best first and parents before children, so a node is on its sequence's
        // best path if its parent is and no sibling came before it.
        for n in tree.roots()..tree.len() {
            let parent = tree.parent[n];
            let is_first = tree.parent[n - 1] != parent || n == tree.roots();
            let depth = (1..tree.levels()).take_while(|&d| tree.level(d).start <= n).count();
            let fits = plan.len() < budget.rows && depth <= budget.tree_max;
            if is_first && fits && plan.contains(parent as usize) {
                plan.keep(n);
            }
        }
    }
}

fn main() {
    let drawing = Drawing::parse(
        "
        seq 0: 7
          11 -0.2
            12 -0.5
            13 -2.1
          14 -1.9
        seq 1: 8
          15 -0.9
            16 -1.0",
    )
    .expect("it is well drawn");
    let tree = drawing.tree.view();
    for rows in 2..=6 {
        let load = Load { n_seqs: 2, ..Load::default() };
        let budget = Budget { rows, tree_max: 8, load, shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        Greedy.choose(tree, budget, &mut plan);
        assert_eq!(check_plan(tree, &budget, &plan), Ok(()));
        println!("budget {rows}:\n{}", draw(tree, Some(&plan), None));
    }
}
