//! Parts that misbehave on purpose.

use super::solvers::Greedy;
use echo_core::port::TargetShape;
use echo_core::{
    BatchView, Budget, Children, DeviceError, Drafter, Frontier, Gate, Keep, Load, PackedView,
    Plan, SampleSpec, SampleView, Settled, Solver, SuperTreeView, Target, Verdicts,
};
use echo_model::sim::{SimDrafter, SimTarget};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Words of every panic made here.
pub(crate) const WORDS: &str = "on purpose";

/// Keeps panics made here off stderr, and those over policies that never come back, and no others.
pub(crate) fn hush() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic.to_string();
        if !words.contains(WORDS) && !words.contains("come back") {
            usual(panic);
        }
    }));
}

/// What a target does besides its work. A request is known by its seed.
#[derive(Clone, Debug)]
pub(crate) enum Plot {
    Nothing,
    /// The forward with this number panics.
    Panic {
        forward: u64,
    },
    /// Every forward fails that samples the request at this position or later.
    Poison {
        seed: u64,
        position: u32,
        error: DeviceError,
    },
    /// The request's rows that sample this position give no number; drafted rows alone, perhaps.
    NoNumber {
        seed: u64,
        position: u32,
        drafted_only: bool,
    },
}

/// A target with a plot.
pub(crate) struct BadTarget {
    pub(crate) inner: SimTarget,
    pub(crate) plot: Plot,
    /// Times that the plot came to something.
    pub(crate) hits: Arc<AtomicUsize>,
}

impl Target for BadTarget {
    fn shape(&self) -> TargetShape {
        self.inner.shape()
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let hit = || self.hits.fetch_add(1, Ordering::Relaxed);
        let concerns =
            |spec: &SampleSpec, seed, position| spec.seed == seed && spec.position >= position;
        match &self.plot {
            Plot::Panic { forward } if self.inner.work().0 == *forward => {
                hit();
                panic!("{WORDS}");
            }
            Plot::Poison { seed, position, error }
                if sample.specs.iter().any(|spec| concerns(spec, *seed, *position)) =>
            {
                hit();
                return Err(error.clone());
            }
            _ => {}
        }
        self.inner.verify(packed, sample, verdicts)?;
        if let Plot::NoNumber { seed, position, drafted_only } = &self.plot {
            for (i, spec) in sample.specs.iter().enumerate() {
                let row = packed.sampled[i] as usize;
                let is_drafted = (0..packed.n_seqs()).any(|s| packed.drafted(s).contains(&row));
                if concerns(spec, *seed, *position) && (is_drafted || !drafted_only) {
                    hit();
                    verdicts.faulty[i] = true;
                }
            }
        }
        Ok(())
    }
}

/// How a plug-in misbehaves, each time it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vice {
    Panic,
    /// Takes this long.
    Stall(Duration),
    /// Does what the contract forbids.
    Rules,
    /// Reports an error.
    Error,
}

impl Vice {
    fn act(self) {
        match self {
            Vice::Panic => panic!("{WORDS}"),
            Vice::Stall(time) => std::thread::sleep(time),
            Vice::Rules | Vice::Error => {}
        }
    }
}

/// Opens every node as wide as it likes, or worse.
pub(crate) struct BadGate(pub(crate) Vice);

impl Gate for BadGate {
    fn looks_at(&self, _depth: usize) -> bool {
        true
    }

    fn narrow(&self, _frontier: Frontier<'_>, _load: Load, keep: &mut Keep) {
        self.0.act();
        if self.0 == Vice::Rules {
            (0..keep.len()).for_each(|i| keep.open(i, 9));
        }
    }
}

/// Keeps every node whatever the budget, or worse.
pub(crate) struct BadSolver(pub(crate) Vice);

impl Solver for BadSolver {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        if tree.len() > tree.roots() {
            self.0.act();
        }
        match self.0 {
            Vice::Rules => (0..tree.len()).for_each(|n| plan.keep(n)),
            _ => Greedy.choose(tree, budget, plan),
        }
    }
}

/// Proposes what there is not, or worse, from its `from`-th level on.
pub(crate) struct BadDrafter {
    pub(crate) inner: SimDrafter,
    pub(crate) vice: Vice,
    pub(crate) from: u64,
}

impl Drafter for BadDrafter {
    fn settle(&mut self, settled: Settled<'_>) {
        self.inner.settle(settled);
    }

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        self.inner.extend(batch, frontier, keep, children)?;
        if self.inner.levels() <= self.from {
            return Ok(());
        }
        self.vice.act();
        match self.vice {
            Vice::Rules => {
                children.push(usize::MAX, 1, 0.0);
                children.push(frontier.nodes().start, u32::MAX, 0.0);
                Ok(())
            }
            Vice::Error => Err(DeviceError::Failed(WORDS.into())),
            Vice::Panic | Vice::Stall(_) => Ok(()),
        }
    }

    fn forget(&mut self, seq: u32) {
        self.inner.forget(seq);
    }
}
