//! The drafter: entries for what was committed, then the tree, level by level.

use super::head::Head;
use super::ledger::{Ledger, Note};
use super::network::{Network, Sources};
use crate::llama::{LlamaTarget, LoadError};
use crate::rows::Rows;
use crate::weights::Weights;
use echo_core::port::Children;
use echo_core::sampling::gumbel;
use echo_core::{
    BatchView, DeviceError, Drafter, Frontier, Keep, Kernels, Limits, Settled, Slot, Token, TopK,
};
use std::sync::Arc;

/// Candidates that noise is added to when a request samples.
const SAMPLED: usize = 32;
/// Share of the request's noise that decides among candidates. A head's law is flatter than its
/// target's, by what the head does not know, and all of the noise would pick from its tail. Chosen
/// by a first trial between none, half and all, not tuned.
const NOISE: f32 = 0.5;
/// Forwards without a draft after which prompts are not read ahead of one.
const IDLE_MAX: usize = 8;

/// Drafts with an EAGLE-3 head; see the [module](super).
pub struct EagleDrafter {
    network: Network,
    /// The target's token of each draft token.
    tokens: Vec<Token>,
    ledger: Ledger,
    /// Slots the target has; the drafter's own for drafted entries follow.
    kv_slots: usize,
    /// Entries of each place that a draft sees, of the last first level.
    seen: Vec<Vec<Slot>>,
    /// The row of each node in the last pass that had it.
    node_row: Vec<u32>,
    rows: Rows,
    sources: Sources,
    kept: Sources,
    numbers: Vec<u32>,
    parents: Vec<u32>,
    proposing: Vec<usize>,
    best: TopK,
    ranked: Vec<(Token, f32)>,
    /// Whether candidates are ranked with the noise of requests that sample.
    aligns: bool,
    failure: Option<DeviceError>,
    /// Forwards with roots since the last pass of a draft.
    idle: usize,
}

impl EagleDrafter {
    /// Brings `head` to the device of `target`, whose weights are `weights`, and lets the target
    /// keep the hidden states that the head reads.
    ///
    /// Fails if the head was not made for this target or there is no room for it.
    pub fn new(
        kernels: Arc<dyn Kernels>,
        head: &Head,
        target: &mut LlamaTarget,
        weights: &dyn Weights,
        limits: &Limits,
    ) -> Result<Self, LoadError> {
        let (seqs, nodes) = (limits.seqs_max, limits.nodes_max());
        let level = seqs * limits.beam_max.max(1);
        let rows = (limits.rows_max + seqs).max(level);
        let slots = limits.kv_slots + nodes;
        let network = Network::new(kernels, head, target, weights, limits, rows, slots)?;
        let longest = limits.context_max + limits.depth_max + 1;
        let tokens = head.tokens().to_vec();
        let k = SAMPLED.max(limits.width_max).min(tokens.len());
        Ok(EagleDrafter {
            network,
            tokens,
            ledger: Ledger::new(limits),
            kv_slots: limits.kv_slots,
            seen: (0..seqs).map(|_| Vec::with_capacity(longest)).collect(),
            node_row: Vec::with_capacity(nodes),
            rows: Rows::with_capacity(1, rows, rows, level.max(seqs) * longest),
            sources: Sources::with_capacity(rows),
            kept: Sources::with_capacity(seqs),
            numbers: Vec::with_capacity(rows),
            parents: Vec::with_capacity(rows),
            proposing: Vec::with_capacity(level),
            best: TopK::with_capacity(level, k),
            ranked: Vec::with_capacity(k),
            aligns: true,
            failure: None,
            idle: 0,
        })
    }

    /// The same, proposing the head's likeliest tokens to requests that sample, too, without their
    /// noise: what the alignment is measured against.
    #[must_use]
    pub fn unaligned(self) -> Self {
        EagleDrafter { aligns: false, ..self }
    }

    /// Where the states it reads lie, for tests.
    #[cfg(test)]
    pub(super) fn taps(&self) -> echo_core::port::Buffer {
        self.network.taps.buffer
    }

    /// Where the entry of a drafted node, or of a root before its row is committed, lies.
    fn slot_of(&self, node: usize) -> Slot {
        (self.kv_slots + node) as Slot
    }

    /// One pass over the entries that were noted and, if a draft begins, its open roots.
    fn absorb(
        &mut self,
        batch: BatchView<'_>,
        draft: Option<(Frontier<'_>, &Keep)>,
    ) -> Result<(), DeviceError> {
        let zero = self.network.zero_rows();
        self.rows.clear();
        self.sources.clear();
        self.kept.clear();
        let mut root = 0;
        for seq in 0..self.seen.len() as u32 {
            let own = draft.filter(|(f, _)| root < f.tree.roots() && f.tree.seq[root] == seq);
            let open = own.filter(|(_, keep)| keep.passes(root));
            let node = root;
            root += usize::from(own.is_some());
            self.kept.push((zero.0, seq));
            let notes = self.ledger.notes_of(seq);
            if notes.is_empty() && open.is_none() {
                continue;
            }
            let first = self.ledger.notes()[notes.clone()].first();
            let cached = batch.slots(seq);
            let before = first.map_or(cached.len(), |note| note.position as usize);
            let seen = &mut self.seen[seq as usize];
            self.ledger.filled(&cached[..before], seen);
            self.rows.sequence(seq, seen);
            let text = batch.tokens(seq);
            for n in notes.clone() {
                let Note { position, slot, .. } = self.ledger.notes()[n];
                let Some(source) = self.ledger.state_before(seq, position, zero) else {
                    continue;
                };
                self.rows.context_at(text[position as usize], slot, position);
                self.sources.push(source);
                self.seen[seq as usize].push(slot);
                self.ledger.fill(slot);
            }
            let position = text.len() as u32 - 1;
            let source = self.ledger.state_before(seq, position, zero);
            if let (Some(_), Some(source)) = (open, source) {
                let slot = self.slot_of(node);
                self.node_row[node] = self.rows.len() as u32;
                self.rows.context_at(text[position as usize], slot, position);
                self.sources.push(source);
                self.seen[seq as usize].push(slot);
            }
            if !notes.is_empty() {
                self.kept.set(seq as usize, (notes.end as u32 - 1, zero.1));
            }
        }
        self.run(draft.is_some())
    }

    /// Runs the pass that [`EagleDrafter::absorb`] laid out, to its end only if somebody proposes.
    fn run(&mut self, proposes: bool) -> Result<(), DeviceError> {
        self.numbers.clear();
        self.numbers.extend(self.ledger.notes().iter().map(|note| note.tap_row));
        if !self.numbers.is_empty() {
            self.network.fuse(&self.numbers)?;
        }
        match (self.rows.is_empty(), proposes) {
            (true, _) => {}
            (false, true) => self.network.begin(self.rows.view(), &self.sources)?,
            (false, false) => self.network.store(self.rows.view(), &self.sources)?,
        }
        if !self.numbers.is_empty() {
            self.network.keep(&self.kept)?;
        }
        self.ledger.close();
        Ok(())
    }

    /// One pass over the open nodes of a level below the first.
    fn descend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
    ) -> Result<(), DeviceError> {
        let (tree, nodes) = (frontier.tree, frontier.nodes());
        self.rows.clear();
        self.parents.clear();
        for node in nodes.clone().filter(|node| keep.passes(node - nodes.start)) {
            let parent = self.node_row[tree.parent[node] as usize];
            if parent == u32::MAX {
                continue;
            }
            let seq = tree.seq[node];
            self.rows.sequence(seq, &self.seen[seq as usize]);
            self.numbers.clear();
            let mut at = tree.parent[node] as usize;
            while tree.parent[at] as usize != at {
                self.numbers.push(at as u32);
                at = tree.parent[at] as usize;
            }
            for &ancestor in self.numbers.iter().rev() {
                self.rows.cached((self.kv_slots + ancestor as usize) as Slot);
            }
            let position = batch.n_tokens[seq as usize] - 1 + frontier.depth() as u32;
            self.parents.push(parent);
            self.node_row[node] = self.rows.len() as u32;
            self.rows.context_at(tree.token[node], self.slot_of(node), position);
        }
        if self.rows.is_empty() {
            return Ok(());
        }
        self.network.go_on(self.rows.view(), &self.parents)
    }

    /// Proposes the best children of each open node that has a row in the last pass.
    fn propose(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        let nodes = frontier.nodes();
        let proposes =
            |&node: &usize| keep.passes(node - nodes.start) && self.node_row[node] != u32::MAX;
        self.proposing.clear();
        self.proposing.extend(nodes.clone().filter(proposes));
        self.numbers.clear();
        self.numbers.extend(self.proposing.iter().map(|&node| self.node_row[node]));
        if self.numbers.is_empty() {
            return Ok(());
        }
        let is_aligned = self.aligns;
        let aligns = |seq: usize| is_aligned && batch.temperature[seq] > 0.0;
        let samples = frontier.seqs().any(|(seq, _)| aligns(seq as usize));
        let width = keep.as_slice().iter().copied().max().unwrap_or(0) as usize;
        let k = if samples { width.max(SAMPLED) } else { width }.min(self.tokens.len());
        self.network.propose(&self.numbers, k, &mut self.best)?;
        for (row, &node) in self.proposing.iter().enumerate() {
            let seq = frontier.tree.seq[node] as usize;
            let width = keep.children(node - nodes.start) as usize;
            let tokens = self.best.row(row).map(|(c, l)| (self.tokens[c as usize], l));
            self.ranked.clear();
            self.ranked.extend(tokens);
            if aligns(seq) {
                let position = batch.n_tokens[seq] + frontier.depth() as u32;
                align(&mut self.ranked, batch.temperature[seq], batch.seed[seq], position);
            }
            for &(token, log_prob) in self.ranked.iter().take(width) {
                children.push(node, token, log_prob.min(0.0));
            }
        }
        Ok(())
    }
}

impl Drafter for EagleDrafter {
    fn settle(&mut self, settled: Settled<'_>) {
        // A draft that begins in the next step brings its notes up to date itself. Of a prompt that
        // is not at its end no draft can begin, and its states are gone after the next forward; but
        // where drafts have long not paid, neither would this pass.
        let is_cut = self.ledger.note(&settled);
        if !settled.packed.sampled.is_empty() {
            self.idle += 1;
        }
        if is_cut && self.idle <= IDLE_MAX {
            self.failure = self.absorb(settled.batch, None).err();
        }
    }

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.node_row.resize(frontier.tree.len(), u32::MAX);
        if frontier.depth() == 0 {
            self.node_row.fill(u32::MAX);
        }
        if keep.n_passes() == 0 {
            return Ok(());
        }
        self.idle = 0;
        if frontier.depth() == 0 {
            self.absorb(batch, Some((frontier, keep)))?;
        } else {
            self.descend(batch, frontier, keep)?;
        }
        self.propose(batch, frontier, keep, children)
    }

    fn forget(&mut self, seq: u32) {
        self.ledger.forget(seq);
    }
}

/// Ranks candidates as the target will: with the noise of the request's seed at `position`, at
/// [`NOISE`] of its strength. Scores become each one's share among them.
fn align(ranked: &mut [(Token, f32)], temperature: f32, seed: u64, position: u32) {
    for (token, score) in ranked.iter_mut() {
        *score = *score / temperature + NOISE * gumbel(seed, position, *token);
    }
    ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let best = ranked.first().map_or(0.0, |first| first.1);
    // Of logits that are no numbers none is likelier than another.
    if best == f32::NEG_INFINITY {
        return;
    }
    let sum: f32 = ranked.iter().map(|(_, score)| (score - best).exp()).sum();
    for (_, score) in ranked {
        *score -= best + sum.ln();
    }
}
