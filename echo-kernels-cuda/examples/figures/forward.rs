//! A forward of the Llama family with random weights, as `echo-model` makes it of the port.

use echo_core::port::{Buffer, Data, Element, Heads, Kernels, Mat, Stage, Weight};
use echo_core::tensor::{DType, TensorView};
use echo_core::{DeviceError, Limits, PackedView, SampleSpec, SampleView, Verdicts};

#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) hidden: usize,
    pub(crate) n_q: usize,
    pub(crate) n_kv: usize,
    pub(crate) dim: usize,
    pub(crate) ffn: usize,
    pub(crate) vocab: usize,
    pub(crate) layers: usize,
    /// Layers with weights of their own; the others share them.
    pub(crate) distinct: usize,
    pub(crate) dtype: DType,
}

impl Shape {
    fn heads(&self) -> Heads {
        Heads { n_q: self.n_q, n_kv: self.n_kv, dim: self.dim }
    }

    /// Rows and columns of a layer's matrices: qkv, o, gate and up, down.
    fn matrices(&self) -> [(usize, usize); 4] {
        let (hidden, attended) = (self.hidden, self.n_q * self.dim);
        let qkv = self.heads().qkv_width();
        [(qkv, hidden), (hidden, attended), (2 * self.ffn, hidden), (hidden, self.ffn)]
    }

    /// Weights that one row is multiplied by.
    pub(crate) fn products(&self) -> usize {
        let layer: usize = self.matrices().iter().map(|(rows, cols)| rows * cols).sum();
        self.layers * layer + self.vocab * self.hidden
    }

    /// Bytes of weights that a forward reads.
    pub(crate) fn bytes(&self) -> usize {
        self.products() / self.dtype.block_len() * self.dtype.block_bytes()
    }
}

struct Layer {
    weights: [Weight; 4],
    keys: Buffer,
    values: Buffer,
}

/// Weights and buffers on a device.
pub(crate) struct Forward<'k> {
    kernels: &'k dyn Kernels,
    shape: Shape,
    stage: Stage,
    layers: Vec<Layer>,
    head: Weight,
    norm: Buffer,
    rope: Buffer,
    stream: Mat,
    block: Mat,
    qkv: Mat,
    attended: Mat,
    gate_up: Mat,
    gated: Mat,
    logits: Mat,
    verdicts: Verdicts,
}

impl<'k> Forward<'k> {
    pub(crate) fn new(
        kernels: &'k dyn Kernels,
        shape: Shape,
        limits: &Limits,
    ) -> Result<Self, DeviceError> {
        let floats = |len, what| kernels.alloc(Element::F32, len, what);
        let mat = |width, what| {
            Ok::<_, DeviceError>(Mat::new(floats(limits.rows_max * width, what)?, width))
        };
        let filled = |len: usize, value: f32, what| {
            let buffer = floats(len, what)?;
            kernels.write(buffer, 0, Data::F32(&vec![value; len]))?;
            Ok::<_, DeviceError>(buffer)
        };
        let cache = limits.kv_slots * shape.n_kv * shape.dim;
        let mut layers = Vec::new();
        for seed in 0..shape.distinct {
            let [qkv, o, gate_up, down] =
                shape.matrices().map(|size| random(kernels, shape.dtype, size, seed as u64));
            layers.push(Layer {
                weights: [qkv?, o?, gate_up?, down?],
                keys: filled(cache, 0.1, "keys")?,
                values: filled(cache, 0.1, "values")?,
            });
        }
        Ok(Forward {
            kernels,
            shape,
            stage: kernels.open_stage(limits)?,
            layers,
            head: random(kernels, shape.dtype, (shape.vocab, shape.hidden), 99)?,
            norm: filled(shape.hidden, 1.0, "norm")?,
            rope: filled(limits.context_max * shape.dim, 0.7, "angles")?,
            stream: mat(shape.hidden, "stream")?,
            block: mat(shape.hidden, "block")?,
            qkv: mat(shape.heads().qkv_width(), "qkv")?,
            attended: mat(shape.n_q * shape.dim, "attended")?,
            gate_up: mat(2 * shape.ffn, "gates")?,
            gated: mat(shape.ffn, "gated")?,
            logits: mat(shape.vocab, "logits")?,
            verdicts: Verdicts::with_capacity(limits.rows_max, 0),
        })
    }

    /// A whole forward: `seqs` sequences of `context` positions, each with a root and a chain of
    /// drafted rows, `rows` in all; every row is sampled.
    pub(crate) fn run(
        &mut self,
        seqs: usize,
        rows: usize,
        context: usize,
    ) -> Result<(), DeviceError> {
        let (kernels, shape, eps) = (self.kernels, self.shape, 1e-5);
        let all = seqs * rows;
        Rows::new(seqs, rows, context).stage(kernels, self.stage)?;
        kernels.embed(self.stage, self.head, self.stream)?;
        for layer in (0..shape.layers).map(|i| &self.layers[i % shape.distinct]) {
            let [qkv, o, gate_up, down] = layer.weights;
            let (heads, keys, values) = (shape.heads(), layer.keys, layer.values);
            kernels.rms_norm(all, self.stream, self.norm, eps, self.block)?;
            kernels.linear(all, qkv, self.block, self.qkv)?;
            kernels.rope_store(self.stage, heads, self.rope, self.qkv, keys, values)?;
            kernels.tree_attention(self.stage, heads, self.qkv, keys, values, self.attended)?;
            kernels.linear(all, o, self.attended, self.block)?;
            kernels.add(all, self.block, self.stream)?;
            kernels.rms_norm(all, self.stream, self.norm, eps, self.block)?;
            kernels.linear(all, gate_up, self.block, self.gate_up)?;
            kernels.silu_mul(all, self.gate_up, self.gated)?;
            kernels.linear(all, down, self.gated, self.block)?;
            kernels.add(all, self.block, self.stream)?;
        }
        kernels.rms_norm(all, self.stream, self.norm, eps, self.block)?;
        kernels.linear(all, self.head, self.block, self.logits)?;
        let specs = vec![SampleSpec::GREEDY; all];
        let sample = SampleView { specs: &specs, edits: &[] };
        kernels.sample_rows(self.logits, sample, &mut self.verdicts)
    }

    /// The products of a forward alone.
    pub(crate) fn products(&mut self, rows: usize) -> Result<(), DeviceError> {
        let kernels = self.kernels;
        for layer in (0..self.shape.layers).map(|i| &self.layers[i % self.shape.distinct]) {
            let [qkv, o, gate_up, down] = layer.weights;
            kernels.linear(rows, qkv, self.block, self.qkv)?;
            kernels.linear(rows, o, self.attended, self.block)?;
            kernels.linear(rows, gate_up, self.block, self.gate_up)?;
            kernels.linear(rows, down, self.gated, self.block)?;
        }
        kernels.linear(rows, self.head, self.block, self.logits)?;
        kernels.read(self.logits.buffer, 0, &mut [0.0])
    }
}

/// A matrix of small numbers: every two bytes are a BF16 of about 1/128, and as the scale or the
/// minimum of a quantised block an F16 of about 1.
fn random(
    kernels: &dyn Kernels,
    dtype: DType,
    (rows, cols): (usize, usize),
    seed: u64,
) -> Result<Weight, DeviceError> {
    let len = rows * cols / dtype.block_len() * dtype.block_bytes();
    let mut state = seed * 2 + 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Random signs and fractions, exponents of about 1/128.
        let four = (state ^ state >> 29) & 0x807F_807F_807F_807F | 0x3C00_3C00_3C00_3C00;
        bytes.extend(four.to_le_bytes());
    }
    bytes.truncate(len);
    let name = "random weights";
    kernels.weight(&[TensorView { name, dtype, rows, cols, bytes: &bytes }])
}

/// A forward's rows: sequences alike, each a root and a chain below it.
struct Rows {
    seqs: usize,
    each: usize,
    context: usize,
}

impl Rows {
    fn new(seqs: usize, each: usize, context: usize) -> Self {
        Rows { seqs, each, context }
    }

    fn stage(&self, kernels: &dyn Kernels, stage: Stage) -> Result<(), DeviceError> {
        let Rows { seqs, each: rows, context } = *self;
        let per = |of: &dyn Fn(usize, usize) -> u32| -> Vec<u32> {
            (0..seqs).flat_map(|s| (0..rows).map(move |i| (s, i))).map(|(s, i)| of(s, i)).collect()
        };
        let span = context + rows;
        let starts = |step: usize| -> Vec<u32> { (0..=seqs).map(|s| (s * step) as u32).collect() };
        let sets: Vec<u64> =
            per(&|_, i| i as u32).iter().map(|&i| if i == 0 { 0 } else { (1 << i) - 1 }).collect();
        kernels.stage(
            stage,
            PackedView {
                token: &per(&|s, i| (s + i) as u32),
                position: &per(&|_, i| (context + i) as u32),
                slot: &per(&|s, i| (s * span + context + i) as u32),
                prefix_len: &per(&|_, _| context as u32 + 1),
                ancestors: &sets,
                words: 1,
                seqs: &(0..seqs as u32).collect::<Vec<_>>(),
                row_start: &starts(rows),
                drafted_start: &(0..seqs).map(|s| (s * rows + 1) as u32).collect::<Vec<_>>(),
                table: &(0..seqs)
                    .flat_map(|s| (0..=context).map(move |i| (s * span + i) as u32))
                    .collect::<Vec<_>>(),
                table_start: &starts(context + 1),
                sampled: &(0..(seqs * rows) as u32).collect::<Vec<_>>(),
            },
        )
    }
}
