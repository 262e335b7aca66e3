//! `echo-llm calibrate`: drafts without a gate, compares with what the target said, and writes what
//! was learnt.

use crate::bench::{prompts, table};
use crate::counts::{count_from_1, temperature};
use crate::engine_args::EngineArgs;
use crate::heads;
use crate::maps::Maps;
use crate::model;
use crate::setup::Loaded;
use crate::team::{Team, halves};
use anyhow::{Context, Result, bail};
use clap::Args;
use echo_budget::{TopN, TopNParams};
use echo_core::{Limits, Sampling};
use echo_gate::{
    Always, CalibrateParams, Calibration, CalibrationFile, Fingerprint, Grader, Isotonic,
    PathGrader, Proposals, Retention, calibrate,
};
use echo_model::template::Message;
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args)]
pub(crate) struct CalibrateArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Questions as for `bench`; if not given, a set that comes with the program and that nothing
    /// else asks
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Tokens generated for each prompt
    #[arg(short = 'n', long, default_value_t = 128, value_parser = count_from_1)]
    max_tokens: usize,
    /// Of the requests that paths are graded on, 0 to 100; 0 takes the likeliest token
    #[arg(short, long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// What one more row must gain, in tokens, for drafting to go on: the shadow price of the
    /// budget, by which thresholds are set; if not given, they part right from wrong best (Youden)
    #[arg(long)]
    price: Option<f32>,
    /// The file to write. In the folder of a head, as `calibration.json`, it is read with the head
    /// by drafters of the kind it was made with: `eagle:FOLDER` or `hybrid:FOLDER`
    #[arg(short, long, default_value = "calibration.json")]
    out: PathBuf,
}

/// Requests at once, graded rounds of a depth and graded nodes that are kept.
const SEQS: usize = 4;
const ROUNDS_MAX: usize = 20_000;
const NODES_MAX: usize = 100_000;

pub(crate) fn run(args: &CalibrateArgs) -> Result<()> {
    args.engine.check_no_policy("a calibration drafts and verifies all it can")?;
    if args.engine.depth == 0 {
        bail!("--depth is 0: there is nothing to calibrate without drafts");
    }
    if args.engine.drafter == "none" {
        bail!("--drafter none proposes nothing to calibrate; name another, or leave the flag out");
    }
    if args.engine.budget.is_some() {
        bail!("--budget has no part in this: a calibration drafts and verifies all it can");
    }
    let loaded = Loaded::open(&args.engine)?;
    let limits = args.engine.limits(SEQS, loaded.checkpoint.config().context);
    limits.check()?;
    let drafter = args.engine.drafter.as_str();
    let halves = halves(drafter, &loaded)?;
    let names = halves.as_ref().map(|halves| halves.each_ref().map(String::as_str));
    // Loaded once: devices free nothing.
    let loads = names.as_ref().map_or(std::slice::from_ref(&drafter), |names| names);
    let mut team = Team::uncalibrated(&loaded, &limits, loads.iter().copied())?;
    let (mut proposals, mut sampled) = (None, None);
    if let Some(names) = names {
        let mut learn = |temperature| worths(args, &loaded, limits, &mut team, names, temperature);
        (proposals, sampled) = (Some(learn(0.0)?), Some(learn(1.0)?));
        let maps = Maps { greedy: proposals.as_ref(), sampled: sampled.as_ref() };
        team.join(drafter, names, &limits, maps);
    }
    let requests = requests(args, &loaded, args.temperature)?;
    let (grader, paths) = grade(&loaded, limits, &requests, &mut team, drafter)?;
    let params = CalibrateParams { price: args.price, ..CalibrateParams::usual() };
    let calibration = calibrate(&grader.levels(), params)?;
    print(&calibration);
    let fingerprint = Fingerprint {
        target: model::short_name(&loaded.path),
        drafter: drafter.to_owned(),
        head: heads::checksum(drafter, &loaded.path)?,
        dtype: loaded.activations.clone(),
        backend: loaded.backend.into(),
        prompt_set: args.prompts.as_deref().map_or("calibration".into(), model::short_name),
    };
    let mut file = CalibrationFile::new(fingerprint, calibration);
    file.paths = paths.fit();
    (file.proposals, file.sampled) = (proposals, sampled);
    let Some(learnt) = &file.paths else {
        bail!("the drafter `{}` proposed nothing; nothing was learnt", args.engine.drafter);
    };
    let reach: Vec<String> = learnt.reach.iter().map(|share| format!("{share:.3}")).collect();
    println!("\nrounds {}; accepting at least 1, 2, … tokens: {}", learnt.rounds, reach.join(" "));
    std::fs::write(&args.out, file.to_json()?)
        .with_context(|| format!("{} cannot be written", args.out.display()))?;
    println!("wrote {}", args.out.display());
    Ok(())
}

/// What the proposals of both halves of a drafter are worth to requests of this temperature.
fn worths(
    args: &CalibrateArgs,
    loaded: &Loaded,
    limits: Limits,
    team: &mut Team,
    [head, look_up]: [&str; 2],
    temperature: f32,
) -> Result<Proposals> {
    let requests = requests(args, loaded, temperature)?;
    let mut worth = |name: &str| -> Result<Isotonic> {
        let (_, paths) = grade(loaded, limits, &requests, team, name)?;
        paths.proposals().with_context(|| format!("the drafter `{name}` proposed nothing"))
    };
    Ok(Proposals { head: worth(head)?, look_up: worth(look_up)? })
}

fn requests(args: &CalibrateArgs, loaded: &Loaded, temperature: f32) -> Result<Vec<Request>> {
    let template = loaded.template()?;
    let prompts = prompts::load(args.prompts.as_deref(), prompts::BuiltIn::Calibration)?;
    let request = |(i, prompt): (usize, &prompts::Prompt)| {
        let messages = [Message::new("user", prompt.turns[0].as_str())];
        let tokens = loaded.encode_chat(&template, &messages)?;
        let seed = i as u64;
        let sampling = Sampling { temperature, seed, ..Sampling::default() };
        let stops = Stops { max_tokens: Some(args.max_tokens), ..Stops::default() };
        Ok(Request { sampling, stops, ..Request::new(tokens) })
    };
    prompts.iter().enumerate().map(request).collect()
}

/// Answers all requests and grades every round.
fn grade(
    loaded: &Loaded,
    limits: Limits,
    requests: &[Request],
    team: &mut Team,
    name: &str,
) -> Result<(Grader, PathGrader)> {
    let (target, drafter) = team.lend(name);
    let parts = Parts {
        target,
        drafter,
        gate: Box::new(Always),
        solver: Box::new(TopN::new(TopNParams { n: limits.tree_max })),
        vocab: Arc::clone(&loaded.tokenizer) as _,
    };
    let options = Options { queue_max: requests.len(), ..Options::default() };
    let mut engine = Engine::new(parts, limits, options)?;
    let bar = ProgressBar::new(requests.len() as u64).with_style(
        ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} answers {elapsed}")
            .expect("the template is right"),
    );
    bar.set_message(format!("grading {name}"));
    for request in requests {
        engine.submit(request.clone())?;
    }
    let mut grader = Grader::new(&limits, ROUNDS_MAX, Retention::Even, 0);
    let mut paths = PathGrader::new(limits.depth_max, NODES_MAX, 0);
    let (mut accepted, mut depths, mut out) = (Vec::new(), Vec::new(), Output::default());
    while !engine.is_idle() {
        engine.step(&mut out)?;
        bar.inc(out.finished.len() as u64);
        out.clear();
        let round = engine.last_round();
        round.accepted(&mut accepted);
        round.accepted_depths(&mut depths);
        if round.tree.levels() > 1 {
            grader.observe(round.tree, round.plan, &depths);
            paths.observe(round.tree, round.plan, &accepted, &depths);
        }
    }
    bar.finish_and_clear();
    team.take_back(name, engine.into_parts());
    Ok((grader, paths))
}

/// Prints what was learnt of each depth.
fn print(calibration: &Calibration) {
    let number = |x: Option<f32>| x.map_or("–".into(), |x| format!("{x:.3}"));
    let cells = |known: &echo_gate::DepthCalibration| {
        let auc = known.auc.map_or("–".into(), |auc| {
            format!("{:.3} ({:.3}–{:.3})", auc.value, auc.lower, auc.upper)
        });
        vec![
            known.depth.to_string(),
            known.rounds.to_string(),
            known.gained.to_string(),
            auc,
            if known.chosen { "yes".into() } else { "no".into() },
            number(known.tau.map(|tau| tau.value)),
            number(known.ece_before),
            number(known.ece_after),
        ]
    };
    let head =
        ["depth", "rounds", "gained", "AUC (90 %)", "chosen", "tau", "ECE before", "ECE after"];
    table::print(&head, &calibration.depths.iter().map(cells).collect::<Vec<_>>());
}
