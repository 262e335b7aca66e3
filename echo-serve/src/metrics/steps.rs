//! The distribution of what steps cost and bring.

use echo_runtime::{Stage, StepStats};
use metrics::{Histogram, describe_histogram, histogram};

/// Histograms of single steps, filled on the engine's thread.
pub(super) struct Steps {
    stages: [Histogram; Stage::ALL.len()],
    rows: Histogram,
    nodes: Histogram,
    wasted: Histogram,
    accepted: Histogram,
}

impl Steps {
    /// Registers with the recorder at hand.
    pub(super) fn new() -> Self {
        let described = [
            ("echo_stage_seconds", "Time of one stage of one step"),
            ("echo_step_rows", "Rows of one forward"),
            ("echo_step_nodes", "Nodes drafted in one step"),
            ("echo_step_wasted_rows", "Drafted nodes verified in vain in one step"),
            ("echo_accepted_length", "Drafted tokens that one sequence accepted in one step"),
        ];
        for (name, what) in described {
            describe_histogram!(name, what);
        }
        Steps {
            stages: Stage::ALL
                .map(|stage| histogram!("echo_stage_seconds", "stage" => stage.name())),
            rows: histogram!("echo_step_rows"),
            nodes: histogram!("echo_step_nodes"),
            wasted: histogram!("echo_step_wasted_rows"),
            accepted: histogram!("echo_accepted_length"),
        }
    }

    /// Notes a step that ran a forward.
    pub(super) fn note(&mut self, step: &StepStats) {
        for (stage, time) in self.stages.iter().zip(step.time) {
            stage.record(time.as_secs_f64());
        }
        self.rows.record(step.rows() as f64);
        self.nodes.record(step.drafted as f64);
        self.wasted.record(step.wasted() as f64);
        // Sequences that accepted at least so many, from 0.
        let mut at_least = step.seqs as u64;
        for (accepted, &more) in step.by_depth.accepted.iter().enumerate() {
            self.accepted.record_many(accepted as f64, at_least.saturating_sub(more) as usize);
            at_least = more;
        }
    }
}
