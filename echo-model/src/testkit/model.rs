//! A model made up from a seed.

use super::blocks::{Words, blocks};
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::error::ModelError;
use crate::role::Role;
use crate::tensor::Tensor;
use crate::weights::Weights;
use echo_core::DType;
use std::borrow::Cow;
use std::path::PathBuf;

/// The shape of a tiny model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TinyShape {
    /// Llama, or Qwen3 with its head norms.
    pub family: Family,
    /// Query heads.
    pub n_q: usize,
    /// Key and value heads; divides `n_q`.
    pub n_kv: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward network.
    pub ffn: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Tokens in the vocabulary.
    pub vocab: usize,
    /// Whether the embedding is also the output head.
    pub tied: bool,
    /// Element type of all matrices.
    pub dtype: DType,
}

impl TinyShape {
    /// Four query heads over two key heads, two layers, all widths whole blocks of 32.
    pub fn usual(dtype: DType) -> Self {
        TinyShape {
            family: Family::Llama,
            n_q: 4,
            n_kv: 2,
            head_dim: 16,
            hidden: 64,
            ffn: 96,
            n_layers: 2,
            vocab: 80,
            tied: true,
            dtype,
        }
    }
}

/// Random weights with a configuration, as if read from a file.
#[derive(Clone, Debug)]
pub struct TinyModel {
    config: ModelConfig,
    dtype: DType,
    seed: u64,
}

impl TinyModel {
    /// The model of this seed. Panics if a width is not whole blocks of the element type.
    pub fn new(shape: TinyShape, seed: u64) -> Self {
        let config = ModelConfig {
            family: shape.family,
            vocab: shape.vocab,
            hidden: shape.hidden,
            n_layers: shape.n_layers,
            n_q: shape.n_q,
            n_kv: shape.n_kv,
            head_dim: shape.head_dim,
            ffn: shape.ffn,
            context: 4096,
            rope_base: 1e4,
            rope_scaling: RopeScaling::None,
            rms_eps: 1e-5,
            qk_norm: shape.family == Family::Qwen3,
            tied: shape.tied,
        };
        for cols in [shape.hidden, shape.ffn, shape.n_q * shape.head_dim] {
            let bytes = shape.dtype.row_bytes(cols);
            assert!(bytes.is_some(), "{cols} columns are not whole blocks of {}", shape.dtype);
        }
        TinyModel { config, dtype: shape.dtype, seed }
    }
}

impl Weights for TinyModel {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn tensor(&self, role: Role) -> Result<Tensor<'_>, ModelError> {
        let role = match role {
            Role::Output if self.config.tied => Role::Embedding,
            role => role,
        };
        let roles = Role::all(&self.config);
        let Some(stream) = roles.iter().position(|&own| own == role) else {
            let path = PathBuf::from("tiny model");
            return Err(ModelError::MissingTensor { path, tensor: role.folder_name() });
        };
        let mut words = Words::new(self.seed, stream as u64);
        let (rows, cols) = role.shape(&self.config);
        let (dtype, bytes) = if role.is_norm() {
            let scales = (0..cols).map(|_| 1.0 + 0.2 * words.uniform());
            (DType::F32, scales.flat_map(f32::to_le_bytes).collect())
        } else {
            // Blocks pass on about as much as they get; the head makes some tokens likely.
            let gain = match role {
                Role::Embedding | Role::Output => 2.0,
                Role::Q(_) | Role::K(_) => 1.5,
                _ => 1.0,
            };
            let sd = gain / (cols as f32).sqrt();
            (self.dtype, blocks(self.dtype, rows * cols, sd, &mut words))
        };
        let name = Cow::Owned(role.folder_name());
        Ok(Tensor { name, dtype, rows, cols, bytes: Cow::Owned(bytes) })
    }

    fn vector(&self, role: Role) -> Result<Vec<f32>, ModelError> {
        Ok(self.tensor(role)?.to_f32().expect("norms are made as singles"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_its_shape_and_spread() {
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            for family in [Family::Llama, Family::Qwen3] {
                let shape = TinyShape { family, tied: false, ..TinyShape::usual(dtype) };
                let model = TinyModel::new(shape, 1);
                for role in Role::all(model.config()) {
                    let tensor = model.tensor(role).expect("a role of the model");
                    assert_eq!((tensor.rows, tensor.cols), role.shape(model.config()));
                    let values = tensor.to_f32().expect("not quantised");
                    let n = values.len() as f32;
                    let square = values.iter().map(|w| w * w).sum::<f32>() / n;
                    let gained = square * if role.is_norm() { 1.0 } else { tensor.cols as f32 };
                    assert!((0.7..5.0).contains(&gained), "{role:?}: {gained}");
                }
            }
        }
    }

    #[test]
    fn seeds_and_roles_differ_and_what_is_not_there_is_an_error() {
        let bytes = |seed, role| {
            let model = TinyModel::new(TinyShape::usual(DType::Q8_0), seed);
            model.tensor(role).map(|t| t.bytes.into_owned())
        };
        let q = bytes(1, Role::Q(0)).expect("a role of the model");
        assert_eq!(q, bytes(1, Role::Q(0)).expect("the same again"));
        assert_ne!(q, bytes(2, Role::Q(0)).expect("another seed"));
        assert_ne!(q, bytes(1, Role::Q(1)).expect("another layer"));
        assert!(bytes(1, Role::Q(2)).is_err());
        assert!(bytes(1, Role::QNorm(0)).is_err());
        let tied = bytes(1, Role::Output).expect("the embedding");
        assert_eq!(tied, bytes(1, Role::Embedding).expect("the embedding"));
    }
}
