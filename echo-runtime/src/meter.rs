//! What a step cost, stage by stage.

use crate::by_depth::ByDepth;
use crate::commit::Ledger;
use echo_core::{Keep, Load, PackedView, SuperTreeView};
use std::time::{Duration, Instant};

/// The stages of a step that are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Admission and the division of rows.
    Admit,
    /// The shape of the draft and the gate.
    Gate,
    /// The drafter, and growing the tree by what it proposed.
    Draft,
    /// The solver, and checking its plan.
    Solve,
    /// Packing rows and sampling specs.
    Pack,
    /// The target's forward and the walk along its verdicts.
    Verify,
    /// Commit, settling the drafter, retiring what ended.
    Commit,
}

impl Stage {
    /// All stages in the order of the step.
    pub const ALL: [Stage; 7] = [
        Stage::Admit,
        Stage::Gate,
        Stage::Draft,
        Stage::Solve,
        Stage::Pack,
        Stage::Verify,
        Stage::Commit,
    ];

    /// Its name in tables and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Admit => "admit",
            Stage::Gate => "gate",
            Stage::Draft => "draft",
            Stage::Solve => "solve",
            Stage::Pack => "pack",
            Stage::Verify => "verify",
            Stage::Commit => "commit",
        }
    }
}

/// Counts and times, of one step or summed over many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepStats {
    /// Steps that ran a forward.
    pub steps: usize,
    /// Time by [`Stage`].
    pub time: [Duration; 7],
    /// Sequences with a root.
    pub seqs: usize,
    /// Rows of prompt tokens.
    pub context_rows: usize,
    /// Nodes drafted.
    pub drafted: usize,
    /// Levels grown, by draft passes or by what cost none.
    pub levels: usize,
    /// Sequences for which at least one drafted row was verified, step by step.
    pub drafts: usize,
    /// Drafted rows verified.
    pub verified: usize,
    /// Drafted rows whose token was committed.
    pub accepted: usize,
    /// Tokens committed.
    pub committed: usize,
    /// Times that a gate, solver or drafter panicked, stalled or broke the rules. The step is then
    /// finished with one row per sequence.
    pub policy_faults: usize,
    /// Tree rows that the budget allowed, roots included; [`StepStats::used`] of them were taken.
    pub granted: usize,
    /// Sequences that lost their places to others.
    pub preemptions: usize,
    /// Drafted, verified and accepted nodes, depth by depth.
    pub by_depth: ByDepth,
    /// Steps in which the gate looked at a depth, by depth from 0.
    pub gate_looks: [u64; ByDepth::DEPTHS],
    /// Steps in which it then closed or narrowed a node of that depth, or forwent its pass.
    pub gate_fires: [u64; ByDepth::DEPTHS],
}

impl StepStats {
    /// Rows of all forwards.
    pub fn rows(&self) -> usize {
        self.context_rows + self.seqs + self.verified
    }

    /// Tree rows of all forwards: roots and drafted rows.
    pub fn used(&self) -> usize {
        self.seqs + self.verified
    }

    /// Drafted rows that were verified in vain.
    pub fn wasted(&self) -> usize {
        self.verified - self.accepted
    }

    /// Tokens committed per root, bonus token included.
    pub fn mean_accepted_len(&self) -> f64 {
        if self.seqs == 0 { 0.0 } else { self.committed as f64 / self.seqs as f64 }
    }

    /// Time of all stages.
    pub fn total_time(&self) -> Duration {
        self.time.iter().sum()
    }

    /// Adds another's counts and times.
    pub fn add(&mut self, other: &StepStats) {
        self.combine(other, |sum, n| *sum += n, |sum, n| *sum += n, |sum, time| *sum += time);
    }

    /// Takes an earlier account away, leaving what happened since.
    pub fn subtract(&mut self, earlier: &StepStats) {
        self.combine(earlier, |sum, n| *sum -= n, |sum, n| *sum -= n, |sum, time| *sum -= time);
    }

    fn combine(
        &mut self,
        other: &StepStats,
        count: impl Fn(&mut usize, usize),
        by_depth: impl Fn(&mut u64, u64),
        time: impl Fn(&mut Duration, Duration),
    ) {
        count(&mut self.steps, other.steps);
        for (own, other) in self.time.iter_mut().zip(other.time) {
            time(own, other);
        }
        count(&mut self.seqs, other.seqs);
        count(&mut self.context_rows, other.context_rows);
        count(&mut self.drafted, other.drafted);
        count(&mut self.levels, other.levels);
        count(&mut self.drafts, other.drafts);
        count(&mut self.verified, other.verified);
        count(&mut self.accepted, other.accepted);
        count(&mut self.committed, other.committed);
        count(&mut self.policy_faults, other.policy_faults);
        count(&mut self.granted, other.granted);
        count(&mut self.preemptions, other.preemptions);
        self.by_depth.combine(&other.by_depth, &by_depth);
        for (own, other) in self.gate_looks.iter_mut().zip(other.gate_looks) {
            by_depth(own, other);
        }
        for (own, other) in self.gate_fires.iter_mut().zip(other.gate_fires) {
            by_depth(own, other);
        }
    }
}

/// The engine's account of its steps.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) last: StepStats,
    pub(crate) total: StepStats,
    /// The load of the last step that ran a forward.
    pub(crate) last_load: Load,
    accepted: Option<f32>,
}

impl Meter {
    /// Books the faults of the plug-ins in the last step, whether it failed or not.
    pub(crate) fn policy_faults(&mut self, n: usize) {
        self.last.policy_faults = n;
        self.total.policy_faults += n;
    }

    /// Starts a step's clock.
    pub(crate) fn start(&mut self) -> Clock<'_> {
        self.last = StepStats::default();
        Clock { meter: self, since: Instant::now() }
    }
}

/// Measures one step; a step that fails leaves its times in the account and no counts.
#[derive(Debug)]
pub(crate) struct Clock<'a> {
    meter: &'a mut Meter,
    since: Instant,
}

impl Clock<'_> {
    /// The moving average of [`Load::accepted`].
    pub(crate) fn accepted(&self) -> Option<f32> {
        self.meter.accepted
    }

    /// Books the time since the last lap on `stage`.
    pub(crate) fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        self.meter.last.time[stage as usize] += now - self.since;
        self.since = now;
    }

    /// Notes sequences that lost their places, which they did whether or not the step fails.
    pub(crate) fn preempted(&mut self, n: usize) {
        self.meter.last.preemptions = n;
        self.meter.total.preemptions += n;
    }

    /// Notes whether the gate, asked at `depth`, left less than the children and passes that were
    /// `opened`.
    pub(crate) fn gated(&mut self, depth: usize, opened: (u64, usize), keep: &Keep) {
        let last = &mut self.meter.last;
        let at = depth.min(ByDepth::DEPTHS - 1);
        last.gate_looks[at] += 1;
        last.gate_fires[at] += u64::from((keep.n_children(), keep.n_passes()) != opened);
    }

    /// Books the rest on the commit, and the step's counts.
    pub(crate) fn finish(
        mut self,
        tree: SuperTreeView<'_>,
        packed: PackedView<'_>,
        load: Load,
        granted: usize,
        ledger: &Ledger,
    ) {
        self.lap(Stage::Commit);
        let last = &mut self.meter.last;
        last.steps = 1;
        last.granted = granted;
        last.by_depth = ledger.by_depth;
        last.seqs = load.n_seqs;
        last.context_rows = load.context_rows;
        last.drafted = tree.len() - tree.roots();
        last.drafts = ledger.n_drafts;
        last.levels = tree.levels() - 1;
        last.verified = packed.rows() - load.context_rows - load.n_seqs;
        last.accepted = ledger.n_accepted;
        last.committed = ledger.n_committed;
        let last = *last;
        self.meter.total.add(&StepStats { preemptions: 0, ..last });
        self.meter.last_load = load;
        if last.verified > 0 {
            let newest = last.accepted as f32 / last.seqs as f32;
            let average = self.meter.accepted.unwrap_or(newest);
            self.meter.accepted = Some(average + 0.2 * (newest - average));
        }
    }
}
