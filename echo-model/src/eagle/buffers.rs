//! The activations of the head's largest pass.

use crate::config::ModelConfig;
use echo_core::port::{Buffer, Data, Element, Heads, Kernels, Mat};
use echo_core::{DeviceError, Limits};

/// Buffers that every pass uses anew, and the states kept between passes.
pub(super) struct Buffers {
    /// Row numbers of the next gathering, `[rows]`.
    pub(super) index: Buffer,
    /// `0, 1, 2, …`: gathering by it is copying.
    pub(super) identity: Buffer,
    /// `[fused_max, 3 hidden]`.
    pub(super) tapped: Mat,
    /// `[fused_max + 1, hidden]`; the last row is always zero.
    pub(super) fused: Mat,
    /// State of each sequence's last committed row, `[kept_max + 1, hidden]`; the last row is
    /// always zero.
    pub(super) kept: Mat,
    /// Input of a pass and, after it, its output, `[rows, hidden]`.
    pub(super) hidden: Mat,
    /// States on their way to where they are wanted, `[rows, hidden]`.
    pub(super) moved: Mat,
    /// `[rows, hidden]`.
    pub(super) block: Mat,
    /// `[rows, 2 hidden]`.
    pub(super) pair: Mat,
    /// `[rows, (n_q + 2 n_kv) head_dim]`.
    pub(super) qkv: Mat,
    /// `[rows, n_q head_dim]`.
    pub(super) attended: Mat,
    /// `[rows, 2 ffn]`.
    pub(super) gate_up: Mat,
    /// `[rows, ffn]`.
    pub(super) gated: Mat,
    /// `[proposing rows, draft vocabulary]`.
    pub(super) logits: Mat,
    /// Rows that can be fused at once.
    pub(super) fused_max: usize,
    /// Sequences whose last state can be kept.
    pub(super) kept_max: usize,
}

impl Buffers {
    pub(super) fn new(
        kernels: &dyn Kernels,
        config: &ModelConfig,
        heads: Heads,
        draft_vocab: usize,
        limits: &Limits,
        rows: usize,
    ) -> Result<Self, DeviceError> {
        let (fused_max, kept_max) = (limits.rows_max, limits.seqs_max);
        let mat = |rows: usize, width: usize| {
            let buffer = kernels.alloc(Element::F32, rows * width, "activations of the head")?;
            Ok::<_, DeviceError>(Mat::new(buffer, width))
        };
        let identity = kernels.alloc(Element::U32, rows, "row numbers of the head")?;
        let numbers: Vec<u32> = (0..rows as u32).collect();
        kernels.write(identity, 0, Data::U32(&numbers))?;
        let (hidden, proposing) = (config.hidden, limits.seqs_max * limits.beam_max.max(1));
        Ok(Buffers {
            index: kernels.alloc(Element::U32, rows, "row numbers of the head")?,
            identity,
            tapped: mat(fused_max, 3 * hidden)?,
            fused: mat(fused_max + 1, hidden)?,
            kept: mat(kept_max + 1, hidden)?,
            hidden: mat(rows, hidden)?,
            moved: mat(rows, hidden)?,
            block: mat(rows, hidden)?,
            pair: mat(rows, 2 * hidden)?,
            qkv: mat(rows, heads.qkv_width())?,
            attended: mat(rows, heads.n_q * heads.dim)?,
            gate_up: mat(rows, 2 * config.ffn)?,
            gated: mat(rows, config.ffn)?,
            logits: mat(proposing, draft_vocab)?,
            fused_max,
            kept_max,
        })
    }
}
