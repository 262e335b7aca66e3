//! The mask a solver fills: which nodes of the super-tree the target verifies.

/// The chosen nodes of a super-tree.
///
/// A legal plan holds every root, holds a node only with its parent, has at most
/// [`Budget::rows`](crate::Budget::rows) nodes and at most
/// [`Budget::tree_max`](crate::Budget::tree_max) drafted nodes of one sequence. The engine checks
/// each plan and falls back to the roots alone if a solver breaks the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    kept: Vec<bool>,
    len: usize,
}

impl Plan {
    /// An empty plan with room for `nodes` nodes.
    pub fn with_capacity(nodes: usize) -> Self {
        Plan { kept: Vec::with_capacity(nodes), len: 0 }
    }

    /// Covers `nodes` nodes of which the first `roots` are kept.
    pub fn reset(&mut self, nodes: usize, roots: usize) {
        self.kept.clear();
        self.kept.resize(nodes, false);
        self.kept[..roots].fill(true);
        self.len = roots;
    }

    /// Keeps node `n`.
    pub fn keep(&mut self, n: usize) {
        self.len += usize::from(!self.kept[n]);
        self.kept[n] = true;
    }

    /// Drops node `n`.
    pub fn remove(&mut self, n: usize) {
        self.len -= usize::from(self.kept[n]);
        self.kept[n] = false;
    }

    /// Whether node `n` is kept.
    pub fn contains(&self, n: usize) -> bool {
        self.kept[n]
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
        self.kept.len()
    }

    /// The kept nodes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.kept.iter().enumerate().filter_map(|(n, &kept)| kept.then_some(n))
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
}
