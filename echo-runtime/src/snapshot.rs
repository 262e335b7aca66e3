//! What callers may know of the engine's thread.

use crate::engine::Engine;
use crate::kv::KvUse;
use crate::meter::StepStats;
use echo_core::Correction;
use std::time::Instant;

/// The engine thread's state between two steps.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Counts and times of all steps.
    pub totals: StepStats,
    /// Counts and times of the last step.
    pub last: StepStats,
    /// Sequences that hold a place.
    pub n_live: usize,
    /// Requests that wait for a place.
    pub n_waiting: usize,
    /// How the KV slots are used.
    pub kv: KvUse,
    /// What was learnt of times and chances.
    pub learnt: Correction,
    /// Times that a lost device was opened anew.
    pub reopened: usize,
    /// Whether a gate, solver or drafter was switched off for its faults.
    pub has_part_off: bool,
    /// Rounds of the loop so far; an idle engine makes some, too.
    pub rounds: u64,
    /// When it was taken. An idle engine takes one every few milliseconds too, so an old one means
    /// a step that does not end.
    pub taken: Instant,
}

impl Snapshot {
    pub(crate) fn of(engine: &Engine, rounds: u64) -> Self {
        Snapshot {
            totals: *engine.totals(),
            last: *engine.last_step(),
            n_live: engine.n_live(),
            n_waiting: engine.n_waiting(),
            kv: engine.kv_use(),
            learnt: engine.learnt(),
            reopened: engine.n_reopened(),
            has_part_off: engine.has_part_off(),
            rounds,
            taken: Instant::now(),
        }
    }
}
