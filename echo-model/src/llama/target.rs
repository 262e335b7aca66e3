//! The target: weights, KV slots and buffers on one device.

use super::buffers::Buffers;
use super::layer::{Layer, Pass};
use super::load::{LoadError, LoadProgress, Loader};
use super::taps::{Tapping, Taps};
use crate::config::ModelConfig;
use crate::role::Role;
use crate::rope::rope_table;
use crate::weights::Weights;
use echo_core::port::{Buffer, Data, Element, Heads, Kernels, Stage, TargetShape, Weight};
use echo_core::sampling::SampleView;
use echo_core::{DeviceError, Limits, PackedView, Target, Verdicts};
use std::sync::Arc;

/// A Llama- or Qwen3-family model on a device.
pub struct LlamaTarget {
    kernels: Arc<dyn Kernels>,
    config: ModelConfig,
    limits: Limits,
    stage: Stage,
    heads: Heads,
    rope: Buffer,
    embedding: Weight,
    layers: Vec<Layer>,
    output_norm: Buffer,
    output: Weight,
    buffers: Buffers,
    tappings: Vec<Tapping>,
}

impl LlamaTarget {
    /// Copies `weights` to the device and takes all the memory that `limits` may ever ask for.
    ///
    /// Sequences are as long as `limits.context_max` and the model's own context allow.
    pub fn new(
        kernels: Arc<dyn Kernels>,
        weights: &dyn Weights,
        limits: &Limits,
    ) -> Result<Self, LoadError> {
        Self::with_progress(kernels, weights, limits, &mut |_| ())
    }

    /// The same, and calls `report` after every tensor.
    pub fn with_progress(
        kernels: Arc<dyn Kernels>,
        weights: &dyn Weights,
        limits: &Limits,
        report: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self, LoadError> {
        let config = weights.config().clone();
        let heads = Heads { n_q: config.n_q, n_kv: config.n_kv, dim: config.head_dim };
        let device = kernels.as_ref();
        let angles = rope_table(&config, limits.context_max.min(config.context));
        let rope = device.alloc(Element::F32, angles.len(), "rotary angles")?;
        device.write(rope, 0, Data::F32(&angles))?;
        let mut loader = Loader::new(device, weights, report);
        let embedding = loader.matrix(&[Role::Embedding])?;
        let layers = (0..config.n_layers)
            .map(|layer| Layer::load(&mut loader, device, layer, limits.kv_slots))
            .collect::<Result<Vec<_>, _>>()?;
        let output_norm = loader.norm(Role::OutputNorm)?;
        let output = if config.tied { embedding } else { loader.matrix(&[Role::Output])? };
        let buffers = Buffers::new(device, &config, heads, limits)?;
        let stage = device.open_stage(limits)?;
        Ok(LlamaTarget {
            stage,
            heads,
            rope,
            embedding,
            layers,
            output_norm,
            output,
            buffers,
            tappings: Vec::new(),
            limits: *limits,
            config,
            kernels,
        })
    }

    /// The hyper-parameters of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its embedding, on the device.
    pub fn embedding(&self) -> Weight {
        self.embedding
    }

    /// From now on keeps the residual stream after each of these layers, counted from 0, for every
    /// row of the last forward, beside what was tapped before; who taps the same layers reads the
    /// same buffer. Panics if there is no such layer.
    pub fn tap(&mut self, layers: [usize; 3]) -> Result<Taps, DeviceError> {
        let n_layers = self.layers.len();
        assert!(
            layers.iter().all(|&layer| layer < n_layers),
            "layers {layers:?} are to be tapped, the model has {n_layers}"
        );
        if let Some(tapping) = self.tappings.iter().find(|tapping| tapping.layers == layers) {
            return Ok(tapping.taps);
        }
        let (rows, hidden) = (self.limits.rows_max, self.config.hidden);
        let tapping = Tapping::new(self.kernels.as_ref(), layers, rows, hidden)?;
        let taps = tapping.taps;
        self.tappings.push(tapping);
        Ok(taps)
    }

    /// The residual stream of every row after the last layer.
    fn stream(&self, packed: PackedView<'_>) -> Result<(), DeviceError> {
        let kernels = self.kernels.as_ref();
        let pass = Pass {
            kernels,
            stage: self.stage,
            rows: packed.rows(),
            heads: self.heads,
            eps: self.config.rms_eps,
            rope: self.rope,
            buffers: &self.buffers,
        };
        kernels.stage(self.stage, packed)?;
        kernels.embed(self.stage, self.embedding, self.buffers.stream)?;
        for (number, layer) in self.layers.iter().enumerate() {
            layer.forward(pass)?;
            for tapping in &self.tappings {
                tapping.after(kernels, number, pass.rows, self.buffers.stream)?;
            }
        }
        Ok(())
    }

    /// The logits of the sampled rows, from the residual stream.
    fn logits(&self, sampled: &[u32]) -> Result<(), DeviceError> {
        let kernels = self.kernels.as_ref();
        let Buffers { stream, block, logits, .. } = self.buffers;
        let rows = sampled.len();
        kernels.write(self.buffers.sampled, 0, Data::U32(sampled))?;
        kernels.gather_rows(rows, self.buffers.sampled, stream, block)?;
        kernels.rms_norm(rows, block, self.output_norm, self.config.rms_eps, block)?;
        kernels.linear(rows, self.output, block, logits)
    }
}

impl Target for LlamaTarget {
    fn shape(&self) -> TargetShape {
        TargetShape {
            vocab: self.config.vocab,
            context_max: self.config.context.min(self.limits.context_max),
            kv_slots: self.limits.kv_slots,
            rows_max: self.limits.rows_max,
            seqs_max: self.limits.seqs_max,
        }
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let (rows, sampled) = (packed.rows(), packed.sampled.len());
        assert!(rows <= self.limits.rows_max, "{rows} rows, at most {}", self.limits.rows_max);
        assert!(sampled <= self.buffers.sampled_max, "{sampled} sampled rows are too many");
        assert_eq!(sampled, sample.specs.len(), "one spec per sampled row");
        if rows > 0 {
            self.stream(packed)?;
        }
        if sampled == 0 {
            verdicts.reset(0);
            return Ok(());
        }
        self.logits(packed.sampled)?;
        self.kernels.sample_rows(self.buffers.logits, sample, verdicts)
    }
}
