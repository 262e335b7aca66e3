//! One block: attention, then the feed-forward network, each added to the residual stream.

use super::buffers::Buffers;
use super::load::{LoadError, Loader};
use crate::role::Role;
use crate::room;
use echo_core::DeviceError;
use echo_core::port::{Buffer, Element, Heads, Kernels, Mat, Stage, Weight};

/// The weights and the KV slots of one layer.
pub(super) struct Layer {
    attn_norm: Buffer,
    qkv: Weight,
    head_norms: Option<[Buffer; 2]>,
    o: Weight,
    ffn_norm: Buffer,
    gate_up: Weight,
    down: Weight,
    keys: Buffer,
    values: Buffer,
}

/// What all layers of a forward share.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) kernels: &'a dyn Kernels,
    pub(super) stage: Stage,
    pub(super) rows: usize,
    pub(super) heads: Heads,
    pub(super) eps: f32,
    pub(super) rope: Buffer,
    pub(super) buffers: &'a Buffers,
}

impl Layer {
    pub(super) fn load(
        loader: &mut Loader<'_>,
        kernels: &dyn Kernels,
        layer: usize,
        kv_slots: usize,
    ) -> Result<Self, LoadError> {
        let config = loader.config();
        let (slots, width) = (("kv_slots", kv_slots), config.n_kv * config.head_dim);
        Ok(Layer {
            attn_norm: loader.norm(Role::AttnNorm(layer))?,
            qkv: loader.matrix(&[Role::Q(layer), Role::K(layer), Role::V(layer)])?,
            head_norms: if config.qk_norm {
                Some([loader.norm(Role::QNorm(layer))?, loader.norm(Role::KNorm(layer))?])
            } else {
                None
            },
            o: loader.matrix(&[Role::O(layer)])?,
            ffn_norm: loader.norm(Role::FfnNorm(layer))?,
            gate_up: loader.matrix(&[Role::Gate(layer), Role::Up(layer)])?,
            down: loader.matrix(&[Role::Down(layer)])?,
            keys: room::rows(kernels, Element::Kv, slots, 0, width, "keys")?,
            values: room::rows(kernels, Element::Kv, slots, 0, width, "values")?,
        })
    }

    pub(super) fn forward(&self, pass: Pass<'_>) -> Result<(), DeviceError> {
        self.attend(pass)?;
        self.feed_forward(pass)
    }

    fn attend(&self, pass: Pass<'_>) -> Result<(), DeviceError> {
        let Pass { kernels, stage, rows, heads, eps, .. } = pass;
        let Buffers { stream, block, qkv, attended, .. } = *pass.buffers;
        let (keys, values) = (self.keys, self.values);
        kernels.rms_norm(rows, stream, self.attn_norm, eps, block)?;
        kernels.linear(rows, self.qkv, block, qkv)?;
        if let Some([q_norm, k_norm]) = self.head_norms {
            let q: Mat = qkv.cols(0, heads.n_q * heads.dim);
            let k: Mat = qkv.cols(heads.n_q * heads.dim, heads.n_kv * heads.dim);
            kernels.rms_norm(rows, q, q_norm, eps, q)?;
            kernels.rms_norm(rows, k, k_norm, eps, k)?;
        }
        kernels.rope_store(stage, heads, pass.rope, qkv, keys, values)?;
        kernels.tree_attention(stage, heads, qkv, keys, values, attended)?;
        kernels.linear(rows, self.o, attended, block)?;
        kernels.add(rows, block, stream)
    }

    fn feed_forward(&self, pass: Pass<'_>) -> Result<(), DeviceError> {
        let Pass { kernels, rows, eps, .. } = pass;
        let Buffers { stream, block, gate_up, gated, .. } = *pass.buffers;
        kernels.rms_norm(rows, stream, self.ffn_norm, eps, block)?;
        kernels.linear(rows, self.gate_up, block, gate_up)?;
        kernels.silu_mul(rows, gate_up, gated)?;
        kernels.linear(rows, self.down, gated, block)?;
        kernels.add(rows, block, stream)
    }
}
