//! Who proposes tokens.

use crate::batch::BatchView;
use crate::error::DeviceError;
use crate::id::Token;
use crate::keep::Keep;
use crate::packed::PackedView;
use crate::supertree::Frontier;

/// The children a drafter proposes for one level, in any order.
///
/// The super-tree sorts them, drops repeated siblings and cuts each parent to what `keep` allows,
/// so a drafter can't break the tree.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// Node of the frontier, as an index into the tree.
    pub parent: Vec<u32>,
    /// Proposed token.
    pub token: Vec<Token>,
    /// Draft log-probability given the parent, at most 0.
    pub log_prob: Vec<f32>,
}

impl Children {
    /// Room for `nodes` children.
    pub fn with_capacity(nodes: usize) -> Self {
        Children {
            parent: Vec::with_capacity(nodes),
            token: Vec::with_capacity(nodes),
            log_prob: Vec::with_capacity(nodes),
        }
    }

    /// Proposes `token` after `parent`.
    #[inline]
    pub fn push(&mut self, parent: usize, token: Token, log_prob: f32) {
        self.parent.push(parent as u32);
        self.token.push(token);
        self.log_prob.push(log_prob);
    }

    /// Forgets all proposals.
    pub fn clear(&mut self) {
        self.parent.clear();
        self.token.clear();
        self.log_prob.clear();
    }

    /// Number of proposals.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Whether nothing was proposed.
    pub fn is_empty(&self) -> bool {
        self.parent.is_empty()
    }
}

/// What became of a forward's rows.
#[derive(Clone, Copy, Debug)]
pub struct Settled<'a> {
    /// The live sequences after the commit.
    pub batch: BatchView<'a>,
    /// The rows of the forward. Their hidden states, if the drafter taps them, lie in the target's
    /// tap buffers in the same order until the next forward.
    pub packed: PackedView<'a>,
    /// Whether the row's token is now part of its sequence, `[rows]`: context rows, roots and
    /// accepted rows.
    pub kept: &'a [bool],
}

/// Proposes the next tokens, level by level, for the whole batch at once.
pub trait Drafter: Send {
    /// Is told which rows of the last forward were kept. A drafter with keys and values of its own
    /// notes them here and brings them up to date as part of its next first level.
    fn settle(&mut self, settled: Settled<'_>);

    /// Proposes up to `keep.children(i)` children for each node `frontier.nodes().start + i`, one
    /// level for the whole batch. `children` arrives empty. Proposes nothing it does not believe
    /// in: an empty level ends the draft.
    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError>;

    /// Is told that the sequence at place `seq` is gone (finished, cancelled or preempted); the
    /// place may be given to another.
    fn forget(&mut self, seq: u32);
}

const _: Option<&dyn Drafter> = None;
