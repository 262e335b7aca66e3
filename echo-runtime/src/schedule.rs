//! Who gets rows for committed tokens in this step: prompt chunks and roots.

use crate::batch::Batch;
use crate::options::Options;
use crate::request::Request;
use echo_core::{Correction, Limits, Load, SeqId};

/// Rows of committed tokens in this step, by place.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Rows for pending tokens, `[seqs_max]`.
    chunk: Vec<u32>,
    /// Whether the last of them is the sequence's last token, whose verdict is wanted,
    /// `[seqs_max]`.
    rooted: Vec<bool>,
    /// Deepest level that may be drafted, `[seqs_max]`.
    depth_cap: Vec<u32>,
    /// Live places, oldest sequence first.
    order: Vec<(SeqId, u32)>,
    /// The one sequence that plays, if not all do.
    pub(crate) only: Option<SeqId>,
}

impl Schedule {
    pub(crate) fn new(limits: &Limits) -> Self {
        Schedule {
            chunk: vec![0; limits.seqs_max],
            rooted: vec![false; limits.seqs_max],
            depth_cap: vec![0; limits.seqs_max],
            order: Vec::with_capacity(limits.seqs_max),
            only: None,
        }
    }

    /// Rows that the sequence at `seq` gets for pending tokens.
    pub(crate) fn chunk(&self, seq: u32) -> usize {
        self.chunk[seq as usize] as usize
    }

    /// Whether nobody has anything to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.order.is_empty()
    }

    /// Whether the sequence at `seq` has a root in this step.
    pub(crate) fn is_rooted(&self, seq: u32) -> bool {
        self.rooted[seq as usize]
    }

    /// Places with a root, ascending.
    pub(crate) fn roots(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.rooted.len() as u32).filter(|&seq| self.rooted[seq as usize])
    }

    /// Deepest level that each sequence may draft: what its request, its tokens left and its
    /// context left allow, `[seqs_max]`.
    pub(crate) fn depth_cap(&self) -> &[u32] {
        &self.depth_cap
    }

    /// The step as policies see it.
    pub(crate) fn load(
        &self,
        batch: &Batch,
        n_waiting: usize,
        slots: usize,
        limits: &Limits,
        accepted: Option<f32>,
        correction: Correction,
    ) -> Load {
        let n_seqs = self.roots().count();
        let context_rows = self.chunk.iter().sum::<u32>() as usize - n_seqs;
        let cached = self.roots().map(|seq| batch.n_cached(seq)).sum::<usize>();
        Load {
            n_seqs,
            n_waiting,
            context_rows,
            rows_free: limits.rows_max - context_rows,
            kv_free: slots - context_rows,
            kv_len: cached / n_seqs.max(1),
            accepted,
            correction,
        }
    }

    /// Divides rows and slots over the live sequences: one row for each that decodes, then prompt
    /// chunks, oldest sequence first. At least the oldest sequence gets a row.
    pub(crate) fn divide(
        &mut self,
        batch: &Batch,
        limits: &Limits,
        options: &Options,
        slots: usize,
    ) {
        self.chunk.fill(0);
        self.rooted.fill(false);
        self.order.clear();
        self.order.extend(batch.places().map(|seq| (batch.sequence(seq).id, seq)));
        self.order.retain(|&(id, _)| self.only.is_none_or(|only| only == id));
        self.order.sort_unstable();
        let decoding = |seq: u32| batch.n_pending(seq) == 1;
        let n_decoding = self.order.iter().filter(|&&(_, seq)| decoding(seq)).count();
        let mut rows = limits.rows_max.min(slots) - n_decoding;
        let mut prompt_rows = options.prompt_rows_max;
        for &(_, seq) in &self.order {
            let pending = batch.n_pending(seq);
            let chunk = if decoding(seq) { 1 } else { pending.min(rows).min(prompt_rows) };
            if !decoding(seq) {
                rows -= chunk;
                prompt_rows -= chunk;
            }
            self.chunk[seq as usize] = chunk as u32;
            self.rooted[seq as usize] = chunk == pending;
            let sequence = batch.sequence(seq);
            // The root commits a token of its own, so a path of depth d commits d + 1.
            let left = sequence.n_max - batch.n_tokens(seq) - 1;
            // A path of depth d takes d rows.
            let Request { draft_depth_max, draft_nodes_max, .. } = sequence.request;
            let wanted = [draft_depth_max, draft_nodes_max].into_iter().flatten().min();
            let most = wanted.unwrap_or(usize::MAX).min(limits.depth_max);
            self.depth_cap[seq as usize] = left.min(most) as u32;
        }
    }
}
