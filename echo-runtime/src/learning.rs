//! Between two steps: the last one is shown to a learner.

use crate::meter::{Meter, Stage};
use crate::round::Round;
use echo_core::{Correction, Learner, Limits, Seen};
use std::time::Duration;

/// A learner, and the buffer of what it is shown.
pub(crate) struct Learning {
    learner: Box<dyn Learner>,
    accepted_depth: Vec<u32>,
}

impl Learning {
    pub(crate) fn new(learner: Box<dyn Learner>, limits: &Limits) -> Self {
        Learning { learner, accepted_depth: Vec::with_capacity(limits.seqs_max) }
    }

    /// What the learner makes of the last step; `None` if it ran no forward.
    pub(crate) fn learn(&mut self, round: Round<'_>, meter: &Meter) -> Option<Correction> {
        if meter.last.steps == 0 {
            return None;
        }
        round.accepted_depths(&mut self.accepted_depth);
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let time = |stage: Stage| us(meter.last.time[stage as usize]);
        let (draft_us, verify_us) = (time(Stage::Draft), time(Stage::Verify));
        Some(self.learner.learn(Seen {
            tree: round.tree,
            plan: round.plan,
            accepted_depth: &self.accepted_depth,
            load: meter.last_load,
            draft_us,
            verify_us,
            host_us: us(meter.last.total_time()) - draft_us - verify_us,
        }))
    }
}
