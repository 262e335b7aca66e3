//! The rows of the table: plain decoding, fixed shapes, and the policies.

use crate::engine_args::EngineArgs;
use crate::heads;
use crate::registry::unknown;
use crate::setup::Loaded;
use crate::team::UNALIGNED;
use anyhow::{Result, bail};
use echo_core::Limits;

/// How one row decodes.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What it is, for the report.
    pub(crate) about: &'static str,
    /// Whether a quick run has it.
    pub(super) is_quick: bool,
    pub(crate) drafter: String,
    pub(crate) gate: String,
    pub(crate) solver: String,
    pub(crate) depth: usize,
    pub(crate) width: usize,
    pub(crate) nodes: usize,
    pub(crate) budget: Option<usize>,
}

/// Name of the row that others are compared with.
pub(crate) const PLAIN: &str = "plain";
/// The gate that a drafter without calibration does not have.
pub(crate) const CALIBRATED: &str = "calibrated";

/// All rows, plain decoding first. Those of one tree share its shape: that of the flags.
pub(crate) fn all(args: &EngineArgs) -> Vec<Row> {
    let row = |name: &str, about, gate: &str, solver: &str| Row {
        name: name.into(),
        about,
        is_quick: false,
        drafter: args.drafter.clone(),
        gate: gate.into(),
        solver: solver.into(),
        depth: args.depth,
        width: args.width,
        nodes: args.nodes(),
        budget: args.budget,
    };
    let quick = |name: &str, about, gate: &str, solver: &str| Row {
        is_quick: true,
        ..row(name, about, gate, solver)
    };
    let fixed = |name: String, about, (depth, width, nodes)| Row {
        depth,
        width,
        nodes,
        budget: None,
        ..row(&name, about, "always", "topn")
    };
    let chain = |depth| Row {
        is_quick: [1, 2, 4].contains(&depth),
        ..fixed(format!("chain-{depth}"), "a fixed chain, verified whole", (depth, 1, depth))
    };
    let tree = |(depth, width, nodes)| {
        let name = format!("tree-{depth}x{width}-{nodes}");
        let is_quick = nodes == 4;
        let about = "a fixed tree: depth, width, nodes";
        Row { is_quick, ..fixed(name, about, (depth, width, nodes)) }
    };
    let sized = |name: &str| format!("{name}:{}", args.nodes());
    let plain = quick(PLAIN, "no drafting", "always", "uniform");
    let mut rows = vec![Row { drafter: "none".into(), depth: 0, nodes: 0, ..plain }];
    rows.extend([1, 2, 3, 4, 6, 8].map(chain));
    rows.extend([(2, 2, 4), (3, 2, 6), (3, 3, 8), (4, 3, 12), (5, 4, 16)].map(tree));
    let paper = fixed("topn-60".into(), "EAGLE-2 at the paper's setting", (8, 10, 60));
    rows.extend([
        quick("topn", "EAGLE-2: best nodes of each request, fixed", "always", "topn"),
        paper,
    ]);
    // Only a head is aligned.
    let unaligned = row("topn-unaligned", "the same without the request's noise", "always", "topn");
    let drafter = format!("{}{UNALIGNED}", args.drafter);
    let has_head = !matches!(args.drafter.as_str(), "none" | "ngram");
    rows.extend(has_head.then_some(Row { drafter, ..unaligned }));
    rows.extend([
        row("ddd", "DDD: drafting stops by the beam's probability", "ddd:0.3,1,3,4", "topn"),
        row("opt-tree", "OPT-Tree: levels while they gain", &sized("opt-tree"), "opt-tree"),
        row("talon", "TALON: whatever is nearly as likely as the best", &sized("talon"), "talon"),
        row("tetris", "TETRIS: three rows a request, pooled", "always", "tetris:3"),
        row("dcut", "D-cut: the best of four cuts by measured time", "always", "dcut"),
        row("ema", "one depth by the average of accepted drafts", "ema", "ema"),
        quick("echo", "ECHO: gated at two depths, elastic budget", "sparse:1=0.3,3=0.3", "echo"),
        row("echo-calibrated", "ECHO, where its calibration says", CALIBRATED, "echo"),
        row("echo-dense", "ECHO, gated at every depth", "dense:0.3,0.3,0.3,0.3", "echo"),
        row("echo-fixed", "ECHO, one lower threshold for all depths", "fixed:0.2", "echo"),
        row("goodput", "best nodes of the batch per measured second", "always", "goodput"),
        quick("auto", "draft passes that pay, goodput", "auto", "goodput"),
    ]);
    rows
}

/// The rows to measure: those named, else all of a full run or the few of a quick one. Plain
/// decoding is always among them, and first.
pub(crate) fn select(args: &EngineArgs, names: &[String], full: bool) -> Result<Vec<Row>> {
    let rows = all(args);
    if let Some(name) = names.iter().find(|name| rows.iter().all(|row| row.name != **name)) {
        let known: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        return Err(unknown("row", name, &known));
    }
    let is_wanted = |row: &Row| match names {
        [] => full || row.is_quick,
        names => row.name == PLAIN || names.contains(&row.name),
    };
    Ok(rows.into_iter().filter(is_wanted).collect())
}

/// The rows without those that ask for a calibration which their drafter does not have.
pub(super) fn calibrated(rows: Vec<Row>, loaded: &Loaded) -> Result<Vec<Row>> {
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        if row.gate != CALIBRATED || heads::calibration(&row.drafter, loaded)?.is_some() {
            kept.push(row);
        }
    }
    Ok(kept)
}

/// Limits that hold every row at every concurrency, for a target that is loaded once; the longest
/// text has `longest` tokens.
pub(crate) fn limits(
    args: &EngineArgs,
    rows: &[Row],
    seqs: usize,
    loaded: &Loaded,
    longest: usize,
) -> Result<Limits> {
    let mut limits = args.limits(seqs, loaded.checkpoint.config().context);
    let most = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    limits.depth_max = most(|row| row.depth).max(args.depth);
    limits.tree_max = most(|row| row.nodes).max(args.nodes());
    limits.width_max = most(|row| row.width).max(args.width);
    limits.beam_max = limits.width_max;
    limits.rows_max = limits.rows_max.max((seqs * (1 + limits.tree_max)).min(1024));
    if longest > limits.context_max {
        let context = limits.context_max;
        bail!("the longest text has {longest} tokens, the context {context}; raise --context");
    }
    limits.kv_slots = args.kv_slots.unwrap_or((seqs * (longest + limits.tree_max)).max(2048));
    limits.context_max = limits.context_max.min(limits.kv_slots);
    limits.check()?;
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::Known;
    use crate::registry;

    fn names(names: &[&str], full: bool) -> Result<Vec<String>> {
        names_of("auto", names, full)
    }

    fn names_of(drafter: &str, names: &[&str], full: bool) -> Result<Vec<String>> {
        let flags = EngineArgs::parsed(["--drafter", drafter]);
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Ok(select(&flags, &names, full)?.into_iter().map(|row| row.name).collect())
    }

    #[test]
    fn plain_decoding_is_always_measured_first() {
        assert_eq!(names(&["echo"], false).expect("known"), ["plain", "echo"]);
        let quick = names(&[], false).expect("there are some");
        let full = names(&[], true).expect("there are some");
        assert!(quick[0] == "plain" && full[0] == "plain" && quick.len() < full.len());
        let has_unaligned = |names: Vec<String>| names.iter().any(|name| name == "topn-unaligned");
        assert!(has_unaligned(full));
        assert!(!has_unaligned(names_of("ngram", &[], true).expect("there are some")));
        let error = names(&["best"], false).expect_err("unknown").to_string();
        assert!(error.contains("known are plain, chain-1"), "{error}");
    }

    #[test]
    fn every_row_has_policies_that_are_known() {
        let flags = EngineArgs::parsed([]);
        for row in all(&flags).iter().filter(|row| row.gate != CALIBRATED) {
            let time = std::time::Duration::from_millis(1);
            let profile = echo_runtime::Profile { rows: 1, kv_len: 8, time };
            let known = Known::new(&[profile], &[], &[], None).expect("a time");
            let limits = Limits::usual(4, 64);
            assert!(registry::gate(&row.gate, Some(&known)).is_ok(), "{}", row.name);
            assert!(registry::solver(&row.solver, &limits, Some(&known)).is_ok(), "{}", row.name);
        }
    }
}
