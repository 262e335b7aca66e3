//! Where drafting goes on.

use crate::keep::Keep;
use crate::load::Load;
use crate::supertree::Frontier;

/// Decides which frontier nodes are worth children, and how many each.
///
/// A gate is a pure function of what it is shown: it knows no clock, no device and no text, and
/// costs time at worst, never correctness.
pub trait Gate: Send {
    /// Whether this gate wants to look at the frontier of `depth` (0: the roots); elsewhere the
    /// drafter runs ahead unasked.
    fn looks_at(&self, depth: usize) -> bool;

    /// Narrows `keep`, which the engine has opened by the shape of the draft. Entry `i` of `keep`
    /// is the node `frontier.nodes().start + i`. Same inputs, same mask; allocates nothing.
    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep);
}

const _: Option<&dyn Gate> = None;
