//! What a backend computes.

use super::device::{Buffer, Device, Stage, Weight};
use crate::error::DeviceError;
use crate::sampling::SampleView;
use crate::topk::TopK;
use crate::verdict::Verdicts;

/// Columns `col..col + width` of a row-major F32 matrix with `stride` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mat {
    /// Where it lies.
    pub buffer: Buffer,
    /// Columns of the whole matrix.
    pub stride: usize,
    /// First column meant.
    pub col: usize,
    /// Number of columns meant.
    pub width: usize,
}

impl Mat {
    /// A whole matrix of `width` columns.
    pub fn new(buffer: Buffer, width: usize) -> Self {
        Mat { buffer, stride: width, col: 0, width }
    }

    /// The columns `col..col + width` of this one.
    #[must_use]
    pub fn cols(self, col: usize, width: usize) -> Self {
        assert!(col + width <= self.width, "columns {col}+{width} of {}", self.width);
        Mat { col: self.col + col, width, ..self }
    }
}

/// How an attention layer's columns are divided: `[q heads | k heads | v heads] x dim`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub n_q: usize,
    /// Key and value heads; divides `n_q`.
    pub n_kv: usize,
    /// Width of one head, even.
    pub dim: usize,
}

impl Heads {
    /// Columns of the fused q, k, v matrix.
    pub fn qkv_width(&self) -> usize {
        (self.n_q + 2 * self.n_kv) * self.dim
    }
}

/// The operations a model's forward is made of; one method per row of KERNELS.md, nothing else.
///
/// Operations enqueue and return; [`Kernels::sample_rows`], [`Kernels::topk_logprob`] and
/// [`Device::read`] wait. Every operation is *row-pure*: the bits of an output row depend on that
/// row's own inputs (for attention: the rows it sees, in order of position) and on nothing else,
/// however many rows share the call. Accumulation runs in one fixed order for every number of rows.
///
/// The exact meaning of each operation is the header of its reference in `echo-kernels-cpu`.
pub trait Kernels: Device {
    /// `out[r] = table[token[r]]` for the staged rows, dequantised.
    fn embed(&self, stage: Stage, table: Weight, out: Mat) -> Result<(), DeviceError>;

    /// Scales each group of `weight.len()` columns of `x` to unit mean square and multiplies it by
    /// `weight`. `out` may be `x`.
    fn rms_norm(
        &self,
        rows: usize,
        x: Mat,
        weight: Buffer,
        eps: f32,
        out: Mat,
    ) -> Result<(), DeviceError>;

    /// `out = x weightᵀ`.
    fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> Result<(), DeviceError>;

    /// Rotates the q and k heads of `qkv` by each staged row's position, and writes k and v into
    /// the row's slot.
    ///
    /// `rope` holds `(cos, sin)` pairs, `[positions, dim / 2, 2]`; column `i` of a head is paired
    /// with column `i + dim / 2`. `keys` and `values` are Kv buffers, `[slots, n_kv, dim]`.
    fn rope_store(
        &self,
        stage: Stage,
        heads: Heads,
        rope: Buffer,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
    ) -> Result<(), DeviceError>;

    /// Softmax attention of each staged row over its prefix and its ancestors, in order of
    /// position, scaled by `dim^-1/2`. `out` is `[rows, n_q * dim]`.
    fn tree_attention(
        &self,
        stage: Stage,
        heads: Heads,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
        out: Mat,
    ) -> Result<(), DeviceError>;

    /// `out = silu(gate) * up` where `gate_up` is `[rows, 2 * out.width]`, gate columns first.
    fn silu_mul(&self, rows: usize, gate_up: Mat, out: Mat) -> Result<(), DeviceError>;

    /// `into += x`.
    fn add(&self, rows: usize, x: Mat, into: Mat) -> Result<(), DeviceError>;

    /// `out[i] = x[index[i]]` for `i < rows`; `index` is a U32 buffer.
    fn gather_rows(&self, rows: usize, index: Buffer, x: Mat, out: Mat) -> Result<(), DeviceError>;

    /// The token each row of `logits` commits, by the law of [`sampling`](crate::sampling); row `i`
    /// follows `sample.specs[i]`. Waits, and fills `verdicts`.
    fn sample_rows(
        &self,
        logits: Mat,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError>;

    /// The `k` best columns of each row of `x`, ties by lowest column, with the logarithm of their
    /// share of the softmax over the row. Waits, and fills `best`.
    fn topk_logprob(
        &self,
        rows: usize,
        x: Mat,
        k: usize,
        best: &mut TopK,
    ) -> Result<(), DeviceError>;
}

const _: Option<&dyn Kernels> = None;
