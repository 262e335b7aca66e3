//! What the last step drafted, verified and accepted, for calibration and traces.

use echo_core::{Plan, SuperTreeView};
use echo_tree::{Packed, Paths};

/// One step in hindsight. Lasts until the next.
#[derive(Clone, Copy)]
pub struct Round<'a> {
    /// All that was drafted.
    pub tree: SuperTreeView<'a>,
    /// What was verified.
    pub plan: &'a Plan,
    packed: &'a Packed,
    paths: &'a Paths,
}

impl<'a> Round<'a> {
    pub(crate) fn new(
        tree: SuperTreeView<'a>,
        plan: &'a Plan,
        packed: &'a Packed,
        paths: &'a Paths,
    ) -> Self {
        Round { tree, plan, packed, paths }
    }

    /// Leaves in `accepted`, `[nodes]`, whether the target accepted each node, before any cut at a
    /// stop. Roots are always accepted.
    pub fn accepted(&self, accepted: &mut Vec<bool>) {
        accepted.clear();
        accepted.resize(self.tree.len(), false);
        accepted[..self.tree.roots()].fill(true);
        let rows = (0..self.paths.len()).flat_map(|p| self.paths.rows(p));
        for node in rows.filter_map(|&row| self.packed.node_of(row as usize)) {
            accepted[node] = true;
        }
    }

    /// Leaves in `depths`, `[roots]`, the depth of the last accepted node below each root.
    pub fn accepted_depths(&self, depths: &mut Vec<u32>) {
        depths.clear();
        depths.extend((0..self.paths.len()).map(|p| self.paths.rows(p).len().max(1) as u32 - 1));
    }
}
