//! The same share for each sequence, its best nodes first. The baseline of a fixed tree.
//!
//! With `R` roots and a budget of `B` rows each sequence may have `⌊(B − R) / R⌋` drafted nodes;
//! what a sequence can't use, and the remainder, is left unspent. So every sequence is served alike
//! whatever its neighbours draft. At zero load the share covers all that was drafted; at overload
//! it falls to nothing for everybody at once, where a shared budget would still serve the surest.

use crate::ranking::{Ranking, node};
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// The same share for each sequence. See the module.
#[derive(Clone, Debug, Default)]
pub struct Uniform {
    ranking: Ranking,
}

impl Solver for Uniform {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let free = budget.rows.saturating_sub(tree.roots());
        let share = free.checked_div(tree.roots()).unwrap_or(0).min(budget.tree_max);
        if share == 0 {
            return;
        }
        // So many nodes, parents before children, reach no deeper.
        let tree = tree.up_to(share);
        self.ranking.read(tree);
        for &key in &*self.ranking.best_of_each(tree, |_| share) {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    #[test]
    fn shares_are_equal_and_leftovers_stay() {
        let text = "
            seq 0: 1 *
              2 -0.5 *
                3 -0.75 *
              4 -1
            seq 1: 5 *
              6 -9 *";
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        // Two rows each are shared out, one is the remainder; sequence 1 has use for one of its
        // two.
        let budget = Budget { rows: 7, tree_max: 9, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        Uniform::default().choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }
}
