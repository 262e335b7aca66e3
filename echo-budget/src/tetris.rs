//! TETRIS: `k` rows per request, pooled over the batch, to the surest prefixes.
//!
//! The source (arXiv 2502.15197) drafts chains of `k + e` tokens, scores a slot by its path
//! probability `exp(S(i,j))` and verifies the best `C = k · R` slots of the `R` requests; a request
//! verifies up to its deepest slot. Since a path's probability never rises, the best slots are
//! prefixes by themselves; on trees, by the same argument, they are closed under parent. Below a
//! batch-size switch the rows are not pooled: each request verifies its own best `k`.
//!
//! `C` knows the batch but not what a row costs: at zero load `k` may be too few, at overload
//! `k · R` is too many, and the budget cuts it. The score contains the drafted token's own
//! probability, which is sound for drafts that are a function of the past, as all are here.

use crate::ranking::{Ranking, node};
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// Rows per request, and from how many requests on they are pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TetrisParams {
    /// Drafted rows per request, on average once they are pooled.
    pub k: usize,
    /// Requests from which on the rows are pooled.
    pub seqs_min: usize,
}

/// `k` rows per request, pooled. See the module.
#[derive(Clone, Debug)]
pub struct Tetris {
    params: TetrisParams,
    ranking: Ranking,
}

impl Tetris {
    /// Any numbers will do.
    pub fn new(params: TetrisParams) -> Self {
        Tetris { params, ranking: Ranking::default() }
    }
}

impl Solver for Tetris {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let TetrisParams { k, seqs_min } = self.params;
        let roots = tree.roots();
        let capacity = k.saturating_mul(roots).min(budget.rows.saturating_sub(roots));
        let most = if roots < seqs_min { k.min(budget.tree_max) } else { budget.tree_max };
        self.ranking.read(tree);
        for &key in &*self.ranking.best_within(tree, capacity, |_| most) {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(params: TetrisParams, rows: usize, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        Tetris::new(params).choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    #[test]
    fn the_surest_chain_gets_the_other_ones_rows() {
        let pooled = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                  4 -0.75 *
            seq 1: 5 *
              6 -2 *
                7 -4";
        check(TetrisParams { k: 2, seqs_min: 2 }, 99, pooled);
        check(TetrisParams { k: 2, seqs_min: 2 }, 5, &pooled.replace("6 -2 *", "6 -2"));
        let apart = pooled.replace("4 -0.75 *", "4 -0.75").replace("7 -4", "7 -4 *");
        check(TetrisParams { k: 2, seqs_min: 3 }, 99, &apart);
    }
}
