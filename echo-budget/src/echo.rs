//! Seed, then depth, then width: Algorithm 1 of the ECHO paper (arXiv 2604.09603, sec. 3.3) on a
//! super-tree that is already drafted.
//!
//! 1. *Seed.* The best `seed` children of each root, by score over the batch while rows are left.
//!    The paper leaves open whether the first tree counts against the budget; here it does, so that
//!    the budget is strict.
//! 2. *Depth.* Level by level. A sequence is open at depth `d` if the gate let it draft on, that
//!    is, if kept nodes of depth `d` have children. Open sequences, in order of their
//!    confidence `c(i,d) = exp(max_j S(i,d,j))` over their kept nodes, take their best children at
//!    `d + 1`, as many as the width rule says.
//! 3. *Width.* Rows that are left go to the best nodes not yet kept, over the batch: siblings and
//!    cousins already scored, at no further draft pass.
//!
//! At zero load 1 and 2 fit easily and 3 widens every tree; at overload the rows end during 1 or 2,
//! in order of confidence, and unsure sequences get their root alone. As in the paper, rows are
//! spent as long as nodes are left, paid for or not.

use crate::best::winners;
use crate::ranking::{Ranking, node};
use crate::width::Width;
use echo_core::{Budget, Plan, Solver, SuperTreeView};

/// The choices the paper leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EchoParams {
    /// Children of each root kept before anybody goes deeper; with 0 nobody does, and all rows go
    /// by width.
    pub seed: usize,
    /// Nodes per sequence and depth.
    pub width: Width,
}

/// A ratio that is no share.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("mu of echo is {0}; it must lie between 0 and 1")]
pub struct MuError(pub f32);

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
    /// Cost of the best kept node of the level above: the least is the surest.
    cost: u32,
    root: usize,
    /// Its part of `asked`.
    start: usize,
    end: usize,
}

/// No node of the level is kept.
const NONE_KEPT: u32 = u32::MAX;

impl Echo {
    /// Refuses a ratio outside `0..=1`.
    pub fn new(params: EchoParams) -> Result<Self, MuError> {
        if let Width::Ratio { mu, .. } = params.width
            && !(0.0..=1.0).contains(&mu)
        {
            return Err(MuError(mu));
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
            self.asks.sort_unstable_by_key(|ask| (ask.cost, ask.root));
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
                self.asks.push(Ask { cost: self.best_above[root], root, start, end });
            }
        }
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

    fn check(rows: usize, width: Width, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 5, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        let params = EchoParams { seed: 1, width };
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
        check(6, Width::One, text);
        check(7, Width::One, &text.replace("-1.5", "-1.5 *"));
    }

    #[test]
    fn the_surest_go_deeper() {
        let text = "
            seq 0: 1 *
              2 -0.25 *
                3 -0.5 *
            seq 1: 5 *
              6 -1 *
                7 -1.25";
        check(5, Width::One, text);
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
        check(7, Width::Ratio { mu: 0.5, most: 3 }, text);
    }

    #[test]
    fn parameters_without_meaning_are_refused() {
        let new = |mu| {
            let width = Width::Ratio { mu, most: 2 };
            Echo::new(EchoParams { seed: 1, width }).err()
        };
        assert_eq!(new(1.5), Some(MuError(1.5)));
        assert!(new(f32::NAN).is_some() && new(0.5).is_none());
    }
}
