//! How an engine uses its limits.

use echo_core::Load;
use std::time::Duration;

/// How an engine uses its limits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Prompt rows in one forward at most; the rest of a prompt waits for the next.
    pub prompt_rows_max: usize,
    /// Tree rows in one forward at most, roots included, but never fewer than roots: the `K_max` of
    /// ECHO. `None` leaves it to the solver and the limits.
    pub budget: Option<usize>,
    /// Requests that may wait, beyond those that have or can have a place.
    pub queue_max: usize,
    /// Whether there is memory for more than what runs; asked once a request has taken its own,
    /// and refused with [`RejectReason::NoMemory`](crate::RejectReason::NoMemory) where not.
    pub has_memory: fn() -> bool,
    /// Whether committed prefixes are kept for later requests.
    pub prefix_cache: bool,
    /// Time that one call of a gate or solver may take. What takes longer counts as a fault of the
    /// part, as a panic does. A call that never returns can't be cut short, but it can be left
    /// behind: see [`IsolatedGate`](crate::IsolatedGate).
    pub policy_time_max: Duration,
    /// Time that one call of a drafter may take.
    pub draft_time_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            prompt_rows_max: 512,
            budget: None,
            queue_max: 512,
            has_memory: || true,
            prefix_cache: true,
            policy_time_max: Duration::from_millis(100),
            draft_time_max: Duration::from_secs(2),
        }
    }
}

impl Options {
    /// Tree rows that this step's forward may have.
    pub(crate) fn rows_for(&self, load: Load) -> usize {
        let budget = self.budget.unwrap_or(usize::MAX);
        budget.min(load.rows_free).min(load.kv_free).max(load.n_seqs)
    }
}
