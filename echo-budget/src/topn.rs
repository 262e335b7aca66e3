//! The best `n` nodes of each sequence, then the best of those over the batch.
//!
//! The first half is EAGLE-2's rerank (`keep := n best of the pool by S`), which knows one sequence
//! and a fixed `n`. The second half is what a shared budget adds: where the batch's `n · R` nodes
//! don't fit, the surest paths of all sequences win. Since a child never ranks above its parent,
//! both choices are closed under parent by themselves.
//!
//! At zero load each sequence gets its `n` nodes; at overload the best paths of the batch share
//! what is left, and unsure sequences get their root alone. Rows are spent as long as nodes are
//! left, paid for or not: see [`Goodput`](crate::Goodput).

use crate::ranking::{Ranking, node};
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// The size of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopNParams {
    /// Drafted nodes of one sequence at most; 60 in EAGLE-3's usual setting.
    pub n: usize,
}

/// The best `n` of each sequence, then of the batch. See the module.
#[derive(Clone, Debug)]
pub struct TopN {
    params: TopNParams,
    ranking: Ranking,
}

impl TopN {
    /// Any `n` will do; 0 keeps the roots alone.
    pub fn new(params: TopNParams) -> Self {
        TopN { params, ranking: Ranking::default() }
    }
}

impl Solver for TopN {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let most = self.params.n.min(budget.tree_max);
        self.ranking.read(tree);
        let free = budget.rows.saturating_sub(tree.roots());
        for &key in &*self.ranking.best_within(tree, free, |_| most) {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(n: usize, rows: usize, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        TopN::new(TopNParams { n }).choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    #[test]
    fn each_tree_is_cut_then_the_batch() {
        let roomy = "
            seq 0: 1 *
              2 -0.5 *
                3 -0.75 *
              4 -1
            seq 1: 5 *
              6 -2 *
                7 -4 *
              8 -9";
        check(2, 9, roomy);
        let tight = "
            seq 0: 1 *
              2 -0.5 *
                3 -0.75 *
              4 -1
            seq 1: 5 *
              6 -2
                7 -4
              8 -9";
        check(2, 4, tight);
    }
}
