//! The rows of the table: plain decoding, fixed shapes, and the policies.

use crate::engine_args::EngineArgs;
use crate::setup::Loaded;
use anyhow::{Result, bail};
use echo_core::Limits;

/// How one row decodes.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// What it is, for the report.
    pub(crate) about: &'static str,
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

/// All rows, plain decoding first.
pub(crate) fn all(args: &EngineArgs) -> Vec<Row> {
    let tree = |name: &str, about, gate: &str, solver: &str| Row {
        name: name.into(),
        about,
        drafter: args.drafter.clone(),
        gate: gate.into(),
        solver: solver.into(),
        depth: args.depth,
        width: args.width,
        nodes: args.nodes,
        budget: args.budget,
    };
    let plain = Row {
        drafter: "none".into(),
        depth: 0,
        nodes: 0,
        ..tree(PLAIN, "no drafting", "always", "uniform")
    };
    let chain = |depth: usize| Row {
        depth,
        width: 1,
        nodes: depth,
        budget: None,
        ..tree(&format!("chain-{depth}"), "a fixed chain, verified whole", "always", "uniform")
    };
    let mut rows = vec![plain];
    rows.extend([2, 4, 8].map(chain));
    rows.push(tree("topn", "EAGLE-2: best nodes of each request, fixed", "always", "topn"));
    rows.push(tree("echo", "ECHO: sparse gate, elastic budget", "sparse:1=0.3,3=0.3", "echo"));
    rows.push(tree("goodput", "best nodes of the batch per measured second", "always", "goodput"));
    rows
}

/// Limits that hold every row at every concurrency, for a target that is loaded once; the longest
/// text has `longest` tokens.
pub(crate) fn limits(
    args: &EngineArgs,
    seqs: usize,
    loaded: &Loaded,
    longest: usize,
) -> Result<Limits> {
    let mut limits = args.limits(seqs, loaded.checkpoint.config().context);
    let rows = all(args);
    let most = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    limits.depth_max = most(|row| row.depth);
    limits.tree_max = most(|row| row.nodes);
    limits.rows_max = limits.rows_max.max((seqs * (1 + limits.tree_max)).min(1024));
    if longest > limits.context_max {
        let context = limits.context_max;
        bail!("the longest text has {longest} tokens, the context {context}; raise --context");
    }
    limits.kv_slots = args.kv_slots.unwrap_or(seqs * (longest + limits.tree_max)).max(2048);
    limits.context_max = limits.context_max.min(limits.kv_slots);
    limits.check()?;
    Ok(limits)
}
