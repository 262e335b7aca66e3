//! What an engine is put together from, outside and in.

use crate::conduct::{Conduct, StepFaults};
use crate::guarded::{GuardedDrafter, GuardedGate, GuardedSolver, GuardedTarget};
use crate::options::Options;
use echo_core::{Drafter, Gate, Limits, Solver, Target, Vocab};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// What an engine is put together from.
pub struct Parts {
    /// The model whose text is wanted.
    pub target: Box<dyn Target>,
    /// Who proposes tokens.
    pub drafter: Box<dyn Drafter>,
    /// Where drafting goes on.
    pub gate: Box<dyn Gate>,
    /// Which nodes are verified.
    pub solver: Box<dyn Solver>,
    /// What tokens stand for.
    pub vocab: Arc<dyn Vocab>,
}

/// The same parts as the step calls them, each behind its guard.
pub(crate) struct Ports {
    pub(crate) target: GuardedTarget,
    pub(crate) drafter: GuardedDrafter,
    pub(crate) gate: GuardedGate,
    pub(crate) solver: GuardedSolver,
    pub(crate) vocab: Arc<dyn Vocab>,
    pub(crate) faults: StepFaults,
}

impl Ports {
    pub(crate) fn new(parts: Parts, limits: &Limits, options: &Options) -> Self {
        let Parts { target, drafter, gate, solver, vocab } = parts;
        let faults = StepFaults::default();
        let conduct = |time_max| Conduct::new(time_max, &faults);
        let n_tokens = target.shape().vocab;
        Ports {
            target: GuardedTarget { inner: target },
            drafter: GuardedDrafter::new(drafter, conduct(options.draft_time_max), n_tokens),
            gate: GuardedGate::new(gate, conduct(options.policy_time_max), limits.nodes_max()),
            solver: GuardedSolver::new(solver, conduct(options.policy_time_max)),
            vocab,
            faults,
        }
    }

    /// Takes the guards off again.
    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            target: self.target.inner,
            drafter: self.drafter.inner,
            gate: self.gate.inner,
            solver: self.solver.inner,
            vocab: self.vocab,
        }
    }

    /// Puts new policies in, with a good name.
    pub(crate) fn set_policies(
        &mut self,
        gate: Box<dyn Gate>,
        solver: Box<dyn Solver>,
        limits: &Limits,
        options: &Options,
    ) {
        let conduct = || Conduct::new(options.policy_time_max, &self.faults);
        self.gate = GuardedGate::new(gate, conduct(), limits.nodes_max());
        self.solver = GuardedSolver::new(solver, conduct());
    }

    /// Puts a new pair of target and drafter in.
    pub(crate) fn set_pair(
        &mut self,
        target: Box<dyn Target>,
        drafter: Box<dyn Drafter>,
        options: &Options,
    ) {
        let n_tokens = target.shape().vocab;
        let conduct = Conduct::new(options.draft_time_max, &self.faults);
        let target = std::mem::replace(&mut self.target, GuardedTarget { inner: target });
        let drafter = GuardedDrafter::new(drafter, conduct, n_tokens);
        let drafter = std::mem::replace(&mut self.drafter, drafter);
        // What lies on a device that is gone may say so once more when it is dropped; the other
        // goes all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(target)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(drafter)));
    }

    /// Whether a part was switched off, so that sequences are decoded plainly.
    pub(crate) fn has_one_off(&self) -> bool {
        self.drafter.is_off() || self.gate.is_off() || self.solver.is_off()
    }
}
