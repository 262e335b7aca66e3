//! The head on a device: its weights, its keys and values, and one pass over some rows.
//!
//! ```text
//! fuse:    taps of kept rows → fc → fused
//! forward: [norm(embedding) ; norm(hidden)] → q k v → attend → o → + hidden → norm → mlp → +
//!          (some heads: + norm(hidden) instead of hidden)
//! propose: norm → lm_head → the k best
//! ```

use super::buffers::Buffers;
use super::head::Head;
use super::load::{Loading, output_rows};
use super::quantise::to_q4_1;
use crate::config::ModelConfig;
use crate::llama::{LlamaTarget, LoadError, Taps};
use crate::room;
use crate::rope::rope_table;
use crate::weights::Weights;
use echo_core::port::{Buffer, Data, Element, Heads, Kernels, Mat, Stage, Weight};
use echo_core::{DeviceError, Limits, PackedView, TopK};
use std::sync::Arc;

/// An EAGLE-3 head on a device.
pub(super) struct Network {
    kernels: Arc<dyn Kernels>,
    config: ModelConfig,
    heads: Heads,
    stage: Stage,
    pub(super) taps: Taps,
    rope: Buffer,
    embedding: Weight,
    fc: Weight,
    embedding_norm: Buffer,
    hidden_norm: Buffer,
    adds_to_norm: bool,
    qkv: Weight,
    o: Weight,
    ffn_norm: Buffer,
    gate_up: Weight,
    down: Weight,
    norm: Buffer,
    lm_head: Weight,
    keys: Buffer,
    values: Buffer,
    buffers: Buffers,
}

/// Where the hidden states of some rows come from: for each row its row among the fused ones and
/// its place among those kept from before, exactly one of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    fused: Vec<u32>,
    kept: Vec<u32>,
}

impl Network {
    /// Copies the head to the target's device and lets the target keep the states it reads.
    ///
    /// `limits` are the engine's; `rows` and `slots` what one pass and all drafts may have.
    pub(super) fn new(
        kernels: Arc<dyn Kernels>,
        head: &Head,
        target: &mut LlamaTarget,
        weights: &dyn Weights,
        limits: &Limits,
        rows: usize,
        slots: usize,
    ) -> Result<Self, LoadError> {
        head.check_fits(target.config())?;
        let taps = target.tap(head.layers(target.config())?)?;
        let config = head.config().clone();
        let ModelConfig { hidden, head_dim, n_q, n_kv, ffn, vocab, .. } = config;
        let heads = Heads { n_q, n_kv, dim: head_dim };
        let (q, kv, drafted) = (n_q * head_dim, n_kv * head_dim, head.tokens().len());
        let device = kernels.as_ref();
        let load = Loading { device, head, hidden };
        let angles = rope_table(&config, limits.context_max + limits.depth_max + 1);
        let rope = device.alloc(Element::F32, angles.len(), "rotary angles of the head")?;
        device.write(rope, 0, Data::F32(&angles))?;
        let embedding = match head.optional("embed_tokens.weight", (vocab, hidden))? {
            Some(own) => device.weight(&[own.view()])?,
            None => target.embedding(),
        };
        let lm_head = match head.optional("lm_head.weight", (drafted, hidden))? {
            Some(own) => device.weight(&[to_q4_1(own).view()])?,
            None => device.weight(&[to_q4_1(output_rows(weights, head.tokens())?).view()])?,
        };
        let drafted_slots = slots - limits.kv_slots;
        let cache = |what| {
            room::rows(device, Element::Kv, ("kv_slots", limits.kv_slots), drafted_slots, kv, what)
        };
        Ok(Network {
            stage: device.open_stage(&Limits {
                // In a draft every node reads a table of its own.
                seqs_max: limits.seqs_max * limits.beam_max.max(1),
                rows_max: rows,
                kv_slots: slots,
                context_max: limits.context_max + limits.depth_max + 1,
                ..*limits
            })?,
            embedding,
            fc: load.matrix(&[("fc.weight", (hidden, 3 * hidden))])?,
            embedding_norm: load.vector(".input_layernorm.weight")?,
            hidden_norm: load.vector(".hidden_norm.weight")?,
            adds_to_norm: head.adds_to_norm(),
            qkv: load.matrix(&[
                (".self_attn.q_proj.weight", (q, 2 * hidden)),
                (".self_attn.k_proj.weight", (kv, 2 * hidden)),
                (".self_attn.v_proj.weight", (kv, 2 * hidden)),
            ])?,
            o: load.matrix(&[(".self_attn.o_proj.weight", (hidden, q))])?,
            ffn_norm: load.vector(".post_attention_layernorm.weight")?,
            gate_up: load.matrix(&[
                (".mlp.gate_proj.weight", (ffn, hidden)),
                (".mlp.up_proj.weight", (ffn, hidden)),
            ])?,
            down: load.matrix(&[(".mlp.down_proj.weight", (hidden, ffn))])?,
            norm: load.vector("norm.weight")?,
            lm_head,
            keys: cache("keys of the head")?,
            values: cache("values of the head")?,
            buffers: Buffers::new(device, &config, heads, drafted, limits, rows)?,
            rope,
            taps,
            heads,
            config,
            kernels,
        })
    }

    /// Fuses the tapped states of these rows of the target's last forward.
    pub(super) fn fuse(&self, tap_rows: &[u32]) -> Result<(), DeviceError> {
        let (kernels, b) = (self.kernels.as_ref(), &self.buffers);
        kernels.write(b.index, 0, Data::U32(tap_rows))?;
        let taps = Mat::new(self.taps.buffer, self.taps.width);
        kernels.gather_rows(tap_rows.len(), b.index, taps, b.tapped)?;
        kernels.linear(tap_rows.len(), self.fc, b.tapped, b.fused)
    }

    /// Makes the states of `sources` the kept ones, place by place.
    pub(super) fn keep(&self, sources: &Sources) -> Result<(), DeviceError> {
        let (kernels, b) = (self.kernels.as_ref(), &self.buffers);
        self.join(sources, b.moved)?;
        kernels.gather_rows(sources.fused.len(), b.identity, b.moved, b.kept)
    }

    /// Runs the layer over rows whose states come from the target.
    pub(super) fn begin(
        &self,
        packed: PackedView<'_>,
        sources: &Sources,
    ) -> Result<(), DeviceError> {
        self.join(sources, self.buffers.hidden)?;
        self.forward(packed)
    }

    /// The same as far as keys and values: with one layer, nobody sees more of an entry that
    /// proposes nothing.
    pub(super) fn store(
        &self,
        packed: PackedView<'_>,
        sources: &Sources,
    ) -> Result<(), DeviceError> {
        self.join(sources, self.buffers.hidden)?;
        self.enter(packed)
    }

    /// Runs the layer over rows whose states are rows of its own last output.
    pub(super) fn go_on(&self, packed: PackedView<'_>, parents: &[u32]) -> Result<(), DeviceError> {
        let (kernels, b, n) = (self.kernels.as_ref(), &self.buffers, parents.len());
        kernels.write(b.index, 0, Data::U32(parents))?;
        kernels.gather_rows(n, b.index, b.hidden, b.moved)?;
        // Back to where every pass reads: a device that replays what it has captured knows passes
        // by their operands.
        kernels.gather_rows(n, b.identity, b.moved, b.hidden)?;
        self.forward(packed)
    }

    /// The `k` best draft tokens after each of these rows of the last pass.
    pub(super) fn propose(
        &self,
        rows: &[u32],
        k: usize,
        best: &mut TopK,
    ) -> Result<(), DeviceError> {
        let (kernels, b, n) = (self.kernels.as_ref(), &self.buffers, rows.len());
        kernels.write(b.index, 0, Data::U32(rows))?;
        kernels.gather_rows(n, b.index, b.hidden, b.block)?;
        kernels.rms_norm(n, b.block, self.norm, self.config.rms_eps, b.block)?;
        kernels.linear(n, self.lm_head, b.block, b.logits)?;
        kernels.topk_logprob(n, b.logits, k, best)
    }

    /// Gathers states from both places. The row that a source does not name is one of zeros.
    fn join(&self, sources: &Sources, out: Mat) -> Result<(), DeviceError> {
        let (kernels, b, n) = (self.kernels.as_ref(), &self.buffers, sources.fused.len());
        kernels.write(b.index, 0, Data::U32(&sources.fused))?;
        kernels.gather_rows(n, b.index, b.fused, out)?;
        kernels.write(b.index, 0, Data::U32(&sources.kept))?;
        kernels.gather_rows(n, b.index, b.kept, b.block)?;
        kernels.add(n, b.block, out)
    }

    /// Queries, keys and values of the rows of `packed`, whose states `hidden` holds; keys and
    /// values go to their slots.
    fn enter(&self, packed: PackedView<'_>) -> Result<(), DeviceError> {
        let (kernels, b, eps) = (self.kernels.as_ref(), &self.buffers, self.config.rms_eps);
        let (rows, width) = (packed.rows(), self.config.hidden);
        let pair = [b.pair.cols(0, width), b.pair.cols(width, width)];
        kernels.stage(self.stage, packed)?;
        kernels.embed(self.stage, self.embedding, b.block)?;
        kernels.rms_norm(rows, b.block, self.embedding_norm, eps, pair[0])?;
        kernels.rms_norm(rows, b.hidden, self.hidden_norm, eps, pair[1])?;
        if self.adds_to_norm {
            kernels.rms_norm(rows, b.hidden, self.hidden_norm, eps, b.hidden)?;
        }
        kernels.linear(rows, self.qkv, b.pair, b.qkv)?;
        kernels.rope_store(self.stage, self.heads, self.rope, b.qkv, self.keys, self.values)
    }

    /// The layer over the rows of `packed`; `hidden` holds their states and gets the output.
    fn forward(&self, packed: PackedView<'_>) -> Result<(), DeviceError> {
        let (kernels, b, eps) = (self.kernels.as_ref(), &self.buffers, self.config.rms_eps);
        let rows = packed.rows();
        let Network { stage, heads, keys, values, .. } = *self;
        self.enter(packed)?;
        kernels.tree_attention(stage, heads, b.qkv, keys, values, b.attended)?;
        kernels.linear(rows, self.o, b.attended, b.block)?;
        kernels.add(rows, b.block, b.hidden)?;
        kernels.rms_norm(rows, b.hidden, self.ffn_norm, eps, b.block)?;
        kernels.linear(rows, self.gate_up, b.block, b.gate_up)?;
        kernels.silu_mul(rows, b.gate_up, b.gated)?;
        kernels.linear(rows, self.down, b.gated, b.block)?;
        kernels.add(rows, b.block, b.hidden)
    }

    /// The row of zeros among the fused ones, and that among the kept ones.
    pub(super) fn zero_rows(&self) -> (u32, u32) {
        (self.buffers.fused_max as u32, self.buffers.kept_max as u32)
    }
}

impl Sources {
    /// Room for `rows` rows.
    pub(super) fn with_capacity(rows: usize) -> Self {
        Sources { fused: Vec::with_capacity(rows), kept: Vec::with_capacity(rows) }
    }

    pub(super) fn clear(&mut self) {
        self.fused.clear();
        self.kept.clear();
    }

    /// One more row, from both places; one of them the row of zeros.
    pub(super) fn push(&mut self, (fused, kept): (u32, u32)) {
        self.fused.push(fused);
        self.kept.push(kept);
    }

    /// Changes the source of row `i`.
    pub(super) fn set(&mut self, i: usize, (fused, kept): (u32, u32)) {
        (self.fused[i], self.kept[i]) = (fused, kept);
    }
}
