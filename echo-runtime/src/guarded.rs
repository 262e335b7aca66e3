//! Ports as the step calls them: whatever the part behind one does, the step goes on.
//!
//! A gate, solver or drafter that panics, stalls or breaks the rules costs its step the draft: one
//! row per sequence is left, plain decoding. One that does so again and again is not asked any
//! more. A target that panics is as good as lost. No text changes by any of it.

use crate::conduct::Conduct;
use echo_core::port::TargetShape;
use echo_core::{
    BatchView, Budget, Children, DeviceError, Drafter, Frontier, Gate, Keep, Load, PackedView,
    Plan, SampleView, Settled, Solver, SuperTreeView, Target, Token, Verdicts,
};
use echo_tree::check_plan;
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A gate that can only narrow.
pub(crate) struct GuardedGate {
    pub(crate) inner: Box<dyn Gate>,
    conduct: Conduct,
    /// The mask before the gate saw it.
    opened: RefCell<Vec<u32>>,
}

impl GuardedGate {
    /// Guards `inner`; `nodes` is the widest frontier there can be.
    pub(crate) fn new(inner: Box<dyn Gate>, conduct: Conduct, nodes: usize) -> Self {
        GuardedGate { inner, conduct, opened: RefCell::new(Vec::with_capacity(nodes)) }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.conduct.is_off()
    }
}

impl Gate for GuardedGate {
    fn looks_at(&self, depth: usize) -> bool {
        // One that is off, or a step that had a fault, has to be passed in order to close the mask.
        self.is_off()
            || self.conduct.is_step_faulty()
            || self.conduct.watch(|| self.inner.looks_at(depth)).unwrap_or(true)
    }

    fn narrow(&self, frontier: Frontier<'_>, load: Load, keep: &mut Keep) {
        if !self.is_off() && !self.conduct.is_step_faulty() {
            let mut opened = self.opened.borrow_mut();
            opened.clear();
            opened.extend_from_slice(keep.as_slice());
            let narrowed = self.conduct.watch(|| self.inner.narrow(frontier, load, keep));
            let now = keep.as_slice();
            let covers = now.len() == opened.len();
            let widened = now.iter().zip(opened.iter()).any(|(now, before)| now > before);
            // What a panic left behind is no second fault.
            if narrowed.is_some() && (!covers || widened) {
                self.conduct.fault();
            }
        }
        if self.is_off() || self.conduct.is_step_faulty() {
            keep.reset(frontier.nodes().len());
        }
    }
}

/// A solver whose plan is legal.
pub(crate) struct GuardedSolver {
    pub(crate) inner: Box<dyn Solver>,
    conduct: Conduct,
}

impl GuardedSolver {
    pub(crate) fn new(inner: Box<dyn Solver>, conduct: Conduct) -> Self {
        GuardedSolver { inner, conduct }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.conduct.is_off()
    }

    /// Forgets what happened while it was shown trees that no sequence has.
    pub(crate) fn forgive(&self) {
        self.conduct.forgive();
    }
}

impl Solver for GuardedSolver {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        if !self.is_off() && !self.conduct.is_step_faulty() {
            let chosen = self.conduct.watch(|| self.inner.choose(tree, budget, plan));
            if chosen.is_some() && check_plan(tree, &budget, plan).is_err() {
                self.conduct.fault();
            }
        }
        if self.is_off() || self.conduct.is_step_faulty() {
            plan.reset(tree.len(), tree.roots());
        }
    }
}

/// A drafter whose failures are its own.
pub(crate) struct GuardedDrafter {
    pub(crate) inner: Box<dyn Drafter>,
    conduct: Conduct,
    /// Tokens of the target's vocabulary.
    vocab: usize,
}

impl GuardedDrafter {
    pub(crate) fn new(inner: Box<dyn Drafter>, conduct: Conduct, vocab: usize) -> Self {
        GuardedDrafter { inner, conduct, vocab }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.conduct.is_off()
    }
}

impl Drafter for GuardedDrafter {
    fn settle(&mut self, settled: Settled<'_>) {
        if !self.is_off() {
            self.conduct.watch(|| self.inner.settle(settled));
        }
    }

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        if self.is_off() || self.conduct.is_step_faulty() {
            return Ok(());
        }
        let extended = self.conduct.watch(|| self.inner.extend(batch, frontier, keep, children));
        let is_known = |&token: &Token| (token as usize) < self.vocab;
        let is_sound = match extended {
            // The device is the target's, too.
            Some(Err(error @ DeviceError::Lost(_))) => return Err(error),
            Some(Err(_)) => false,
            Some(Ok(())) => children.token.iter().all(is_known),
            None => {
                children.clear();
                return Ok(());
            }
        };
        if !is_sound {
            self.conduct.fault();
            children.clear();
        }
        Ok(())
    }

    fn forget(&mut self, seq: u32) {
        if !self.is_off() {
            self.conduct.watch(|| self.inner.forget(seq));
        }
    }
}

/// A target that does not panic.
pub(crate) struct GuardedTarget {
    pub(crate) inner: Box<dyn Target>,
}

impl Target for GuardedTarget {
    fn shape(&self) -> TargetShape {
        self.inner.shape()
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let verify = || self.inner.verify(packed, sample, verdicts);
        catch_unwind(AssertUnwindSafe(verify)).unwrap_or_else(|panic| {
            Err(DeviceError::Lost(format!("the forward panicked: {}", words(&*panic))))
        })
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
