//! The few numbers of the world that a policy may know.

use crate::correction::Correction;

/// How busy the engine is, as gates and solvers see it. Nothing here names a request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Sequences with a root in this step.
    pub n_seqs: usize,
    /// Requests waiting for a place in the batch.
    pub n_waiting: usize,
    /// Prompt rows that already have a place in this step's forward.
    pub context_rows: usize,
    /// Rows left in this step's forward for roots and drafted nodes.
    pub rows_free: usize,
    /// KV slots nobody holds.
    pub kv_free: usize,
    /// Mean number of cached tokens of the sequences with a root, for cost models.
    pub kv_len: usize,
    /// Drafted tokens that a step accepted per sequence: a moving average in which the newest step
    /// that verified drafts counts one fifth. `None` before the first.
    pub accepted: Option<f32>,
    /// How far times and chances have left what was known of them at start.
    pub correction: Correction,
}

/// What one sequence may ask of the common budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// What an accepted token of this sequence is worth beside the others'; finite and above 0.
    pub weight: f32,
    /// Drafted nodes verified in one step at most; 0 is plain decoding.
    pub nodes_max: usize,
    /// Steps in a row in which nodes were drafted for it and none was verified.
    pub waited: usize,
}

impl Share {
    /// Worth as much as anybody, without a cap, and not waiting.
    pub const EVEN: Share = Share { weight: 1.0, nodes_max: usize::MAX, waited: 0 };
}

/// What a solver may spend in this step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget<'a> {
    /// Tree rows at most, roots included; never fewer than there are roots.
    pub rows: usize,
    /// Drafted nodes of one sequence at most, its root not counted.
    pub tree_max: usize,
    /// The load in which the rows will run.
    pub load: Load,
    /// By place in the batch; places beyond its end have [`Share::EVEN`]. Solvers may pass it over.
    pub shares: &'a [Share],
}

impl Budget<'_> {
    /// The share of the sequence at place `seq`.
    pub fn share(&self, seq: u32) -> Share {
        self.shares.get(seq as usize).copied().unwrap_or(Share::EVEN)
    }
}
