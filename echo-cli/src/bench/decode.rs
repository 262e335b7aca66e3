//! Layer 4: policies × concurrency on real prompts.

use super::forward::Forward;
use super::prompts::Prompt;
use super::rows::Row;
use super::{Plan, table};
use crate::engine_args::EngineArgs;
use crate::known::Known;
use crate::registry;
use crate::setup::Loaded;
use crate::team::Team;
use anyhow::Result;
use echo_core::{Limits, Sampling, SeqId, Token, Vocab};
use echo_model::template::Message;
use echo_runtime::{Engine, Options, Output, Parts, Request, Stage, StepStats, Stops};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What all runs share.
pub(crate) struct Setting<'a> {
    pub(crate) args: &'a EngineArgs,
    pub(crate) loaded: &'a Loaded,
    pub(crate) limits: Limits,
    pub(crate) plan: &'a Plan,
    /// By drafter.
    pub(crate) known: &'a BTreeMap<String, Known>,
}

/// One row at one concurrency.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) about: &'static str,
    pub(crate) concurrency: usize,
    /// Output tokens per second of each repetition, in the order they ran.
    pub(crate) tokens_per_s: Vec<f64>,
    /// Milliseconds per output token after the first, over all requests.
    pub(crate) tpot_ms_p50: f64,
    pub(crate) tpot_ms_p95: f64,
    pub(crate) accepted_len: f64,
    pub(crate) rows_per_step: f64,
    pub(crate) wasted_rows: f64,
    pub(crate) levels_per_step: f64,
    /// Share of the time by stage.
    pub(crate) share: Vec<(&'static str, f64)>,
    /// Share of requests whose tokens are those of plain decoding.
    pub(crate) exact_match: f64,
    /// Median of the ratios to plain decoding, repetition by repetition.
    pub(crate) speedup: f64,
    /// The super-tree of one step, drawn; empty if that step drafted nothing.
    #[serde(skip)]
    pub(crate) tree: String,
}

/// What one run of all prompts gave.
struct Sample {
    tokens: Vec<Vec<Token>>,
    elapsed: Duration,
    tpot_ms: Vec<f64>,
    stats: StepStats,
    tree: String,
}

/// Runs every row at every concurrency; repetitions go round the rows, so that a slow moment of the
/// machine does not fall on one row alone.
pub(crate) fn measure(
    setting: &Setting<'_>,
    team: &mut Team,
    requests: &[Request],
) -> Result<Vec<Decoded>> {
    let plan = setting.plan;
    let rows = &plan.rows;
    let runs = plan.concurrency.len() * plan.repeat * rows.len();
    let bar = ProgressBar::new(runs as u64).with_style(
        ProgressStyle::with_template("decoding {bar:30} {pos}/{len} runs {elapsed} {msg}")
            .expect("the template is right"),
    );
    let mut reference: Vec<Vec<Token>> = Vec::new();
    let mut decoded = Vec::new();
    for &concurrency in &plan.concurrency {
        let requests = &enough(requests, concurrency)[..];
        let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.repeat {
            for (row, samples) in rows.iter().zip(&mut samples) {
                bar.set_message(format!("{} at {concurrency}", row.name));
                samples.push(run(setting, row, concurrency, team, requests)?);
                bar.inc(1);
            }
        }
        // What was answered at another concurrency before must be answered so again.
        let new = samples[0][0].tokens.iter().skip(reference.len()).cloned();
        reference.extend(new);
        let reference = &reference[..requests.len()];
        let plain: Vec<f64> = samples[0].iter().map(Sample::tokens_per_s).collect();
        for (row, samples) in rows.iter().zip(&samples) {
            decoded.push(summarise(row, concurrency, samples, &plain, reference));
        }
    }
    bar.finish_and_clear();
    Ok(decoded)
}

/// Time that decoding may take without a word of warning.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Says so if decoding will take long, and which flags make it shorter.
pub(super) fn warn_if_long(plan: &Plan, requests: &[Request], forward: &[Forward]) {
    let estimate = estimate(plan, requests, forward);
    if estimate > PATIENCE {
        eprintln!(
            "note: decoding will take about {} minutes on this device; for a first look take \
             --limit 2 --concurrency 1 --max-tokens 16 --repeat 1 --rows auto",
            estimate.as_secs() / 60
        );
    }
}

/// About what all runs of `plan` take if no row drafted, by the times of forwards.
fn estimate(plan: &Plan, requests: &[Request], forward: &[Forward]) -> Duration {
    let us = |rows: usize| {
        let at_least = forward.iter().find(|f| f.rows >= rows).or(forward.last());
        at_least.map_or(0.0, |f| f.median_us * rows as f64 / f.rows.min(rows) as f64)
    };
    let prompts: usize = requests.iter().map(|request| request.prompt.len()).sum();
    let widest = forward.iter().map(|f| f.rows).max().unwrap_or(1);
    let run = |concurrency: usize| {
        let n = requests.len().max(concurrency);
        let steps = (n * plan.max_tokens).div_ceil(concurrency.max(1));
        steps as f64 * us(concurrency) + prompts.div_ceil(widest) as f64 * us(widest)
    };
    let runs = (plan.repeat * plan.rows.len()) as f64;
    Duration::from_secs_f64(plan.concurrency.iter().map(|&c| run(c)).sum::<f64>() * runs / 1e6)
}

/// The first turn of each prompt through the model's chat template.
pub(crate) fn requests(
    loaded: &Loaded,
    prompts: &[Prompt],
    (max_tokens, temperature): (usize, f32),
) -> Result<Vec<Request>> {
    let template = loaded.template()?;
    let request = |(i, prompt): (usize, &Prompt)| {
        let messages = [Message::new("user", prompt.turns[0].as_str())];
        let tokens = loaded.encode_chat(&template, &messages)?;
        let sampling = Sampling { temperature, seed: i as u64, ..Sampling::default() };
        let stops = Stops { max_tokens: Some(max_tokens), ..Stops::default() };
        Ok(Request { sampling, stops, ..Request::new(tokens) })
    };
    prompts.iter().enumerate().map(request).collect()
}

/// The requests, over again with other seeds until `concurrency` of them can run at once.
fn enough(requests: &[Request], concurrency: usize) -> Vec<Request> {
    let n = requests.len().max(concurrency);
    let with_seed = |(i, request): (usize, &Request)| {
        let sampling = Sampling { seed: i as u64, ..request.sampling.clone() };
        Request { sampling, ..request.clone() }
    };
    requests.iter().cycle().take(n).enumerate().map(with_seed).collect()
}

/// Answers all requests, `concurrency` at a time.
fn run(
    setting: &Setting<'_>,
    row: &Row,
    concurrency: usize,
    team: &mut Team,
    requests: &[Request],
) -> Result<Sample> {
    let mut engine = assemble(setting, row, concurrency, team, requests.len())?;
    for request in requests {
        engine.submit(request.clone())?;
    }
    let vocab = setting.loaded.tokenizer.as_ref();
    let sample = drain(&mut engine, requests.len(), vocab)?;
    team.take_back(&row.drafter, engine.into_parts());
    Ok(sample)
}

/// What each request is answered under `row`, `concurrency` at a time.
pub(super) fn outputs(
    setting: &Setting<'_>,
    row: &Row,
    concurrency: usize,
    team: &mut Team,
    requests: &[Request],
) -> Result<Vec<Vec<Token>>> {
    Ok(run(setting, row, concurrency, team, requests)?.tokens)
}

/// An engine that decodes as `row` says, with room for `concurrency` live and `queue` waiting
/// requests. Its prefix cache is off: a warm one would favour rows that run later.
pub(crate) fn assemble(
    setting: &Setting<'_>,
    row: &Row,
    concurrency: usize,
    team: &mut Team,
    queue: usize,
) -> Result<Engine> {
    let limits = Limits {
        seqs_max: concurrency,
        depth_max: row.depth,
        width_max: row.width,
        beam_max: row.width,
        tree_max: row.nodes,
        ..setting.limits
    };
    let known = setting.known.get(&row.drafter);
    let gate = registry::gate(&row.gate, known)?;
    let solver = registry::solver(&row.solver, &limits, known)?;
    let (target, drafter) = team.lend(&row.drafter);
    let parts =
        Parts { target, drafter, gate, solver, vocab: Arc::clone(&setting.loaded.tokenizer) as _ };
    let options =
        Options { budget: row.budget, queue_max: queue, prefix_cache: false, ..Options::default() };
    let mut engine = Engine::new(parts, limits, options)?;
    if let Some(learner) = registry::learner(&row.gate, known) {
        engine.set_learner(learner);
    }
    Ok(engine)
}

/// The step whose super-tree is drawn: prompts are read by then.
const DRAWN: usize = 12;

fn drain(engine: &mut Engine, n: usize, vocab: &dyn Vocab) -> Result<Sample> {
    let mut tokens = vec![Vec::new(); n];
    let mut first: Vec<Option<Instant>> = vec![None; n];
    let mut last = first.clone();
    let (mut out, mut tree) = (Output::default(), String::new());
    let start = Instant::now();
    while !engine.is_idle() {
        engine.step(&mut out)?;
        let now = Instant::now();
        for committed in &out.committed {
            let SeqId(id) = committed.id;
            tokens[id as usize].push(committed.token);
            first[id as usize].get_or_insert(now);
            last[id as usize] = Some(now);
        }
        out.clear();
        if engine.totals().steps == DRAWN && engine.last_round().tree.levels() > 1 {
            let round = engine.last_round();
            let label = |token| String::from_utf8_lossy(vocab.bytes(token)).into_owned();
            tree = echo_tree::draw(round.tree, Some(round.plan), Some(&label));
        }
    }
    let elapsed = start.elapsed();
    let gap = |i: usize| {
        let time = last[i]? - first[i]?;
        (tokens[i].len() > 1).then(|| time.as_secs_f64() * 1e3 / (tokens[i].len() - 1) as f64)
    };
    let tpot_ms = (0..n).filter_map(gap).collect();
    Ok(Sample { tokens, elapsed, tpot_ms, stats: *engine.totals(), tree })
}

impl Sample {
    fn tokens_per_s(&self) -> f64 {
        self.stats.committed as f64 / self.elapsed.as_secs_f64()
    }
}

fn summarise(
    row: &Row,
    concurrency: usize,
    samples: &[Sample],
    plain: &[f64],
    reference: &[Vec<Token>],
) -> Decoded {
    let mut stats = StepStats::default();
    for sample in samples {
        stats.add(&sample.stats);
    }
    let mut tpot: Vec<f64> = samples.iter().flat_map(|s| s.tpot_ms.iter().copied()).collect();
    tpot.sort_by(f64::total_cmp);
    let tokens_per_s: Vec<f64> = samples.iter().map(Sample::tokens_per_s).collect();
    let ratios = tokens_per_s.iter().zip(plain).map(|(own, plain)| own / plain).collect();
    let equal =
        |sample: &Sample| sample.tokens.iter().zip(reference).filter(|(a, b)| a == b).count();
    let n = samples.len() * reference.len();
    let steps = stats.steps.max(1) as f64;
    let total = stats.total_time().as_secs_f64();
    Decoded {
        name: row.name.clone(),
        about: row.about,
        concurrency,
        tpot_ms_p50: percentile(&tpot, 0.5),
        tpot_ms_p95: percentile(&tpot, 0.95),
        accepted_len: stats.mean_accepted_len(),
        rows_per_step: (stats.seqs + stats.verified) as f64 / steps,
        wasted_rows: stats.wasted() as f64 / steps,
        levels_per_step: stats.levels as f64 / steps,
        share: Stage::ALL
            .map(|stage| (stage.name(), stats.time[stage as usize].as_secs_f64() / total))
            .to_vec(),
        exact_match: samples.iter().map(equal).sum::<usize>() as f64 / n as f64,
        speedup: median(ratios),
        tree: samples.iter().map(|s| s.tree.clone()).next_back().unwrap_or_default(),
        tokens_per_s,
    }
}

/// The median; the lower middle of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// Of sorted values; NaN of none.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let last = sorted.len().wrapping_sub(1);
    sorted.get((last as f64 * p) as usize).copied().unwrap_or(f64::NAN)
}

/// Prints a table per concurrency.
pub(crate) fn print(decoded: &[Decoded], plan: &Plan) {
    for &concurrency in &plan.concurrency {
        println!(
            "\ndecode: {concurrency} concurrent requests, {} tokens each, temperature {}\n",
            plan.max_tokens, plan.temperature
        );
        let of = |d: &&Decoded| d.concurrency == concurrency;
        let best = |kind: &str| {
            let of_kind = decoded.iter().filter(of).filter(|d| d.name.starts_with(kind));
            of_kind.max_by(|a, b| a.speedup.total_cmp(&b.speedup)).map(|d| d.name.clone())
        };
        let best = ["chain", "tree"].map(|kind| (kind, best(kind)));
        let cells = |d: &Decoded| {
            let kind = best.iter().find(|(_, name)| Some(&d.name) == name.as_ref());
            let mark = kind.map_or(String::new(), |(kind, _)| format!(" (best {kind})"));
            let spread =
                |f: fn(f64, f64) -> f64, from| d.tokens_per_s.iter().copied().fold(from, f);
            let stage = |name| d.share.iter().find(|s| s.0 == name).map_or(0.0, |s| 100.0 * s.1);
            vec![
                format!("{}{mark}", d.name),
                format!("{:.1}", median(d.tokens_per_s.clone())),
                format!("{:.1}–{:.1}", spread(f64::min, f64::MAX), spread(f64::max, 0.0)),
                format!("{:.2}×", d.speedup),
                format!("{:.2} / {:.2}", d.tpot_ms_p50, d.tpot_ms_p95),
                format!("{:.2}", d.accepted_len),
                format!("{:.1}", d.rows_per_step),
                format!("{:.1}", d.wasted_rows),
                format!("{:.1}", d.levels_per_step),
                format!("{:.1} / {:.1}", stage("draft"), stage("verify")),
                format!("{:.0} %", 100.0 * d.exact_match),
            ]
        };
        let head = [
            "row",
            "tokens/s",
            "spread",
            "vs plain",
            "ms/token p50 / p95",
            "accepted",
            "rows/step",
            "wasted",
            "levels",
            "draft / verify %",
            "exact",
        ];
        table::print(&head, &decoded.iter().filter(of).map(cells).collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_requests_run_at_once_as_the_table_says() {
        let prompts = [Request::new(vec![7]), Request::new(vec![8])];
        let asked = |concurrency| {
            let key = |r: &Request| (r.prompt[0], r.sampling.seed);
            enough(&prompts, concurrency).iter().map(key).collect::<Vec<_>>()
        };
        assert_eq!(asked(1), [(7, 0), (8, 1)]);
        assert_eq!(asked(3), [(7, 0), (8, 1), (7, 2)]);
    }
}
