//! Plain decoding with a draft before every token, none of it verified.

use super::ReplayArgs;
use crate::bench::{forward, prompts};
use crate::setup::Loaded;
use crate::team::Team;
use crate::{doctor, model};
use anyhow::{Context, Result};
use echo_budget::{Learnt, Round, Text, Trace};
use echo_core::{Budget, Plan, Sampling, Solver, SuperTreeView};
use echo_gate::{Always, CalibrationFile, Threshold};
use echo_model::template::Message;
use echo_runtime::{Engine, Options, Output, Parts, Profile, Request, Stops};
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::Arc;
use std::time::Duration;

/// What timing draft passes may take.
const DRAFT_BUDGET: Duration = Duration::from_secs(4);

/// Verifies nothing: a plan has its roots from the start.
struct RootsAlone;

impl Solver for RootsAlone {
    fn choose(&mut self, _tree: SuperTreeView<'_>, _budget: Budget<'_>, _plan: &mut Plan) {}
}

/// Records a trace into the file that `args` name.
pub(super) fn record(args: &ReplayArgs) -> Result<()> {
    let loaded = Loaded::open(&args.engine)?;
    // Large enough for the times of the forwards that a replay asks about.
    let seqs = args.concurrency.iter().copied().max().unwrap_or(1).max(1);
    let limits = args.engine.limits(seqs, loaded.checkpoint.config().context);
    limits.check()?;
    let drafter_name = args.engine.drafter.as_str();
    let mut team = Team::load(&loaded, &limits, [drafter_name])?;
    let us = |profile: &Profile| profile.time.as_secs_f64() * 1e6;
    let curve = forward::measure(&mut team, &limits, &[128, 1024], 5)?;
    let draft = team.profile_draft(drafter_name, &limits, 5, DRAFT_BUDGET)?;
    let learnt = team.calibration(drafter_name).and_then(learnt);
    let (target, drafter) = team.lend(drafter_name);
    let parts = Parts {
        target,
        drafter,
        gate: Box::new(Always),
        solver: Box::new(RootsAlone),
        vocab: Arc::clone(&loaded.tokenizer) as _,
    };
    let mut engine = Engine::new(parts, limits, Options::default())?;
    let prompts = prompts::load(args.prompts.as_deref(), prompts::BuiltIn::Bench)?;
    let template = loaded.template()?;
    let bar = ProgressBar::new(prompts.len() as u64).with_style(
        ProgressStyle::with_template("recording {bar:30} {pos}/{len} texts {elapsed}")
            .expect("the template is right"),
    );
    let mut texts = Vec::new();
    for (i, prompt) in prompts.iter().enumerate() {
        let messages = [Message::new("user", prompt.turns[0].as_str())];
        let tokens = loaded.encode_chat(&template, &messages)?;
        let sampling =
            Sampling { temperature: args.temperature, seed: i as u64, ..Sampling::default() };
        let stops = Stops { max_tokens: Some(args.max_tokens), ..Stops::default() };
        texts.push(text(&mut engine, Request { sampling, stops, ..Request::new(tokens) })?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let trace = Trace {
        version: Trace::VERSION,
        model: model::short_name(&loaded.path),
        drafter: drafter_name.to_owned(),
        machine: doctor::machine(),
        shape: (limits.depth_max, limits.width_max),
        verify: curve.iter().map(|f| (f.rows, f.kv_len, f.min_us)).collect(),
        padded: !loaded.tiers().is_empty(),
        draft: draft.iter().map(|p| (p.rows, us(p))).collect(),
        learnt,
        texts,
    };
    trace.check()?;
    std::fs::write(&args.file, serde_json::to_string(&trace)?)
        .with_context(|| format!("{} cannot be written", args.file.display()))?;
    Ok(())
}

/// What `file` tells policies.
fn learnt(file: &CalibrationFile) -> Option<Learnt> {
    let paths = file.paths.as_ref()?;
    let knots = paths.survival.knots().iter().map(|knot| (knot.confidence, knot.gain));
    let thresholds = file.calibration.sparse().thresholds.into_iter();
    Some(Learnt {
        survival: knots.collect(),
        ahead: paths.ahead.clone(),
        thresholds: thresholds.map(|Threshold { depth, tau }| (depth, tau)).collect(),
    })
}

/// One request, decoded alone.
fn text(engine: &mut Engine, request: Request) -> Result<Text> {
    let n_prompt = request.prompt.len();
    engine.submit(request)?;
    let (mut tokens, mut rounds, mut out) = (Vec::new(), Vec::new(), Output::default());
    while !engine.is_idle() {
        engine.step(&mut out)?;
        if let Some(committed) = out.committed.first() {
            tokens.push(committed.token);
            rounds.push(round(engine.last_round().tree));
        }
        out.clear();
    }
    Ok(Text { n_prompt, tokens, rounds })
}

/// The drafted nodes of a tree with one root.
fn round(tree: SuperTreeView<'_>) -> Round {
    let finite = |score: f32| if score.is_finite() { score } else { f32::MIN };
    Round {
        parent: tree.parent[1..].to_vec(),
        token: tree.token[1..].to_vec(),
        score: tree.score[1..].iter().copied().map(finite).collect(),
    }
}
