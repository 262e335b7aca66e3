//! OPT-Tree: levels while they raise the expected length, then the best `n` nodes.
//!
//! Per sequence, level by level, with path probabilities `P = exp(S)` (arXiv 2406.17276):
//!
//! ```text
//! E_d = sum of the n greatest P among levels 1..d
//! the last level that counts is the first d with E_d - E_(d-1) <= delta
//! keep the n best nodes of the levels that count
//! ```
//!
//! If `P` is the rate at which nodes are accepted, `E` is the expected number of accepted drafts.
//! The source knows one sequence. Here its trees compete for a shared budget as in
//! [`TopN`](crate::TopN): where they don't fit together, the surest paths of the batch win.
//!
//! As a gate it ends the draft of a sequence after the first level that doesn't count, as the
//! source does. At zero load it is the rerank of a shallower tree; at overload the batch's best
//! paths share what is left.

use crate::best::{greatest, reaching, winners};
use crate::families::Families;
use crate::ranking::{OUT, Ranking, cost, keys_of, node, score};
use echo_core::{Budget, Frontier, Gate, Keep, Load, Plan, Solver, SuperTreeView};
use std::cell::RefCell;

/// Size of a tree, and what a level must bring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptTreeParams {
    /// Drafted nodes of one sequence at most.
    pub n: usize,
    /// `δ`: growth of the expected length up to which the next level isn't looked at; finite and at
    /// least 0.
    pub delta: f32,
}

/// A growth that stops nothing, or everything.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("delta of opt-tree is {0}; it must be finite and at least 0")]
pub struct DeltaError(pub f32);

/// Levels while they pay, then the best `n`. See the module.
#[derive(Clone, Debug)]
pub struct OptTree {
    cut: Cut,
    ranking: Ranking,
    scratch: Scratch,
    /// The gate's.
    looking: RefCell<Scratch>,
}

/// The parameters, with `ln δ`.
#[derive(Clone, Copy, Debug)]
struct Cut {
    n: usize,
    delta: f32,
    ln_delta: f32,
}

#[derive(Clone, Debug, Default)]
struct Scratch {
    families: Families,
    /// Keys of one sequence, and those of them that lost their places.
    keys: Vec<u64>,
    lost: Vec<u64>,
}

impl Scratch {
    fn read(&mut self, tree: SuperTreeView<'_>) {
        self.families.clear(tree.roots());
        self.families.find(tree, tree.levels() - 1);
    }
}

impl OptTree {
    /// Refuses a `delta` below 0 or not finite.
    pub fn new(OptTreeParams { n, delta }: OptTreeParams) -> Result<Self, DeltaError> {
        if !(delta.is_finite() && delta >= 0.0) {
            return Err(DeltaError(delta));
        }
        let cut = Cut { n, delta, ln_delta: delta.ln() };
        let (ranking, scratch, looking) = Default::default();
        Ok(OptTree { cut, ranking, scratch, looking })
    }
}

impl Cut {
    /// Whether the best node of level `depth` alone is worth more than `delta` above the one it
    /// takes the place of. The levels above it then grow, too: their best nodes are no worse, and
    /// have fewer before them.
    fn grows_surely(
        self,
        tree: SuperTreeView<'_>,
        families: &Families,
        depth: usize,
        root: usize,
    ) -> bool {
        let best = greatest(&tree.score[families.of(depth, root)]);
        let above = || (1..depth).map(|depth| &tree.score[families.of(depth, root)]);
        let before = |bar| above().map(|scores| reaching(scores, bar)).sum::<usize>();
        best > self.ln_delta
            && (above().map(<[f32]>::len).sum::<usize>() < self.n
                || before((best.exp() - self.delta).ln()) < self.n)
    }

    /// Whether level `depth` raises the expected length by more than `delta`.
    fn grows(
        self,
        tree: SuperTreeView<'_>,
        Scratch { families, keys, lost }: &mut Scratch,
        depth: usize,
        root: usize,
    ) -> bool {
        self.grows_surely(tree, families, depth, root) || {
            keys.clear();
            (1..=depth).for_each(|depth| keys.extend(keys_of(tree, families.of(depth, root))));
            growth(keys, families.of(depth, root).start, self.n, lost) > self.delta
        }
    }
}

/// What the keys of nodes from `newest` on add to the expected length of the best `n` of `keys`.
fn growth(keys: &mut [u64], newest: usize, n: usize, lost: &mut Vec<u64>) -> f32 {
    let is_old = |key: &&u64| node(**key) < newest;
    let chance = |&key: &u64| score(cost(key)).exp();
    let old = keys.iter().filter(is_old).count();
    let kept = winners(keys, n).len();
    let (kept, rest) = keys.split_at(kept);
    lost.clear();
    lost.extend(rest.iter().filter(is_old));
    let displaced = old.min(n) - kept.iter().filter(is_old).count();
    let gained: f32 = kept.iter().filter(|key| !is_old(key)).map(chance).sum();
    gained - winners(lost, displaced).iter().map(chance).sum::<f32>()
}

impl Gate for OptTree {
    fn looks_at(&self, depth: usize) -> bool {
        depth > 0
    }

    fn narrow(&self, frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        let (tree, depth, first) = (frontier.tree, frontier.depth(), frontier.nodes().start);
        let scratch = &mut *self.looking.borrow_mut();
        scratch.read(tree);
        for root in 0..tree.roots() {
            let nodes = scratch.families.of(depth, root);
            if !nodes.is_empty() && !self.cut.grows(tree, scratch, depth, root) {
                nodes.for_each(|n| keep.narrow(n - first, 0));
            }
        }
    }
}

impl Solver for OptTree {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let n = self.cut.n.min(budget.tree_max);
        let free = budget.rows.saturating_sub(tree.roots());
        if free == 0 || n == 0 {
            return;
        }
        let cut = Cut { n, ..self.cut };
        let OptTree { ranking, scratch, .. } = self;
        ranking.read(tree);
        scratch.read(tree);
        for root in 0..tree.roots() {
            let is_there = |&depth: &usize| !scratch.families.of(depth, root).is_empty();
            let deepest = (1..tree.levels()).take_while(is_there).last().unwrap_or(0);
            let counts =
                deepest < 2 || cut.grows_surely(tree, &scratch.families, deepest - 1, root);
            if !counts {
                let last = (1..deepest).find(|&depth| !cut.grows(tree, scratch, depth, root));
                for depth in last.unwrap_or(deepest) + 1..=deepest {
                    ranking.costs()[scratch.families.of(depth, root)].fill(OUT);
                }
            }
        }
        for &key in &*ranking.best_within(tree, free, |_| n) {
            plan.keep(node(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use echo_core::Load;
    use echo_tree::{Drawing, draw};

    fn check(n: usize, delta: f32, rows: usize, text: &str) {
        let drawing = Drawing::parse(text).unwrap();
        let tree = drawing.tree.view();
        let budget = Budget { rows, tree_max: 9, load: Load::default(), shares: &[] };
        let mut plan = Plan::default();
        plan.reset(tree.len(), tree.roots());
        OptTree::new(OptTreeParams { n, delta }).unwrap().choose(tree, budget, &mut plan);
        assert_eq!(draw(tree, Some(&plan), None), draw(tree, Some(&drawing.plan), None));
    }

    /// Path probabilities 0.5 and 0.2 at depth 1; then 0.45, 0.44 and 0.43 at depths 2, 3 and 4.
    const CHAIN: &str = "
        seq 0: 1 *
          2 -0.693 A
            3 -0.799 A
              4 -0.821 B
                5 -0.844 C
          6 -1.609 D";

    fn marked(marks: &str) -> String {
        let mut text = CHAIN.to_owned();
        for mark in ["A", "B", "C", "D"] {
            text = text.replace(mark, if marks.contains(mark) { "*" } else { "" });
        }
        text
    }

    #[test]
    fn levels_count_while_the_best_n_gain() {
        // With n = 3: E = 0.7, then 1.15, then 0.5 + 0.45 + 0.44 = 1.39, then no more than that.
        check(3, 0.1, 9, &marked("AB"));
        // Growth of 0.24 isn't enough: depth 3 was looked at and is the last, as in the source.
        check(3, 0.3, 9, &marked("AB"));
        // Growth of 0.45 isn't enough: depth 2 is the last.
        check(3, 0.5, 9, &marked("AD"));
        check(9, 0.0, 9, &marked("ABCD"));
        // With room for five, depth 3 brings 0.44 and depth 4 is looked at only if that pays.
        check(9, 0.44, 9, &marked("ABD"));
    }

    #[test]
    fn trees_compete_for_the_budget() {
        let text = "
            seq 0: 1 *
              2 -0.5 *
                3 -0.75 *
              4 -1
            seq 1: 5 *
              6 -2
                7 -4";
        check(2, 0.0, 4, text);
    }

    #[test]
    fn a_level_that_brings_little_is_the_last() {
        let text = "
            seq 0: 1
              2 -0.1
                3 -0.2
            seq 1: 5
              6 -0.1
              7 -0.2
                8 -3";
        let drawing = Drawing::parse(text).unwrap();
        let open = |n, delta| {
            let mut keep = Keep::default();
            keep.reset(2);
            (0..2).for_each(|i| keep.open(i, 2));
            let opt_tree = OptTree::new(OptTreeParams { n, delta }).unwrap();
            opt_tree.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
            keep.as_slice().to_vec()
        };
        assert_eq!(open(9, 0.1), [2, 0]);
        assert_eq!(open(9, 0.01), [2, 2]);
        // With two places the third node of sequence 1 brings nothing.
        assert_eq!(open(2, 0.01), [2, 0]);
    }

    #[test]
    fn a_growth_that_is_no_number_is_refused() {
        for delta in [-0.1, f32::NAN, f32::INFINITY] {
            assert!(OptTree::new(OptTreeParams { n: 1, delta }).is_err(), "{delta}");
        }
    }
}
