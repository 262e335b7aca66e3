//! The mask a solver fills: which nodes of the super-tree the target verifies.

use std::ops::Range;

/// The chosen nodes of a super-tree.
///
/// A legal plan holds every root, holds a node only with its parent, has at most
/// [`Budget::rows`](crate::Budget::rows) nodes and at most
/// [`Budget::tree_max`](crate::Budget::tree_max) drafted nodes of one sequence. The engine checks
/// each plan and falls back to the roots alone if a solver breaks the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whether node `64 i + b` is kept, in bit `b` of word `i`.
    kept: Vec<u64>,
    nodes: usize,
    len: usize,
}

impl Plan {
    /// An empty plan with room for `nodes` nodes.
    pub fn with_capacity(nodes: usize) -> Self {
        Plan { kept: Vec::with_capacity(nodes.div_ceil(64)), nodes: 0, len: 0 }
    }

    /// Covers `nodes` nodes of which the first `roots` are kept.
    ///
    /// Panics if there are more roots than nodes.
    pub fn reset(&mut self, nodes: usize, roots: usize) {
        assert!(roots <= nodes, "{roots} roots of {nodes} nodes");
        self.kept.clear();
        self.kept.resize(nodes.div_ceil(64), 0);
        self.kept[..roots / 64].fill(u64::MAX);
        if !roots.is_multiple_of(64) {
            self.kept[roots / 64] = (1 << (roots % 64)) - 1;
        }
        self.nodes = nodes;
        self.len = roots;
    }

    /// Keeps node `n`.
    #[inline]
    pub fn keep(&mut self, n: usize) {
        self.len += usize::from(!self.contains(n));
        self.kept[n / 64] |= 1 << (n % 64);
    }

    /// Drops node `n`.
    #[inline]
    pub fn remove(&mut self, n: usize) {
        self.len -= usize::from(self.contains(n));
        self.kept[n / 64] &= !(1 << (n % 64));
    }

    /// Whether node `n` is kept.
    ///
    /// Panics if the plan doesn't cover it.
    #[inline]
    pub fn contains(&self, n: usize) -> bool {
        assert!(n < self.nodes, "node {n} of {}", self.nodes);
        self.kept[n / 64] >> (n % 64) & 1 == 1
    }

    /// Number of kept nodes: the tree rows of the forward.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no node is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of nodes covered, kept or not.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The lowest kept node from `n` on.
    #[inline]
    pub fn next(&self, n: usize) -> Option<usize> {
        let mut word = n / 64;
        let mut bits = *self.kept.get(word)? & (u64::MAX << (n % 64));
        while bits == 0 {
            word += 1;
            bits = *self.kept.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    /// Number of kept nodes among `nodes`.
    ///
    /// Panics if the plan doesn't cover them.
    pub fn count(&self, nodes: Range<usize>) -> usize {
        assert!(nodes.end <= self.nodes, "nodes {nodes:?} of {}", self.nodes);
        let Range { start, end } = nodes;
        let word = |i: usize| {
            let mut bits = self.kept[i];
            if i == start / 64 {
                bits &= u64::MAX << (start % 64);
            }
            if i == end / 64 {
                bits &= !(u64::MAX << (end % 64));
            }
            bits.count_ones() as usize
        };
        (start / 64..end.div_ceil(64)).map(word).sum()
    }

    /// The kept nodes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(self.next(0), |&n| self.next(n + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeping_twice_counts_once() {
        let mut plan = Plan::with_capacity(4);
        plan.reset(4, 1);
        plan.keep(2);
        plan.keep(2);
        assert_eq!((plan.len(), plan.iter().collect::<Vec<_>>()), (2, vec![0, 2]));
        plan.remove(2);
        plan.remove(2);
        assert_eq!(plan.len(), 1);
    }

    #[test]
    fn kept_nodes_are_found_across_words() {
        let mut plan = Plan::default();
        for roots in [0, 1, 63, 64, 65, 130] {
            plan.reset(200, roots);
            assert!(plan.iter().eq(0..roots) && plan.len() == roots);
        }
        plan.reset(200, 2);
        assert_eq!((plan.count(0..0), plan.count(1..200), plan.count(2..64)), (0, 1, 0));
        for n in [63, 64, 199] {
            plan.keep(n);
        }
        assert_eq!(plan.iter().collect::<Vec<_>>(), [0, 1, 63, 64, 199]);
        for (start, end) in (0..=200).flat_map(|start| (start..=200).map(move |end| (start, end))) {
            let one_by_one = (start..end).filter(|&n| plan.contains(n)).count();
            assert_eq!(plan.count(start..end), one_by_one, "{start}..{end}");
        }
        assert_eq!(
            [2, 64, 65, 200, 999].map(|n| plan.next(n)),
            [63, 64, 199, 0, 0].map(Some).map(|n| n.filter(|&n| n > 0))
        );
    }
}
