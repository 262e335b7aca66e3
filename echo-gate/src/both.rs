//! Two gates, one behind the other.

use echo_core::{Frontier, Gate, Keep, Load};

/// Keeps open what both keep open. Looks where either looks, and asks only those that look there.
pub struct Both(pub Box<dyn Gate>, pub Box<dyn Gate>);

impl Gate for Both {
    fn looks_at(&self, depth: usize) -> bool {
        self.0.looks_at(depth) || self.1.looks_at(depth)
    }

    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        for gate in [&self.0, &self.1] {
            if gate.looks_at(frontier.depth()) {
                gate.narrow(frontier, load, keep);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dense, DenseParams, Sparse, SparseParams, Threshold};
    use echo_tree::Drawing;

    #[test]
    fn either_can_close_and_only_where_it_looks() {
        let dense = |tau: Vec<f32>| Box::new(Dense::new(DenseParams { tau }).expect("in range"));
        let sparse = |depth, tau| {
            let thresholds = vec![Threshold { depth, tau }];
            Box::new(Sparse::new(SparseParams { thresholds }).expect("in range"))
        };
        let drawing = Drawing::parse("seq 0: 1\n  2 -1\nseq 1: 1\n  3 -0.1").expect("a tree");
        let left = |gate: &Both| {
            let mut keep = Keep::default();
            keep.reset(2);
            (0..2).for_each(|i| keep.open(i, 3));
            gate.narrow(drawing.tree.view().frontier(), Load::default(), &mut keep);
            keep.as_slice().to_vec()
        };
        assert_eq!(left(&Both(sparse(1, 0.5), dense(vec![0.1]))), [0, 3]);
        assert_eq!(left(&Both(dense(vec![0.1]), sparse(1, 0.5))), [0, 3]);
        // The second does not look at depth 1, where it would close all.
        let both = Both(dense(vec![0.1]), sparse(2, 1.0));
        assert_eq!(left(&both), [3, 3]);
        assert!(both.looks_at(1) && both.looks_at(2) && !both.looks_at(0));
    }
}
