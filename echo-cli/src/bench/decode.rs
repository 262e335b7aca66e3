//! Layer 4: policies × concurrency on real prompts.

use super::Plan;
use super::decoded::Decoded;
use super::forward::Forward;
use super::prompts::Prompt;
use super::rows::Row;
use super::sample::Sample;
use crate::engine_args::EngineArgs;
use crate::known::Known;
use crate::registry;
use crate::setup::Loaded;
use crate::team::Team;
use anyhow::Result;
use echo_core::{Limits, Sampling, Token};
use echo_model::template::Message;
use echo_runtime::{Engine, Options, Parts, Request, Stops};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What all runs share.
pub(crate) struct Setting<'a> {
    pub(crate) args: &'a EngineArgs,
    pub(crate) loaded: &'a Loaded,
    pub(crate) limits: Limits,
    pub(crate) plan: &'a Plan,
    /// By drafter.
    pub(crate) known: &'a BTreeMap<String, Known>,
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
        for (row, own) in rows.iter().zip(&samples) {
            decoded.push(Decoded::of(row, concurrency, own, &samples[0], reference));
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
    let sample = Sample::take(&mut engine, requests.len(), vocab)?;
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
