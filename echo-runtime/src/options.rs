//! How an engine uses its limits.

use echo_core::Load;

/// How an engine uses its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Prompt rows in one forward at most; the rest of a prompt waits for the next.
    pub prompt_rows_max: usize,
    /// Tree rows in one forward at most, roots included, but never fewer than roots: the `K_max` of
    /// ECHO. `None` leaves it to the solver and the limits.
    pub budget: Option<usize>,
    /// Requests that may wait, beyond those that have or can have a place.
    pub queue_max: usize,
    /// Whether committed prefixes are kept for later requests.
    pub prefix_cache: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { prompt_rows_max: 512, budget: None, queue_max: 512, prefix_cache: true }
    }
}

impl Options {
    /// Tree rows that this step's forward may have.
    pub(crate) fn rows_for(&self, load: Load) -> usize {
        let budget = self.budget.unwrap_or(usize::MAX);
        budget.min(load.rows_free).min(load.kv_free).max(load.n_seqs)
    }
}
