//! D-cut: of four cuts of the batch's drafts, the one with the most expected tokens per time.
//!
//! The source (arXiv 2607.14647) ranks the drafted slots of the batch by the *shifted* product
//! `s(i,k) = Π_(t<k) c(i,t)`, which leaves the slot's own token out, and verifies the best
//!
//! ```text
//! K_q = ceil(rho_q * slots),  rho in {1/4, 1/2, 3/4, 1},  q = argmax  sum of s / C(K_q)
//! ```
//!
//! where `C` is the measured time of the target's forward. Each request keeps its root. The `k`-th
//! token of a chain is emitted if all drafts before it are accepted, so `Σ s` is the expected
//! output, a little low. In a tree siblings share what leads to them, so here `s(n)` is the
//! path probability of the parent, and the sum counts each parent once: that many tokens are
//! emitted below it, however many children it has. Of equals the lowest index goes first.
//!
//! A cut that the budget doesn't hold is out; the smallest is trimmed to it. It always verifies a
//! quarter of the drafts: at zero load that is what one wants, at overload there is no way out.

use crate::cost::CostTable;
use crate::ranking::{Ranking, node, score};
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// The quarters of the drafts that are tried.
const QUARTERS: usize = 4;

/// What the choice rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct DCutParams {
    /// Measured times; only those of the target's forward count.
    pub cost: CostTable,
}

/// The best of four cuts. See the module.
#[derive(Clone, Debug)]
pub struct DCut {
    params: DCutParams,
    ranking: Ranking,
    /// Whether a node's first child was met, in order of rank.
    is_parent: Vec<bool>,
}

impl DCut {
    /// The table was checked when it was made.
    pub fn new(params: DCutParams) -> Self {
        DCut { params, ranking: Ranking::default(), is_parent: Vec::new() }
    }
}

impl Solver for DCut {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let roots = tree.roots();
        let free = budget.rows.saturating_sub(roots);
        let slots = tree.len() - roots;
        if free == 0 || slots == 0 {
            return;
        }
        let cut = |q: usize| (q * slots).div_ceil(QUARTERS);
        let largest = (1..=QUARTERS).map(cut).rfind(|&k| k <= free).unwrap_or(free);
        self.ranking.read(tree);
        self.ranking.shift(tree);
        let keys = self.ranking.best_within(tree, largest, |_| budget.tree_max);
        keys.sort_unstable();
        self.is_parent.clear();
        self.is_parent.resize(tree.len(), false);
        let times = self.params.cost.under(&budget.load);
        let base = budget.load.context_rows + roots;
        let (mut tokens, mut at) = (0.0_f64, 0);
        let mut best = (0.0, 0);
        for q in 1..=QUARTERS {
            let k = cut(q).min(largest).min(keys.len());
            for &key in &keys[at..k] {
                let parent = tree.parent[node(key)] as usize;
                if !std::mem::replace(&mut self.is_parent[parent], true) {
                    tokens += f64::from(score((key >> 32) as u32).exp());
                }
            }
            at = k;
            let rate = tokens / times.verify_us(base + k);
            if rate > best.0 {
                best = (rate, k);
            }
        }
        for &key in &keys[..best.1] {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Hinge;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(gamma: f64, rows: usize, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        let cost = CostTable::hinge(Hinge { ar_us: 100.0, gamma, rows_knee: 1 }).unwrap();
        DCut::new(DCutParams { cost }).choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    /// Shifted scores in order of rank: 2 (1), 6 (1), 7 (0.9), 8 (0.9 · 0.9), 3 (0.1), 4 (0.09) and
    /// two more of nearly nothing.
    const TWO: &str = "
        seq 0: 1 *
          2 -2.303 A
            3 -2.408 C
              4 -7 C
                5 -9 D
        seq 1: 5 *
          6 -0.105 A
            7 -0.21 B
              8 -9 B
                9 -9.5 D";

    fn marked(marks: &str) -> String {
        let mut text = TWO.to_owned();
        for mark in ["A", "B", "C", "D"] {
            text = text.replace(mark, if marks.contains(mark) { "*" } else { "" });
        }
        text
    }

    #[test]
    fn a_token_does_not_speak_for_itself() {
        // Node 2 is unsure, but nothing before it is: it ranks with node 6. Node 8 ranks by 7.
        // Rates of the cuts for gamma 0.2: 2/1.6, 3.71/2.0, 3.9/2.4, 3.9/2.8.
        check(0.2, 99, &marked("AB"));
        // With nearly free rows the third cut's 0.19 tokens are worth their time.
        check(0.001, 99, &marked("ABC"));
        // Dear ones don't change it: 2/7, 3.71/11, 3.9/15. Where the budget ends, they do.
        check(2.0, 99, &marked("AB"));
        check(2.0, 5, &marked("A"));
    }

    #[test]
    fn the_smallest_cut_is_trimmed_to_the_budget() {
        check(0.001, 3, &marked("A").replace("6 -0.105 *", "6 -0.105"));
    }

    #[test]
    fn siblings_share_one_token() {
        // Four slots; the first cut holds node 2, the second its sibling, who emits nothing more.
        let text = "
            seq 0: 1 *
              2 -0.1 *
              3 -3
                4 -4
                  5 -5";
        check(0.1, 99, text);
    }
}
