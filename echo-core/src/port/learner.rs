//! Who learns from steps.

use crate::correction::Correction;
use crate::load::Load;
use crate::plan::Plan;
use crate::supertree::SuperTreeView;

/// A step in hindsight: what was drafted, verified and accepted, and how long it took.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// All that was drafted.
    pub tree: SuperTreeView<'a>,
    /// What was verified.
    pub plan: &'a Plan,
    /// Depth of the last accepted node below each root, before any cut at a stop, `[roots]`.
    pub accepted_depth: &'a [u32],
    /// What policies knew.
    pub load: Load,
    /// Microseconds of the draft: its passes and growing the tree.
    pub draft_us: f64,
    /// Microseconds of the target's forward, with the walk along its verdicts.
    pub verify_us: f64,
    /// Microseconds of all else.
    pub host_us: f64,
}

/// Learns between steps, so that policies stay pure functions of what they are shown.
pub trait Learner: Send {
    /// Is told what the last step did and took, and says what policies are to multiply their times
    /// and chances by in the next. Allocates nothing.
    fn learn(&mut self, seen: Seen<'_>) -> Correction;
}

const _: Option<&dyn Learner> = None;
