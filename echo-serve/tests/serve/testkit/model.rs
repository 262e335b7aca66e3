//! The simulated model behind the server, as slow as a test wants it.

use echo_core::sampling::SampleView;
use echo_core::{
    Budget, DeviceError, Limits, PackedView, Plan, Solver, SuperTreeView, Target, Token, Verdicts,
    Vocab,
};
use echo_gate::Always;
use echo_model::sim::{ByteVocab, SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_model::template::Message;
use echo_runtime::Parts;
use echo_serve::Codec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Texts with the word `slow` that were, or are being, turned into tokens.
pub(crate) static SLOW: AtomicUsize = AtomicUsize::new(0);

/// Letters as tokens; a tokenizer that panics at the word `panic` and takes its time over `slow`.
#[derive(Default)]
pub(crate) struct Bytes(ByteVocab);

impl Codec for Bytes {
    fn vocab(&self) -> &dyn Vocab {
        &self.0
    }

    fn encode(&self, text: &str) -> Result<Vec<Token>, String> {
        assert!(!text.contains("panic"), "a tokenizer with a bug");
        if text.contains("slow") {
            SLOW.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(400));
        }
        Ok(text.bytes().map(Token::from).collect())
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<Token>, String> {
        let turns: Vec<String> =
            messages.iter().map(|m| format!("{}: {}\n", m.role, m.content)).collect();
        self.encode(&turns.concat())
    }
}

/// Time that every forward takes longer; may change while it runs.
#[derive(Clone)]
pub(crate) struct Pace(Arc<AtomicU64>);

impl Pace {
    pub(crate) fn new(step: Duration) -> Self {
        Pace(Arc::new(AtomicU64::new(step.as_micros() as u64)))
    }

    pub(crate) fn set(&self, step: Duration) {
        self.0.store(step.as_micros() as u64, Ordering::Relaxed);
    }
}

/// A target that takes its time. A device that is told to break panics: a bug, not a failure.
struct Slow {
    inner: SimTarget,
    pace: Pace,
}

/// The pace at which the target panics.
pub(crate) const BROKEN: Duration = Duration::from_micros(u64::MAX);

impl Target for Slow {
    fn shape(&self) -> echo_core::port::TargetShape {
        self.inner.shape()
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let us = self.pace.0.load(Ordering::Relaxed);
        assert!(us != u64::MAX, "a device with a bug");
        if us > 0 {
            std::thread::sleep(Duration::from_micros(us));
        }
        self.inner.verify(packed, sample, verdicts)
    }
}

/// Nodes in order while the budget lasts.
struct Greedy;

impl Solver for Greedy {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let mut drafted = [0; 64];
        for n in tree.roots()..tree.len() {
            let drafted = &mut drafted[tree.seq[n] as usize];
            let fits = plan.len() < budget.rows && *drafted < budget.tree_max;
            if fits && plan.contains(tree.parent[n] as usize) {
                plan.keep(n);
                *drafted += 1;
            }
        }
    }
}

/// What the engine is put together from.
pub(crate) fn parts(limits: &Limits, pace: &Pace) -> Parts {
    let law = SimLaw { seed: 3, vocab: 256, spread: 1.5, ties: 0.05 };
    let (kv_slots, rows_max) = (limits.kv_slots, limits.rows_max);
    let context_max = limits.context_max;
    let inner = SimTarget::new(SimOptions { law, kv_slots, rows_max, context_max });
    let draft = SimDraft { law, agreement: vec![0.8; 5], silence: 0.0, unruly: 0.0 };
    Parts {
        target: Box::new(Slow { inner, pace: pace.clone() }),
        drafter: Box::new(SimDrafter::new(draft)),
        gate: Box::new(Always),
        solver: Box::new(Greedy),
        vocab: Arc::new(ByteVocab::default()),
    }
}
