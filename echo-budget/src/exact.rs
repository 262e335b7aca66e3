//! Brute force: the best of all legal plans. For tests and teaching only.
//!
//! Every subset of the drafted nodes is tried, so the time doubles with each node. Beyond
//! [`Exact::NODES_MAX`] drafted nodes the rest is not considered, and the plan is legal but no
//! longer the best. Shares nothing with the other solvers but the tables.

use crate::cost::MARGIN;
use crate::goodput::GoodputParams;
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// The best of all legal plans by expected tokens per second, as [`Goodput`](crate::Goodput) counts
/// them. See the module.
#[derive(Clone, Debug)]
pub struct Exact {
    params: GoodputParams,
}

impl Exact {
    /// Drafted nodes that are considered.
    pub const NODES_MAX: usize = 20;

    /// The tables the rate is computed from.
    pub fn new(params: GoodputParams) -> Self {
        Exact { params }
    }

    /// Expected tokens per microsecond of `plan`, its drafted rows counted at their price with the
    /// margin, and prompt rows not at all.
    pub fn rate(&self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &Plan) -> f64 {
        let GoodputParams { cost, survival } = &self.params;
        let times = cost.under(&budget.load);
        let tokens: f64 = plan
            .iter()
            .filter(|&n| n >= tree.roots())
            .map(|n| times.chance(survival, tree.score[n]))
            .sum();
        let behind_prompts = |rows: usize| times.verify_us(budget.load.context_rows + rows);
        let drafted_us = MARGIN * (behind_prompts(plan.len()) - behind_prompts(tree.roots()));
        let plain_us = times.host_us() + times.verify_us(tree.roots());
        let us = plain_us + times.drafted_us(tree) + drafted_us;
        (tree.roots() as f64 + tokens) / us
    }
}

impl Solver for Exact {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let roots = tree.roots();
        let n = (tree.len() - roots).min(Exact::NODES_MAX);
        let mut best = f64::NEG_INFINITY;
        let mut trial = Plan::with_capacity(tree.len());
        for set in 0_u32..1 << n {
            trial.reset(tree.len(), roots);
            (0..n).filter(|i| set >> i & 1 == 1).for_each(|i| trial.keep(roots + i));
            if is_legal(tree, budget, &trial) {
                let rate = self.rate(tree, budget, &trial);
                if rate > best {
                    best = rate;
                    plan.clone_from(&trial);
                }
            }
        }
    }
}

fn is_legal(tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &Plan) -> bool {
    let orphan = |n: usize| !plan.contains(tree.parent[n] as usize);
    let crowded = |root: usize| {
        let own = |&n: &usize| n >= tree.roots() && tree.seq[n] == tree.seq[root];
        plan.iter().filter(own).count() > budget.tree_max
    };
    plan.len() <= budget.rows && !plan.iter().any(orphan) && !tree.level(0).any(crowded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{CostTable, Hinge};
    use crate::survival::Survival;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    #[test]
    fn it_keeps_what_pays() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                  4 -3
              5 -4";
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows: 8, tree_max: 9, load: Load::default(), shares: &[] };
        let hinge = Hinge { ar_us: 100.0, gamma: 0.3, rows_knee: 1 };
        let cost = CostTable::hinge(hinge).unwrap();
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        let survival = Survival::identity();
        Exact::new(GoodputParams { cost, survival }).choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }
}
