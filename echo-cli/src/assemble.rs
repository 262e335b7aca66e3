//! From flags and a loaded model to an engine.

use crate::engine_args::EngineArgs;
use crate::known::Known;
use crate::registry;
use crate::reopen::reopen;
use crate::setup::Loaded;
use crate::team::Team;
use anyhow::Result;
use echo_runtime::{Engine, Options, Parts};
use std::sync::Arc;
use std::time::Duration;

/// The engine that `flags` describe, with places for `seqs` sequences, and the times of forwards by
/// their rows if a policy had them measured. Should its device be lost, it is opened again; so
/// nobody but the engine may hold it, and `loaded` is taken.
pub(crate) fn engine(
    flags: &EngineArgs,
    loaded: Loaded,
    seqs: usize,
    options: Options,
) -> Result<(Engine, Vec<(usize, Duration)>)> {
    let limits = flags.limits(seqs, loaded.checkpoint.config().context);
    limits.check()?;
    let mut team = Team::load(&loaded, &limits, [flags.drafts()])?;
    let gate = flags.gate();
    let policies = (gate.as_str(), flags.solver.as_str());
    let known = Known::for_policies(policies, &mut team, flags.drafts(), &limits)?;
    loaded.rehearse(&mut team, flags.drafts(), &limits)?;
    let learner = registry::learner(&gate, known.as_ref());
    let gate = registry::gate(&gate, known.as_ref())?;
    let solver = registry::solver(&flags.solver, &limits, known.as_ref())?;
    let (target, drafter) = team.lend(flags.drafts());
    let vocab = Arc::clone(&loaded.tokenizer) as _;
    let parts = Parts { target, drafter, gate, solver, vocab };
    let mut engine = Engine::new(parts, limits, Options { budget: flags.budget, ..options })?;
    if let Some(learner) = learner {
        engine.set_learner(learner);
    }
    engine.on_loss(reopen(flags, &loaded, limits));
    // From here on the device is the engine's alone.
    drop(loaded);
    Ok((engine, known.map_or(Vec::new(), |known| known.forwards)))
}
