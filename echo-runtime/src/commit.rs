//! Commit: the only writer of sequences.
//!
//! Accepted tokens are replayed one at a time through [`commit_token`], which also serves plain
//! decoding (a path of one row), so stops, limits, penalties and text can't tell how many tokens a
//! forward gave.

use crate::batch::Batch;
use crate::by_depth::ByDepth;
use crate::output::{Committed, FinishReason, Output, Scored, Usage};
use crate::pool::Lease;
use echo_core::{Limits, PackedView, SuperTreeView, Token, Verdicts, Vocab};
use echo_tree::{Packed, Paths};

/// What a commit leaves for the stages after it.
#[derive(Debug)]
pub(crate) struct Ledger {
    kept: Vec<bool>,
    ended: Vec<(u32, FinishReason)>,
    /// Tokens committed.
    pub(crate) n_committed: usize,
    /// Drafted rows among the kept ones.
    pub(crate) n_accepted: usize,
    /// Sequences with drafted rows.
    pub(crate) n_drafts: usize,
    /// Nodes drafted, verified and accepted by all sequences, depth by depth.
    pub(crate) by_depth: ByDepth,
}

impl Ledger {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (rows, seqs) = (limits.rows_max, limits.seqs_max);
        Ledger {
            kept: Vec::with_capacity(rows),
            ended: Vec::with_capacity(seqs),
            n_committed: 0,
            n_accepted: 0,
            n_drafts: 0,
            by_depth: ByDepth::default(),
        }
    }

    /// Whether each row's token is part of its sequence now, `[rows]`.
    pub(crate) fn kept(&self) -> &[bool] {
        &self.kept
    }

    /// Whether the sequence at place `seq` ended without a number.
    pub(crate) fn is_faulty(&self, seq: u32) -> bool {
        self.ended.iter().any(|(ended, why)| *ended == seq && *why == FinishReason::Faulty)
    }

    /// The sequences that ended, each once.
    pub(crate) fn ended(&mut self) -> impl Iterator<Item = (u32, FinishReason)> + '_ {
        self.ended.drain(..)
    }

    fn reset(&mut self, rows: usize) {
        self.kept.clear();
        self.kept.resize(rows, false);
        self.ended.clear();
        self.n_committed = 0;
        self.n_accepted = 0;
        self.n_drafts = 0;
        self.by_depth = ByDepth::default();
    }
}

/// Joins context rows, roots and accepted rows to their sequences, and commits the verdicts along
/// each path up to the first that ends its sequence.
pub(crate) fn commit(
    tree: SuperTreeView<'_>,
    packed: &Packed,
    paths: &Paths,
    verdicts: &Verdicts,
    lease: &mut Lease<'_>,
    batch: &mut Batch,
    vocab: &dyn Vocab,
    ledger: &mut Ledger,
    out: &mut Output,
) {
    let rows = packed.view();
    ledger.reset(rows.rows());
    count_drafted(tree, batch, ledger);
    for (seq, _) in (1..tree.levels().min(2)).flat_map(|depth| tree.families(depth)) {
        batch.note_wait(seq, false);
    }
    score(packed, verdicts, batch, out);
    let mut p = 0;
    for (s, &seq) in rows.seqs.iter().enumerate() {
        let committed = rows.row_start[s] as usize..rows.drafted_start[s] as usize;
        ledger.kept[committed.clone()].fill(true);
        batch.append_slots(seq, lease.keep(committed, seq));
        if !rows.drafted(s).is_empty() {
            batch.note_wait(seq, true);
            ledger.n_drafts += 1;
        }
        if p == paths.len() || paths.seq(p) != seq {
            continue;
        }
        let mut end = None;
        let mut n_committed = 0;
        for (i, (&row, &v)) in paths.rows(p).iter().zip(paths.verdicts(p)).enumerate() {
            let (row, v) = (row as usize, v as usize);
            if i > 0 {
                ledger.kept[row] = true;
                batch.append_slots(seq, lease.keep(row..row + 1, seq));
            }
            n_committed += 1;
            end = commit_token(seq, verdicts, v, batch, vocab, out);
            if end.is_some() {
                break;
            }
        }
        if end.is_none() && paths.faulty(p) {
            end = Some(FinishReason::Faulty);
        }
        count(rows, s, n_committed, &mut batch.sequence_mut(seq).usage, ledger);
        ledger.ended.extend(end.map(|reason| (seq, reason)));
        p += 1;
    }
}

/// Counts what was drafted in this step.
fn count_drafted(tree: SuperTreeView<'_>, batch: &mut Batch, ledger: &mut Ledger) {
    for depth in 1..tree.levels() {
        let at = ByDepth::place(depth);
        for &seq in &tree.seq[tree.level(depth)] {
            let usage = &mut batch.sequence_mut(seq).usage;
            usage.drafted += 1;
            usage.by_depth.drafted[at] += 1;
        }
        ledger.by_depth.drafted[at] += tree.level(depth).len() as u64;
    }
}

/// Counts what the sequence with the rows number `s` had verified and committed.
fn count(
    rows: PackedView<'_>,
    s: usize,
    n_committed: usize,
    usage: &mut Usage,
    ledger: &mut Ledger,
) {
    let n_accepted = n_committed.max(1) - 1;
    usage.steps += usize::from(n_committed > 0);
    usage.output_tokens += n_committed;
    usage.verified += rows.drafted(s).len();
    usage.accepted += n_accepted;
    ledger.n_committed += n_committed;
    ledger.n_accepted += n_accepted;
    for by_depth in [&mut usage.by_depth, &mut ledger.by_depth] {
        for depth in 1..=n_accepted {
            by_depth.accepted[ByDepth::place(depth)] += 1;
        }
        for row in rows.drafted(s) {
            let root = rows.drafted_start[s] as usize - 1;
            let depth = rows.position[row] - rows.position[root];
            by_depth.verified[ByDepth::place(depth as usize)] += 1;
        }
    }
}

/// Gives out what the target makes of prompt tokens. After a preemption a prompt is read again;
/// what was given out is not given out twice.
fn score(packed: &Packed, verdicts: &Verdicts, batch: &mut Batch, out: &mut Output) {
    let rows = packed.view();
    let mut s = 0;
    for (v, &row) in rows.sampled.iter().enumerate() {
        let row = row as usize;
        if packed.node_of(row).is_some() {
            continue;
        }
        while !rows.rows_of(s).contains(&row) {
            s += 1;
        }
        let position = rows.position[row] as usize + 1;
        let token = batch.view().tokens(rows.seqs[s])[position];
        let sequence = batch.sequence_mut(rows.seqs[s]);
        if position != sequence.n_scored {
            continue;
        }
        sequence.n_scored += 1;
        let start = out.top.len();
        out.top.extend_from_slice(verdicts.top_of(v));
        let log_prob = verdicts.log_prob[v];
        out.scored.push(Scored { id: sequence.id, token, log_prob, top: start..out.top.len() });
    }
}

/// Appends the `v`-th verdict to the sequence at `seq`. Returns why the sequence ends with it, if
/// it does; of several reasons a stop comes before the limits.
fn commit_token(
    seq: u32,
    verdicts: &Verdicts,
    v: usize,
    batch: &mut Batch,
    vocab: &dyn Vocab,
    out: &mut Output,
) -> Option<FinishReason> {
    let token: Token = verdicts.token[v];
    batch.append_token(seq, token);
    let n_tokens = batch.n_tokens(seq);
    let sequence = batch.sequence_mut(seq);
    sequence.penalties.commit(token);
    let stops = &sequence.request.stops;
    let may_stop = n_tokens - sequence.n_prompt > stops.min_tokens;
    let is_end = (!stops.ignore_eos && vocab.ends(token)) || stops.tokens.contains(&token);
    let text_start = out.text.len();
    let stopped = if is_end && may_stop {
        true
    } else {
        sequence.text.push(vocab.bytes(token), stops, may_stop, &mut out.text)
    };
    let top_start = out.top.len();
    out.top.extend_from_slice(verdicts.top_of(v));
    out.committed.push(Committed {
        id: sequence.id,
        token,
        log_prob: verdicts.log_prob[v],
        top: top_start..out.top.len(),
        text: text_start..out.text.len(),
    });
    if stopped {
        Some(FinishReason::Stop)
    } else if n_tokens == sequence.n_max {
        Some(FinishReason::Length)
    } else {
        None
    }
}
