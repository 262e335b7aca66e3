//! The activations of the largest forward.

use crate::config::ModelConfig;
use crate::room;
use echo_core::port::{Buffer, Element, Heads, Kernels, Mat};
use echo_core::{DeviceError, Limits};

/// Buffers that every forward uses anew, sized for `rows_max` rows.
pub(super) struct Buffers {
    /// Residual stream, `[rows_max, hidden]`.
    pub(super) stream: Mat,
    /// What a block reads and writes, `[rows_max, hidden]`; at the end the sampled rows.
    pub(super) block: Mat,
    /// `[rows_max, (n_q + 2 n_kv) head_dim]`.
    pub(super) qkv: Mat,
    /// `[rows_max, n_q head_dim]`.
    pub(super) attended: Mat,
    /// `[rows_max, 2 ffn]`.
    pub(super) gate_up: Mat,
    /// `[rows_max, ffn]`.
    pub(super) gated: Mat,
    /// `[sampled_max, vocab]`.
    pub(super) logits: Mat,
    /// Numbers of the sampled rows, `[sampled_max]`.
    pub(super) sampled: Buffer,
    /// Rows of one forward that can be sampled.
    pub(super) sampled_max: usize,
}

impl Buffers {
    pub(super) fn new(
        kernels: &dyn Kernels,
        config: &ModelConfig,
        heads: Heads,
        limits: &Limits,
    ) -> Result<Self, DeviceError> {
        let rows = limits.rows_max;
        // A prompt that is scored wants all of its rows.
        let sampled_max = rows;
        let mat = |rows: usize, width: usize, what: &str| {
            let buffer = room::rows(kernels, Element::F32, ("rows_max", rows), 0, width, what)?;
            Ok::<_, DeviceError>(Mat::new(buffer, width))
        };
        Ok(Buffers {
            stream: mat(rows, config.hidden, "residual stream")?,
            block: mat(rows, config.hidden, "block inputs and outputs")?,
            qkv: mat(rows, heads.qkv_width(), "queries, keys and values")?,
            attended: mat(rows, heads.n_q * heads.dim, "attention outputs")?,
            gate_up: mat(rows, 2 * config.ffn, "feed-forward gates")?,
            gated: mat(rows, config.ffn, "feed-forward activations")?,
            logits: mat(sampled_max, config.vocab, "logits")?,
            sampled: kernels.alloc(Element::U32, sampled_max, "sampled rows")?,
            sampled_max,
        })
    }
}
