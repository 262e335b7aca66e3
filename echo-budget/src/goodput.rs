//! As many of the batch's best nodes as maximise expected tokens per measured second.
//!
//! All nodes of the batch are ranked by their chance to be accepted, `p(n) = survival(S(n))`. With
//! the best `B` of them verified, a step yields `E(B) = R + Σ p` tokens (each of the `R` sequences
//! commits one token in any case) and takes `T(B)`: host, draft passes already spent, the measured
//! forward of the roots, and `MARGIN` times what the drafted rows add to it. The plan is the best
//! `B` for `B = argmax E(B) / T(B)`. After vLLM's adaptive verification, for trees.
//!
//! Prompt rows in the same forward are read whether anybody drafts or not. Where drafted rows begin
//! on the curve is theirs to say, but their time is not counted: against it the few tokens of a
//! step look so dear that almost any row would be taken.
//!
//! On a staircase only the edges of buckets can be optimal, and the slots up to an edge are free:
//! they are filled with the next best nodes. On an even curve `E / T` has one peak between two
//! measured points, since `E` is concave; it is found by bisection. Looking at all of them, rather
//! than stopping at the first drop, is what carries the choice over a cliff.
//!
//! At zero load a forward is bound by reading weights, rows are nearly free and everything of use
//! is verified; at overload each row costs its share, and only near-certain nodes are worth it,
//! until the plan is plain decoding.

use crate::cost::{CostTable, MARGIN};
use crate::curve::Between;
use crate::ranking::{Ranking, node, score};
use crate::survival::Survival;
use crate::times::Times;
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// What the choice rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct GoodputParams {
    /// Measured times.
    pub cost: CostTable,
    /// How often paths of a given draft probability are accepted.
    pub survival: Survival,
}

/// Expected tokens per second, maximised. See the module.
#[derive(Clone, Debug)]
pub struct Goodput {
    params: GoodputParams,
    ranking: Ranking,
    tokens: Vec<f64>,
}

impl Goodput {
    /// Both tables were checked when they were made.
    pub fn new(params: GoodputParams) -> Self {
        Goodput { params, ranking: Ranking::default(), tokens: Vec::new() }
    }
}

impl Solver for Goodput {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let GoodputParams { cost, survival } = &self.params;
        let times = cost.under(&budget.load);
        let roots = tree.roots();
        self.ranking.read(tree);
        let free = budget.rows.saturating_sub(roots);
        let keys = self.ranking.best_within(tree, free, |_| budget.tree_max);
        keys.sort_unstable();
        self.tokens.clear();
        self.tokens.push(roots as f64);
        let mut sum = roots as f64;
        for &key in &*keys {
            sum += times.chance(survival, score((key >> 32) as u32));
            self.tokens.push(sum);
        }
        let base = budget.load.context_rows + roots;
        let spent_us = times.host_us() + times.drafted_us(tree);
        let fixed_us = spent_us + times.verify_us(roots) - MARGIN * times.verify_us(base);
        let rate = Rate { tokens: &self.tokens, cost, times, fixed_us, base };
        for &key in &keys[..rate.peak()] {
            plan.keep(node(key));
        }
    }
}

/// Expected tokens per microsecond by the number of drafted nodes verified.
struct Rate<'a> {
    /// Expected tokens of the best `b` nodes, `[n + 1]`; concave.
    tokens: &'a [f64],
    cost: &'a CostTable,
    times: Times<'a>,
    /// Microseconds that no choice changes: those before the target's forward and the roots' own,
    /// less the price of the rows before any drafted node.
    fixed_us: f64,
    /// Rows of the forward before any drafted node.
    base: usize,
}

impl Rate<'_> {
    fn us(&self, b: usize) -> f64 {
        self.fixed_us + MARGIN * self.times.verify_us(self.base + b)
    }

    fn at(&self, b: usize) -> f64 {
        self.tokens[b] / self.us(b)
    }

    /// The number of nodes with the highest rate; of equals, the fewest that fill their bucket.
    fn peak(&self) -> usize {
        let n = self.tokens.len() - 1;
        let step = self.cost.between() == Between::Step;
        let mut best: Option<(f64, usize)> = None;
        let mut offer = |b: usize| {
            let rate = self.at(b);
            if best.is_none_or(|(highest, _)| rate > highest) {
                best = Some((rate, b));
            }
        };
        // On a staircase 0 is no edge by itself: the bucket of the base is filled.
        let mut from = 0;
        if !step {
            offer(0);
        }
        for edge in self.cost.edges().iter().filter(|&&edge| edge >= self.base) {
            let b = (edge - self.base).min(n);
            if !step {
                offer(self.peak_between(from, b));
            }
            offer(b);
            from = b;
        }
        // Beyond the last edge both kinds of curve are even.
        offer(self.peak_between(from, n));
        offer(n);
        best.map_or(0, |(_, b)| b)
    }

    /// The peak between `from` and `to` nodes, where the time grows evenly.
    fn peak_between(&self, from: usize, to: usize) -> usize {
        // With E concave and T even, "one more node raises the rate" holds up to the peak only.
        let (mut low, mut high) = (from, to);
        while low < high {
            let b = usize::midpoint(low, high);
            if self.tokens[b + 1] * self.us(b) > self.tokens[b] * self.us(b + 1) {
                low = b + 1;
            } else {
                high = b;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Hinge, Sample};
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(cost: CostTable, context_rows: usize, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let load = Load { context_rows, ..Load::default() };
        let budget = Budget { rows: 8, tree_max: 9, load, shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        let params = GoodputParams { cost, survival: Survival::identity() };
        Goodput::new(params).choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    fn hinge(rows_knee: usize) -> CostTable {
        CostTable::hinge(Hinge { ar_us: 100.0, gamma: 0.3, rows_knee }).unwrap()
    }

    #[test]
    fn free_rows_are_taken_and_dear_ones_must_pay() {
        // Chances 0.78 and 0.61, then 0.05 and less; a row beyond the knee costs 0.3 forwards.
        let tree = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                  4 -3
              5 -4";
        check(hinge(1), 0, tree);
        let all = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                  4 -3 *
              5 -4 *";
        check(hinge(9), 0, all);
        // Prompt rows eat into the free ones, and their time makes no row cheap.
        check(hinge(9), 6, tree);
        check(hinge(1), 1000, tree);
    }

    #[test]
    fn a_bucket_once_paid_for_is_filled() {
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let samples = [sample(1, 100.0), sample(4, 130.0), sample(8, 250.0)];
        let cost = CostTable::from_samples(&samples, &[], 0.0, Between::Step).unwrap();
        let tree = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
              5 -9 *
              6 -10";
        check(cost, 0, tree);
    }

    #[test]
    fn the_search_looks_past_a_cliff() {
        // Going to 2 rows costs more than it brings; going to 5 brings all.
        let sample = |rows, us| Sample { rows, kv_len: 0, us };
        let samples = [sample(1, 100.0), sample(2, 190.0), sample(5, 191.0)];
        let cost = CostTable::from_samples(&samples, &[], 0.0, Between::Step).unwrap();
        let tree = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                  4 -0.75 *
                    5 -1 *";
        check(cost, 0, tree);
    }
}
