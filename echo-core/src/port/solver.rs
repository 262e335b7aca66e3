//! Which drafted nodes are verified.

use crate::load::Budget;
use crate::plan::Plan;
use crate::supertree::SuperTreeView;

/// Chooses the nodes of the super-tree that the target verifies, under one budget for the batch.
pub trait Solver: Send {
    /// Fills `plan`, which the engine has reset to the roots of `tree`.
    ///
    /// The plan must be legal for any scores that a tree may have, −∞ included: see [`Plan`] and
    /// [`SuperTreeView::score`]. The same tree and budget give the same plan. May use scratch of
    /// its own, but allocates nothing once it has seen a tree of this size.
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan);
}

impl<S: Solver + ?Sized> Solver for Box<S> {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        (**self).choose(tree, budget, plan);
    }
}

const _: Option<&dyn Solver> = None;
