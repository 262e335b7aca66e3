//! The few numbers of the world that a policy may know.

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
}

/// What a solver may spend in this step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Tree rows at most, roots included; never fewer than there are roots.
    pub rows: usize,
    /// Drafted nodes of one sequence at most, its root not counted.
    pub tree_max: usize,
    /// The load in which the rows will run.
    pub load: Load,
}
