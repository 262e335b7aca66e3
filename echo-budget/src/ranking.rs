//! All nodes of a super-tree in one order: best first, parents before children, no two alike.
//!
//! A node's *cost* is the bits of its score without the sign: scores are at most 0 and never rise
//! from parent to child ([`SuperTreeView::score`]), and bits of non-negative floats order like the
//! floats, so integers are compared. A *key* is the cost above the node's index. The least `k`
//! keys, of one sequence or of the batch, are closed under parent.
//!
//! A busy batch has tens of thousands of nodes and tens of microseconds to choose, so what touches
//! every node is a plain loop over one array, which compilers turn into vectors.

use crate::best::{best_of, winners};
use crate::families::Families;
use echo_core::SuperTreeView;
use std::ops::Range;

/// The cost of a node that is out of the running.
pub(crate) const OUT: u32 = u32::MAX;
/// Choices over the batch before all sequences are looked at one by one.
const ATTEMPTS: usize = 3;

/// Scratch of the solvers, refilled for each tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranking {
    cost: Vec<u32>,
    chosen: Vec<u64>,
    sample: Vec<u32>,
    /// Keys of one sequence.
    family: Vec<u64>,
    families: Families,
    /// How many chosen keys each sequence owns, by root.
    owned: Vec<u32>,
    /// Which root a place in the batch has.
    root_of: Vec<u32>,
}

/// The node of a key.
pub(crate) fn node(key: u64) -> usize {
    key as u32 as usize
}

/// The cost of a key.
pub(crate) fn cost(key: u64) -> u32 {
    (key >> 32) as u32
}

/// The score a cost stands for.
pub(crate) fn score(cost: u32) -> f32 {
    0.0 - f32::from_bits(cost)
}

/// The cost of a score.
pub(crate) fn cost_of(score: f32) -> u32 {
    score.min(0.0).abs().to_bits()
}

/// The key of a node.
pub(crate) fn key(cost: u32, node: usize) -> u64 {
    u64::from(cost) << 32 | node as u64
}

/// The keys of `nodes`.
pub(crate) fn keys_of(tree: SuperTreeView<'_>, nodes: Range<usize>) -> impl Iterator<Item = u64> {
    nodes.clone().zip(&tree.score[nodes]).map(|(n, &score)| key(cost_of(score), n))
}

impl Ranking {
    /// Takes the costs of `tree`; everything but the roots is in the running.
    pub(crate) fn read(&mut self, tree: SuperTreeView<'_>) {
        debug_assert!(tree.scores_fall(), "scores rise, or one is NaN");
        let roots = tree.roots();
        self.cost.clear();
        self.cost.resize(roots, OUT);
        self.cost.extend(tree.score[roots..].iter().map(|&score| cost_of(score)));
        self.root_of.clear();
        self.root_of.resize(tree.seq[..roots].last().map_or(0, |&seq| seq as usize + 1), 0);
        self.families.clear(roots);
        for (root, &seq) in tree.seq[..roots].iter().enumerate() {
            self.root_of[seq as usize] = root as u32;
        }
    }

    /// Gives each node the cost of its parent, so that no token's own score decides over it.
    pub(crate) fn shift(&mut self, tree: SuperTreeView<'_>) {
        let roots = tree.roots();
        for depth in (1..tree.levels()).rev() {
            let level = tree.level(depth);
            let (above, below) = self.cost.split_at_mut(level.start);
            for (cost, &parent) in below.iter_mut().zip(&tree.parent[level]) {
                *cost = if (parent as usize) < roots { 0 } else { above[parent as usize] };
            }
        }
    }

    /// The key of `node`, which must be in the running.
    pub(crate) fn key(&self, node: usize) -> u64 {
        key(self.cost[node], node)
    }

    /// Which root the sequence at place `seq` has.
    pub(crate) fn root_of(&self, seq: u32) -> usize {
        self.root_of[seq as usize] as usize
    }

    /// The costs of all nodes, [`OUT`] for those out of the running.
    pub(crate) fn costs(&mut self) -> &mut [u32] {
        &mut self.cost
    }

    /// Takes `node` out of the running.
    pub(crate) fn take_out(&mut self, node: usize) {
        self.cost[node] = OUT;
    }

    /// The best `k` keys in the running of which each sequence owns at most `most(root)`, in no
    /// order; fewer if there are fewer.
    pub(crate) fn best_within(
        &mut self,
        tree: SuperTreeView<'_>,
        k: usize,
        most: impl Fn(usize) -> usize,
    ) -> &mut [u64] {
        // A choice that crowds nobody out is the one asked for: what it holds of a sequence is the
        // sequence's best. Where a few are crowded, their worse nodes leave the running; where many
        // are, it is cheaper to look at all sequences one by one.
        for _ in 0..ATTEMPTS {
            best_of(&self.cost, k, &mut self.sample, &mut self.chosen);
            self.count_chosen(tree);
            let owned = self.owned.iter().enumerate();
            let crowded = owned.filter(|&(root, &n)| n as usize > most(root)).count();
            if crowded == 0 {
                return &mut self.chosen;
            }
            if crowded > tree.roots().div_ceil(8) {
                break;
            }
            self.cut_crowded(tree, &most);
        }
        self.best_of_each(tree, most);
        let n = winners(&mut self.chosen, k).len();
        self.chosen.truncate(n);
        &mut self.chosen
    }

    /// Leaves in `owned` how many of the chosen keys each sequence owns, by root.
    fn count_chosen(&mut self, tree: SuperTreeView<'_>) {
        self.owned.clear();
        self.owned.resize(tree.roots(), 0);
        for &key in &self.chosen {
            self.owned[self.root_of[tree.seq[node(key)] as usize] as usize] += 1;
        }
    }

    /// Takes out of the running whatever the sequences with too many chosen nodes can't keep.
    fn cut_crowded(&mut self, tree: SuperTreeView<'_>, most: impl Fn(usize) -> usize) {
        for root in 0..tree.roots() {
            let most = most(root);
            if self.owned[root] as usize > most {
                self.gather(tree, root);
                let n = winners(&mut self.family, most).len();
                self.family[n..].iter().for_each(|&loser| self.cost[node(loser)] = OUT);
            }
        }
    }

    /// The best keys in the running of each sequence, as many as `most(root)` says, in no order.
    pub(crate) fn best_of_each(
        &mut self,
        tree: SuperTreeView<'_>,
        most: impl Fn(usize) -> usize,
    ) -> &mut [u64] {
        self.chosen.clear();
        for root in 0..tree.roots() {
            self.gather(tree, root);
            self.chosen.extend_from_slice(winners(&mut self.family, most(root)));
        }
        &mut self.chosen
    }

    /// Leaves in `family` the keys in the running of the sequence of `root`.
    fn gather(&mut self, tree: SuperTreeView<'_>, root: usize) {
        self.families.find(tree, tree.levels() - 1);
        self.family.clear();
        for depth in 1..tree.levels() {
            let nodes = self.families.of(depth, root);
            let keys = self.cost[nodes.clone()].iter().zip(nodes).map(|(&cost, n)| key(cost, n));
            self.family.extend(keys.filter(|&key| cost(key) != OUT));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_order_like_scores() {
        let best_first = [0.0, -1e-30, -1.0, -2.0, f32::MIN, f32::NEG_INFINITY];
        assert!(best_first.is_sorted_by(|&a, &b| cost_of(a) < cost_of(b)));
        assert_eq!(cost_of(0.0), cost_of(-0.0));
        assert!(cost_of(f32::NEG_INFINITY) < OUT);
        assert_eq!(score(cost_of(-1.5)), -1.5);
    }
}
