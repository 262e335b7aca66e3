//! One run of all prompts under one row.

use anyhow::Result;
use echo_core::{SeqId, Token, Vocab};
use echo_runtime::{Engine, Output, StepStats};
use std::time::{Duration, Instant};

/// What one run of all prompts gave.
pub(super) struct Sample {
    /// By request.
    pub(super) tokens: Vec<Vec<Token>>,
    pub(super) elapsed: Duration,
    /// Milliseconds per token after the first, by request with at least two.
    pub(super) tpot_ms: Vec<f64>,
    pub(super) stats: StepStats,
    /// Tokens and time of the steps in which every place decoded and no prompt was read.
    pub(super) full: (usize, Duration),
    /// The super-tree of one step, drawn.
    pub(super) tree: String,
}

/// The step whose super-tree is drawn: prompts are read by then.
const DRAWN: usize = 12;

impl Sample {
    /// Lets `engine` answer the `n` requests that wait in it.
    pub(super) fn take(engine: &mut Engine, n: usize, vocab: &dyn Vocab) -> Result<Sample> {
        let mut tokens = vec![Vec::new(); n];
        let mut first: Vec<Option<Instant>> = vec![None; n];
        let mut last = first.clone();
        let (mut out, mut tree) = (Output::default(), String::new());
        let mut full = (0, Duration::ZERO);
        let start = Instant::now();
        let mut now = start;
        while !engine.is_idle() {
            engine.step(&mut out)?;
            let before = std::mem::replace(&mut now, Instant::now());
            let step = engine.last_step();
            if step.context_rows == 0 && step.seqs == engine.limits().seqs_max {
                full = (full.0 + step.committed, full.1 + (now - before));
            }
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
        Ok(Sample { tokens, elapsed, tpot_ms, stats: *engine.totals(), full, tree })
    }

    pub(super) fn tokens_per_s(&self) -> f64 {
        self.stats.committed as f64 / self.elapsed.as_secs_f64()
    }

    /// Tokens per second while every place decodes: without prompts, and without the end, when the
    /// slowest requests run alone. NaN if that never was.
    pub(super) fn full_tokens_per_s(&self) -> f64 {
        self.full.0 as f64 / self.full.1.as_secs_f64()
    }
}
