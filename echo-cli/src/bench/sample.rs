//! One run of all prompts under one row.

use anyhow::Result;
use echo_core::{SeqId, Token, Vocab};
use echo_runtime::{Engine, Output, Parts, StepStats};
use std::time::{Duration, Instant};

/// What one run of all prompts gave.
#[derive(Default)]
pub(super) struct Sample {
    /// By request.
    pub(super) tokens: Vec<Vec<Token>>,
    /// Time of all steps.
    pub(super) elapsed: Duration,
    /// Milliseconds per token after the first, by request with at least two.
    pub(super) tpot_ms: Vec<f64>,
    pub(super) stats: StepStats,
    /// Tokens and time of the steps in which every place decoded and no prompt was read.
    pub(super) full: (usize, Duration),
    /// The super-tree of one step, drawn.
    pub(super) tree: String,
}

impl Sample {
    pub(super) fn tokens_per_s(&self) -> f64 {
        self.stats.committed as f64 / self.elapsed.as_secs_f64()
    }

    /// Tokens per second while every place decodes: without prompts, and without the end, when the
    /// slowest requests run alone. NaN if that never was.
    pub(super) fn full_tokens_per_s(&self) -> f64 {
        self.full.0 as f64 / self.full.1.as_secs_f64()
    }
}

/// The step whose super-tree is drawn: prompts are read by then.
const DRAWN: usize = 12;

/// An engine at work, and what was seen of it. Time passes in its own steps alone, so that others
/// may have theirs in between.
pub(super) struct Run {
    engine: Engine,
    out: Output,
    tokens: Vec<Vec<Token>>,
    /// When the first and the last token of each request came.
    ends: Vec<Option<(Duration, Duration)>>,
    elapsed: Duration,
    full: (usize, Duration),
    tree: String,
}

impl Run {
    /// With `n` requests waiting in `engine`.
    pub(super) fn new(engine: Engine, n: usize) -> Self {
        Run {
            engine,
            out: Output::default(),
            tokens: vec![Vec::new(); n],
            ends: vec![None; n],
            elapsed: Duration::ZERO,
            full: (0, Duration::ZERO),
            tree: String::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.engine.is_idle()
    }

    /// One step, if there is something to do; `vocab` is for drawing.
    pub(super) fn step(&mut self, vocab: &dyn Vocab) -> Result<()> {
        let Run { engine, out, tokens, ends, elapsed, full, tree } = self;
        if engine.is_idle() {
            return Ok(());
        }
        let start = Instant::now();
        engine.step(out)?;
        let took = start.elapsed();
        *elapsed += took;
        let step = engine.last_step();
        if step.context_rows == 0 && step.seqs == engine.limits().seqs_max {
            *full = (full.0 + step.committed, full.1 + took);
        }
        for committed in &out.committed {
            let SeqId(id) = committed.id;
            tokens[id as usize].push(committed.token);
            ends[id as usize].get_or_insert((*elapsed, *elapsed)).1 = *elapsed;
        }
        out.clear();
        if engine.totals().steps == DRAWN && engine.last_round().tree.levels() > 1 {
            let round = engine.last_round();
            let label = |token| String::from_utf8_lossy(vocab.bytes(token)).into_owned();
            *tree = echo_tree::draw(round.tree, Some(round.plan), Some(&label));
        }
        Ok(())
    }

    /// What it gave, and the engine's parts back.
    pub(super) fn end(self) -> (Sample, Parts) {
        let Run { engine, tokens, ends, elapsed, full, tree, .. } = self;
        let gap = |(ends, tokens): (&Option<(Duration, Duration)>, &Vec<Token>)| {
            let (first, last) = (*ends)?;
            let ms = (last.as_secs_f64() - first.as_secs_f64()) * 1e3;
            (tokens.len() > 1).then(|| ms / (tokens.len() - 1) as f64)
        };
        let tpot_ms = ends.iter().zip(&tokens).filter_map(gap).collect();
        let stats = *engine.totals();
        (Sample { tokens, elapsed, tpot_ms, stats, full, tree }, engine.into_parts())
    }
}
