//! `echo-llm replay`: every policy on the same recorded drafts, under the times of this machine and
//! of devices that are not here, beside an oracle that knows what will be accepted.

mod record;

use crate::bench::rows::{self, CALIBRATED};
use crate::bench::table;
use crate::counts::{count_from_1, temperature, within};
use crate::engine_args::EngineArgs;
use crate::known::Known;
use crate::registry;
use crate::team::UNALIGNED;
use anyhow::{Context, Result};
use clap::Args;
use echo_budget::{
    CostTable, Learnt, Outcome, Policy, Setting, Survival, Trace, devices, oracle, replay,
};
use echo_core::Limits;
use echo_gate::{SparseParams, Threshold};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// The trace; recorded first with --record
    file: PathBuf,
    #[command(flatten)]
    engine: EngineArgs,
    /// Record the drafts of plain decoding into the file before they are replayed
    #[arg(long)]
    record: bool,
    /// Questions to record, as for `bench`; the built-in set if not given
    #[arg(long, requires = "record")]
    prompts: Option<PathBuf>,
    /// Tokens recorded for each prompt
    #[arg(short = 'n', long, default_value_t = 64, value_parser = count_from_1)]
    max_tokens: usize,
    /// 0 takes the likeliest token
    #[arg(short, long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// Requests at once
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,64,256")]
    #[arg(value_parser = within(1..=1024))]
    concurrency: Vec<usize>,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<()> {
    args.engine.check_no_policy("a replay plays every row of the bench")?;
    if args.record {
        record::record(args)?;
    }
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("{}; record one with --record", args.file.display()))?;
    let trace = Trace::from_json(&text).with_context(|| format!("{}", args.file.display()))?;
    let tokens: usize = trace.texts.iter().map(|text| text.tokens.len()).sum();
    println!(
        "{} texts, {tokens} tokens of {}, drafted by {} on {}",
        trace.texts.len(),
        trace.model,
        trace.drafter,
        trace.machine
    );
    let leave_out = |why: &str, is_out: &dyn Fn(&rows::Row) -> bool| {
        let out = rows::all(&args.engine).into_iter().filter(is_out);
        let names: Vec<String> = out.map(|row| row.name).collect();
        if !names.is_empty() {
            println!("left out, since {why}: {}", names.join(", "));
        }
    };
    let (depth, width) = trace.shape;
    let shape = format!("drafts are {depth} x {width}");
    leave_out(&shape, &|row| !is_recorded(row, trace.shape));
    leave_out("nothing was learnt of the drafter", &|row| {
        row.gate == CALIBRATED && trace.learnt.is_none()
    });
    let own = ("this recording's machine", "timed beside it", trace.cost()?);
    let others = devices()?.into_iter().map(|device| (device.name, device.source, device.cost));
    for (name, source, cost) in [own].into_iter().chain(others) {
        println!("\n{name} ({source}): tokens/ms relative to plain, and regret to the oracle\n");
        print(args, &trace, &cost)?;
    }
    Ok(())
}

/// Whether the drafts that were recorded are those that this row would have made, if it makes any.
fn is_recorded(row: &rows::Row, (depth, width): (usize, usize)) -> bool {
    let fits = row.depth <= depth && row.width <= width;
    row.depth == 0 || fits && !row.drafter.ends_with(UNALIGNED)
}

/// Replays the rows of the bench that the trace can tell of, at every concurrency on one table.
fn print(args: &ReplayArgs, trace: &Trace, cost: &CostTable) -> Result<()> {
    let known = known(trace, cost)?;
    let settings: Vec<Setting> = args
        .concurrency
        .iter()
        .map(|&seqs| Setting { seqs: seqs.max(1), rows_max: usize::MAX / 2 })
        .collect();
    let plain: Vec<f64> = settings
        .iter()
        .map(|&setting| {
            Ok(replayed(trace, cost, setting, &rows::all(&args.engine)[0], &known)?.rate())
        })
        .collect::<Result<_>>()?;
    let best: Vec<f64> =
        settings.iter().map(|&setting| oracle(trace, cost, setting).rate()).collect();
    let mut cells = Vec::new();
    let is_told = |row: &rows::Row| {
        is_recorded(row, trace.shape) && (row.gate != CALIBRATED || known.sparse.is_some())
    };
    for row in rows::all(&args.engine).into_iter().filter(is_told) {
        let mut line = vec![row.name.clone()];
        for (i, &setting) in settings.iter().enumerate() {
            let outcome = replayed(trace, cost, setting, &row, &known)?;
            let regret = 100.0 * (1.0 - outcome.rate() / best[i]);
            line.push(format!("{:.2}× {regret:.0} %", outcome.rate() / plain[i]));
            line.push(format!("{:.2}", outcome.accepted_len()));
        }
        cells.push(line);
    }
    let mut head = vec!["row".to_owned()];
    head.extend(args.concurrency.iter().flat_map(|n| [format!("{n} at once"), "accepted".into()]));
    table::print(&head.iter().map(String::as_str).collect::<Vec<_>>(), &cells);
    Ok(())
}

fn replayed(
    trace: &Trace,
    cost: &CostTable,
    setting: Setting,
    row: &rows::Row,
    known: &Known,
) -> Result<Outcome> {
    let rows_max = row.budget.map_or(setting.rows_max, |budget| budget.max(setting.seqs));
    let setting = Setting { rows_max, ..setting };
    let limits = Limits {
        depth_max: row.depth,
        width_max: row.width,
        beam_max: row.width,
        tree_max: row.nodes,
        ..Limits::usual(setting.seqs, 2048)
    };
    let gate = registry::gate(&row.gate, Some(known))?;
    let mut solver = registry::solver(&row.solver, &limits, Some(known))?;
    let mut policy = Policy {
        gate: gate.as_ref(),
        solver: solver.as_mut(),
        depth: row.depth,
        width: row.width,
        beam: row.width,
        tree_max: row.nodes,
    };
    Ok(replay(trace, &mut policy, cost, setting))
}

/// What policies may know in a replay: the times, and what was learnt of the drafter; if nothing
/// was, that what it promises is kept as often as it says.
fn known(trace: &Trace, cost: &CostTable) -> Result<Known> {
    let threshold = |&(depth, tau): &(usize, f32)| Threshold { depth, tau };
    let (survival, ahead, sparse) = match &trace.learnt {
        Some(Learnt { survival, ahead, thresholds }) => {
            let survival = Survival::new(survival.clone()).context("what the trace has learnt")?;
            let thresholds = thresholds.iter().map(threshold).collect();
            (survival, ahead.clone(), Some(SparseParams { thresholds }))
        }
        None => (Survival::identity(), promised(trace), None),
    };
    Ok(Known { cost: cost.clone(), survival, ahead, sparse, forwards: Vec::new() })
}

/// By depth, the chances of the best path one level deeper over those of the best before.
fn promised(trace: &Trace) -> Vec<Vec<f32>> {
    let mut ahead: Vec<Vec<f32>> = Vec::new();
    for round in trace.texts.iter().flat_map(|text| &text.rounds) {
        let (mut nodes, mut before) = (round.children(0), 0.0_f32);
        let mut depth = 0;
        while !nodes.is_empty() {
            let best = nodes.clone().map(|n| round.score[n - 1]).fold(f32::MIN, f32::max);
            if ahead.len() == depth {
                ahead.push(Vec::new());
            }
            ahead[depth].push((best - before).exp().min(1.0));
            before = best;
            nodes = round.children(nodes.start).start..round.children(nodes.end - 1).end;
            depth += 1;
        }
    }
    if ahead.is_empty() {
        ahead.push(vec![0.0]);
    }
    ahead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_tells_of_rows_no_deeper_and_no_wider_with_the_same_noise() {
        let all = rows::all(&EngineArgs::parsed([]));
        let names = |shape| {
            let told = all.iter().filter(|row| is_recorded(row, shape));
            told.map(|row| row.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names((2, 1)), ["plain", "chain-1", "chain-2"]);
        let usual = names((5, 4));
        assert!(["chain-4", "tree-5x4-16", "topn", "auto"].iter().all(|name| usual.contains(name)));
        assert!(!["chain-6", "topn-60", "topn-unaligned"].iter().any(|name| usual.contains(name)));
    }
}
