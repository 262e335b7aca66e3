//! Layer 4: policies × concurrency on real prompts.

use super::Plan;
use super::decoded::Decoded;
use super::prompts::Prompt;
use super::rows::Row;
use super::sample::{Run, Sample};
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
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What all runs share.
pub(crate) struct Setting<'a> {
    pub(crate) args: &'a EngineArgs,
    pub(crate) loaded: &'a Loaded,
    pub(crate) limits: Limits,
    pub(crate) plan: &'a Plan,
    /// By drafter.
    pub(crate) known: &'a BTreeMap<String, Known>,
}

/// Runs every row at every concurrency, each beside plain decoding by a team of its own, step by
/// step in turn: whatever else the machine does meanwhile falls on both.
pub(crate) fn measure(
    setting: &Setting<'_>,
    team: &mut Team,
    requests: &[Request],
) -> Result<Vec<Decoded>> {
    let plan = setting.plan;
    let (plain, others) = plan.rows.split_first().expect("plain decoding is a row");
    // Alone it is measured beside itself, which shows what the machine hides.
    let others = if others.is_empty() { &plan.rows[..] } else { others };
    let mut beside = Team::load(setting.loaded, &setting.limits, [plain.drafter.as_str()])?;
    // What a device does once, it does before the first pair.
    beside.rehearse(&plain.drafter, &setting.limits)?;
    for drafter in others.iter().map(|row| &row.drafter).collect::<BTreeSet<_>>() {
        team.rehearse(drafter, &setting.limits)?;
    }
    let runs = plan.concurrency.len() * plan.repeat * others.len();
    let bar = ProgressBar::new(runs as u64).with_style(
        ProgressStyle::with_template("decoding {bar:30} {pos}/{len} runs {elapsed} {msg}")
            .expect("the template is right"),
    );
    let mut reference: Vec<Vec<Token>> = Vec::new();
    let mut decoded = Vec::new();
    for &concurrency in &plan.concurrency {
        let requests = &enough(requests, concurrency)[..];
        let mut pairs: Vec<Vec<[Sample; 2]>> = others.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.repeat {
            for (row, pairs) in others.iter().zip(&mut pairs) {
                bar.set_message(format!("{} at {concurrency}", row.name));
                let run = |row, team: &mut Team| begin(setting, row, concurrency, team, requests);
                let mut runs = [run(row, team)?, run(plain, &mut beside)?];
                finish(setting, &mut runs)?;
                let [(own, parts), (other, other_parts)] = runs.map(Run::end);
                team.take_back(&row.drafter, parts);
                beside.take_back(&plain.drafter, other_parts);
                pairs.push([own, other]);
                bar.inc(1);
            }
        }
        // What was answered at another concurrency before must be answered so again.
        let new = pairs[0][0][1].tokens.iter().skip(reference.len()).cloned();
        reference.extend(new);
        let reference = &reference[..requests.len()];
        let is_alone = others[0].name == plain.name;
        if !is_alone {
            let all: Vec<_> = pairs.iter().flatten().map(|[_, other]| [other, other]).collect();
            decoded.push(Decoded::of(plain, concurrency, &all, reference));
        }
        for (row, pairs) in others.iter().zip(&pairs) {
            let pairs: Vec<_> = pairs.iter().map(|[own, other]| [own, other]).collect();
            decoded.push(Decoded::of(row, concurrency, &pairs, reference));
        }
    }
    bar.finish_and_clear();
    Ok(decoded)
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

/// An engine under `row` with all requests in it, `concurrency` of them at a time.
fn begin(
    setting: &Setting<'_>,
    row: &Row,
    concurrency: usize,
    team: &mut Team,
    requests: &[Request],
) -> Result<Run> {
    let mut engine = assemble(setting, row, concurrency, team, requests.len())?;
    for request in requests {
        engine.submit(request.clone())?;
    }
    Ok(Run::new(engine, requests.len()))
}

/// Brings all runs to their end, a step each in turn.
fn finish(setting: &Setting<'_>, runs: &mut [Run]) -> Result<()> {
    let vocab = setting.loaded.tokenizer.as_ref();
    while runs.iter().any(|run| !run.is_done()) {
        runs.iter_mut().try_for_each(|run| run.step(vocab))?;
    }
    Ok(())
}

/// What each request is answered under `row`, `concurrency` at a time.
pub(super) fn outputs(
    setting: &Setting<'_>,
    row: &Row,
    concurrency: usize,
    team: &mut Team,
    requests: &[Request],
) -> Result<Sample> {
    let mut runs = [begin(setting, row, concurrency, team, requests)?];
    finish(setting, &mut runs)?;
    let [(sample, parts)] = runs.map(Run::end);
    team.take_back(&row.drafter, parts);
    Ok(sample)
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
