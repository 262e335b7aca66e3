//! An engine whose parts fail when a dial says so.

use crate::testkit::solvers::Greedy;
use crate::testkit::vocab::SmallVocab;
use echo_core::port::TargetShape;
use echo_core::{
    Budget, DeviceError, Frontier, Gate, Keep, Limits, Load, PackedView, Plan, SampleView, Solver,
    SuperTreeView, Target, Verdicts,
};
use echo_model::sim::{SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_runtime::{Engine, Options, Pair, Parts};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The seed of requests for which every forward fails.
pub(crate) const POISON: u64 = u64::MAX;
/// Words of every panic made here.
pub(crate) const WORDS: &str = "on purpose";

/// What is to fail next; each is met once. 0 is nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dial(Arc<AtomicUsize>);

impl Dial {
    /// Faults of the device.
    pub(crate) const FAIL: usize = 1;
    pub(crate) const LOSE: usize = 2;
    pub(crate) const PANIC: usize = 3;
    /// Faults of policies.
    pub(crate) const GATE: usize = 4;
    pub(crate) const SOLVER: usize = 5;
    pub(crate) const RULES: usize = 6;
    /// All of them.
    pub(crate) const ALL: [usize; 6] =
        [Self::FAIL, Self::LOSE, Self::PANIC, Self::GATE, Self::SOLVER, Self::RULES];

    pub(crate) fn turn(&self, to: usize) {
        self.0.store(to, Ordering::Relaxed);
    }

    /// Whether it stands at `fault`; it is turned back then.
    fn meets(&self, fault: usize) -> bool {
        self.0.compare_exchange(fault, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

pub(crate) struct Shaky<T>(pub(crate) T, pub(crate) Dial);

impl<T: Target> Target for Shaky<T> {
    fn shape(&self) -> TargetShape {
        self.0.shape()
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let is_poisoned = sample.specs.iter().any(|spec| spec.seed == POISON);
        if is_poisoned || self.1.meets(Dial::FAIL) {
            return Err(DeviceError::Failed(WORDS.into()));
        }
        if self.1.meets(Dial::LOSE) {
            return Err(DeviceError::Lost(WORDS.into()));
        }
        assert!(!self.1.meets(Dial::PANIC), "{WORDS}");
        self.0.verify(packed, sample, verdicts)
    }
}

impl Gate for Shaky<()> {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, _frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        assert!(!self.1.meets(Dial::GATE), "{WORDS}");
        let _ = keep;
    }
}

impl Solver for Shaky<Greedy> {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        assert!(!self.1.meets(Dial::SOLVER), "{WORDS}");
        if self.1.meets(Dial::RULES) {
            return plan.reset(0, 0);
        }
        self.0.choose(tree, budget, plan);
    }
}

/// A target and a drafter as a device would bring them.
fn pair(law: SimLaw, limits: Limits, dial: &Dial) -> Pair {
    let Limits { kv_slots, context_max, rows_max, .. } = limits;
    let target = SimTarget::new(SimOptions { law, kv_slots, rows_max, context_max });
    let draft = SimDraft { law, agreement: vec![0.9, 0.7], silence: 0.05, unruly: 0.0 };
    Pair {
        target: Box::new(Shaky(target, dial.clone())),
        drafter: Box::new(SimDrafter::new(draft)),
    }
}

/// An engine that obeys `dial` and opens its device as often as it must.
pub(crate) fn engine(law: SimLaw, limits: Limits, dial: &Dial) -> Engine {
    let Pair { target, drafter } = pair(law, limits, dial);
    let parts = Parts {
        target,
        drafter,
        gate: Box::new(Shaky((), dial.clone())),
        solver: Box::new(Shaky(Greedy, dial.clone())),
        vocab: Arc::new(SmallVocab),
    };
    let options = Options { queue_max: 24, prompt_rows_max: 64, ..Options::default() };
    let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
    let dial = dial.clone();
    engine.on_loss(Box::new(move || Ok(pair(law, limits, &dial))));
    engine
}
