//! Seed, then depth, then width: Algorithm 1 of the ECHO paper (arXiv 2604.09603, sec. 3.3) on a
//! super-tree that is already drafted.
//!
//! 1. *Seed.* The best `seed` children of each root, by score over the batch while rows are left.
//!    The paper leaves open whether the first tree counts against the budget; here it does, so that
//!    the budget is strict.
//! 2. *Depth.* Level by level. A sequence is open at depth `d` if the gate let it draft on, that
//!    is, if kept nodes of depth `d` have children. Open sequences, ordered by weight times
//!    confidence `c(i,d) = exp(max_j S(i,d,j))` over their kept nodes, take their best children at
//!    `d + 1`, as many as the width rule says.
//! 3. *Width.* Rows that are left go to the best nodes not yet kept, over the batch: siblings and
//!    cousins already scored, at no further draft pass.
//!
//! At zero load 1 and 2 fit easily and 3 widens every tree; at overload the rows end during 1 or 2,
//! in order of confidence, and unsure sequences get their root alone. As in the paper, rows are
//! spent as long as nodes are left, paid for or not.

use crate::ranking::{Ranking, node, score, winners};
use crate::width::Width;
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// The choices the paper leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct EchoParams {
    /// Children of each root kept before anybody goes deeper; with 0 nobody does, and all rows go
    /// by width.
    pub seed: usize,
    /// Nodes per sequence and depth.
    pub width: Width,
    /// Weight of each place in the order of step 2, finite and at least 0; 1 for places beyond.
    pub weights: Vec<f32>,
}

/// Parameters without a meaning.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum EchoError {
    /// A ratio that is no share.
    #[error("mu is {0}; it must lie between 0 and 1")]
    Mu(f32),
    /// A weight that doesn't order.
    #[error("weight of place {place} is {weight}; it must be finite and at least 0")]
    Weight {
        /// Place in the batch.
        place: usize,
        /// Its weight.
        weight: f32,
    },
}

/// Seed, then depth, then width. See the module.
#[derive(Clone, Debug)]
pub struct Echo {
    params: EchoParams,
    ranking: Ranking,
    /// Drafted nodes that each root's sequence may still keep.
    room: Vec<usize>,
    /// Cost of the best kept node of the level above and of this level, by root.
    best_above: Vec<u32>,
    best: Vec<u32>,
    /// What the sequences ask for at one depth, one after another.
    asked: Vec<u64>,
    asks: Vec<Ask>,
}

/// The wish of one sequence at one depth.
#[derive(Clone, Copy, Debug)]
struct Ask {
    /// Bits of weight times confidence.
    rank: u32,
    root: usize,
    /// Its part of `asked`.
    start: usize,
    end: usize,
}

/// No node of the level is kept.
const NONE_KEPT: u32 = u32::MAX;

impl Echo {
    /// Refuses a ratio outside `0..=1` and weights that don't order.
    pub fn new(params: EchoParams) -> Result<Self, EchoError> {
        if let Width::Ratio { mu, .. } = params.width
            && !(0.0..=1.0).contains(&mu)
        {
            return Err(EchoError::Mu(mu));
        }
        for (place, &weight) in params.weights.iter().enumerate() {
            if !(weight.is_finite() && weight >= 0.0) {
                return Err(EchoError::Weight { place, weight });
            }
        }
        Ok(Echo {
            params,
            ranking: Ranking::default(),
            room: Vec::new(),
            best_above: Vec::new(),
            best: Vec::new(),
            asked: Vec::new(),
            asks: Vec::new(),
        })
    }

    /// The seed nodes, best of the batch first while rows are left.
    fn seed(&mut self, tree: SuperTreeView<'_>, mut left: usize, plan: &mut Plan) -> usize {
        self.ask(tree, 1, plan, Width::Most(self.params.seed));
        let keys = winners(&mut self.asked, left);
        left -= keys.len();
        for &key in keys {
            let n = node(key);
            let root = tree.parent[n] as usize;
            plan.keep(n);
            self.ranking.take_out(n);
            self.room[root] -= 1;
            self.best[root] = self.best[root].min((key >> 32) as u32);
        }
        left
    }

    /// One level deeper for every open sequence, the surest first while rows are left.
    fn deepen(
        &mut self,
        tree: SuperTreeView<'_>,
        depth: usize,
        mut left: usize,
        plan: &mut Plan,
    ) -> usize {
        std::mem::swap(&mut self.best, &mut self.best_above);
        self.best.fill(NONE_KEPT);
        self.ask(tree, depth, plan, self.params.width);
        if self.asked.len() > left {
            // Only where rows run out does the order matter. Roots ascend, so ties go to the
            // lowest.
            self.asks.sort_unstable_by_key(|ask| (std::cmp::Reverse(ask.rank), ask.root));
        }
        for ask in &self.asks {
            for &key in winners(&mut self.asked[ask.start..ask.end], left) {
                plan.keep(node(key));
                self.ranking.take_out(node(key));
                left -= 1;
                self.room[ask.root] -= 1;
                self.best[ask.root] = self.best[ask.root].min((key >> 32) as u32);
            }
        }
        left
    }

    /// Gathers what each open sequence asks for in level `depth`: `asks`, with their nodes in
    /// `asked`.
    fn ask(&mut self, tree: SuperTreeView<'_>, depth: usize, plan: &Plan, width: Width) {
        self.asks.clear();
        self.asked.clear();
        let level = tree.level(depth);
        let mut n = level.start;
        while n < level.end {
            let seq = tree.seq[n];
            let root = self.ranking.root_of(seq);
            let start = self.asked.len();
            while n < level.end && tree.seq[n] == seq {
                if plan.contains(tree.parent[n] as usize) {
                    self.asked.push(self.ranking.key(n));
                }
                n += 1;
            }
            let wanted = width.wanted(&self.asked[start..]).min(self.room[root]);
            let end = start + winners(&mut self.asked[start..], wanted).len();
            self.asked.truncate(end);
            if end > start {
                let rank = self.rank(seq, root);
                self.asks.push(Ask { rank, root, start, end });
            }
        }
    }

    /// Weight times confidence, as bits that order like it.
    fn rank(&self, seq: u32, root: usize) -> u32 {
        let weight = self.params.weights.get(seq as usize).copied().unwrap_or(1.0);
        let cost = self.best_above[root];
        let confidence = if cost == NONE_KEPT { 0.0 } else { score(cost).exp() };
        (weight * confidence).abs().to_bits()
    }

    /// What is left goes to the best nodes not kept yet.
    fn widen(&mut self, tree: SuperTreeView<'_>, left: usize, plan: &mut Plan) {
        for &key in &*self.ranking.best_within(tree, left, |root| self.room[root]) {
            plan.keep(node(key));
        }
    }
}

impl Solver for Echo {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let roots = tree.roots();
        let mut left = budget.rows.saturating_sub(roots);
        if left == 0 || tree.levels() < 2 {
            return;
        }
        self.ranking.read(tree);
        self.room.clear();
        self.room.resize(roots, budget.tree_max);
        self.best_above.clear();
        self.best_above.resize(roots, 0);
        self.best.clear();
        self.best.resize(roots, NONE_KEPT);
        left = self.seed(tree, left, plan);
        for depth in 2..tree.levels() {
            if left == 0 {
                return;
            }
            left = self.deepen(tree, depth, left, plan);
        }
        self.widen(tree, left, plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(rows: usize, width: Width, weights: &[f32], text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 5, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        let params = EchoParams { seed: 1, width, weights: weights.to_vec() };
        Echo::new(params).unwrap().choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    #[test]
    fn depth_comes_before_width() {
        // Node 4 of sequence 0 is surer than the deep end of sequence 1, which comes first.
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -1 *
              4 -1.5
            seq 1: 5 *
              6 -2 *
                7 -4 *
              8 -9";
        check(6, Width::One, &[], text);
        check(7, Width::One, &[], &text.replace("-1.5", "-1.5 *"));
    }

    #[test]
    fn the_surest_go_deeper_unless_weights_say_otherwise() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 A
            seq 1: 5 *
              6 -1 *
                7 -1.25 B";
        let first = text.replace('A', "*").replace('B', "");
        let second = text.replace('A', "").replace('B', "*");
        check(5, Width::One, &[], &first);
        check(5, Width::One, &[0.1], &second);
        check(5, Width::One, &[1.0, 9.0], &second);
    }

    #[test]
    fn a_ratio_takes_few_where_the_draft_is_sure() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
                4 -4
            seq 1: 5 *
              6 -1 *
                7 -1.5 *
                8 -1.75 *";
        check(7, Width::Ratio { mu: 0.5, most: 3 }, &[], text);
    }

    #[test]
    fn parameters_without_meaning_are_refused() {
        let new = |width, weights| Echo::new(EchoParams { seed: 1, width, weights }).err();
        let ratio = |mu| Width::Ratio { mu, most: 2 };
        assert_eq!(new(ratio(1.5), vec![]), Some(EchoError::Mu(1.5)));
        assert!(new(ratio(f32::NAN), vec![]).is_some());
        let fault = EchoError::Weight { place: 1, weight: -1.0 };
        assert_eq!(new(Width::One, vec![1.0, -1.0]), Some(fault));
    }
}
