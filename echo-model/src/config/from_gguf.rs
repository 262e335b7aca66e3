//! Hyper-parameters from GGUF metadata.

use std::path::Path;

use echo_core::DType;

use super::{Family, ModelConfig, RopeScaling};
use crate::error::ModelError;
use crate::gguf::{Fault, Gguf, GgufError};

impl ModelConfig {
    /// Reads the keys of `general.architecture`'s own name space.
    pub(crate) fn from_gguf(path: &Path, gguf: &Gguf) -> Result<Self, ModelError> {
        if keyed(path, gguf.count("split.count"))?.is_some_and(|parts| parts > 1) {
            let why = "is above 1: this is a part of a file; join them with llama.cpp's \
                       `llama-gguf-split --merge`";
            return Err(ModelError::config(path, "split.count", why));
        }
        let keys = Keys {
            path,
            gguf,
            arch: keyed(path, gguf.string("general.architecture"))?
                .ok_or_else(|| missing(path, "general.architecture"))?,
        };
        let family = Family::named(path, keys.arch)?;
        keys.refuse_variants()?;
        let hidden = keys.need("embedding_length")?;
        let n_q = keys.need("attention.head_count")?;
        let n_kv = keys.count("attention.head_count_kv")?.unwrap_or(n_q);
        let head_dim = keys.head_dim(hidden, n_q)?;
        let config = ModelConfig {
            family,
            vocab: keys.vocab()?,
            hidden,
            n_layers: keys.need("block_count")?,
            n_q,
            n_kv,
            head_dim,
            ffn: keys.need("feed_forward_length")?,
            context: keys.need("context_length")?,
            rope_base: keys.number("rope.freq_base")?.unwrap_or(10_000.0),
            rope_scaling: keys.rope_scaling()?,
            rms_eps: keys
                .number("attention.layer_norm_rms_epsilon")?
                .ok_or_else(|| missing(path, &keys.key("attention.layer_norm_rms_epsilon")))?
                as f32,
            qk_norm: family == Family::Qwen3,
            tied: gguf.tensor("output.weight").is_none(),
        };
        config.check(path)?;
        Ok(config)
    }
}

struct Keys<'a> {
    path: &'a Path,
    gguf: &'a Gguf,
    arch: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    fn count(&self, name: &str) -> Result<Option<usize>, ModelError> {
        let found = keyed(self.path, self.gguf.count(&self.key(name)))?;
        // Too large for this machine is too large for the check that follows.
        Ok(found.map(|n| usize::try_from(n).unwrap_or(usize::MAX)))
    }

    fn need(&self, name: &str) -> Result<usize, ModelError> {
        self.count(name)?.ok_or_else(|| missing(self.path, &self.key(name)))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, ModelError> {
        keyed(self.path, self.gguf.number(&self.key(name)))
    }

    /// Variants of these families that files of the same architecture name can be.
    fn refuse_variants(&self) -> Result<(), ModelError> {
        let scales = ["logit_scale", "embedding_scale", "residual_scale", "attention.scale"];
        for name in scales.into_iter().chain(["expert_count", "attention.sliding_window"]) {
            if self.number(name)?.is_some_and(|value| value != 0.0) {
                let why = "is set; such models are not supported";
                return Err(ModelError::config(self.path, self.key(name), why));
            }
        }
        Ok(())
    }

    /// The tokenizer's list decides; `vocab_size` is redundant and must agree where it is given.
    fn vocab(&self) -> Result<usize, ModelError> {
        let declared = self.count("vocab_size")?;
        let listed = keyed(self.path, self.gguf.array("tokenizer.ggml.tokens"))?.map(|a| a.len());
        match (listed, declared) {
            (Some(listed), Some(declared)) if listed != declared => Err(ModelError::config(
                self.path,
                self.key("vocab_size"),
                format!("is {declared} but tokenizer.ggml.tokens lists {listed} tokens"),
            )),
            (Some(vocab), _) | (None, Some(vocab)) => Ok(vocab),
            (None, None) => Err(missing(self.path, "tokenizer.ggml.tokens")),
        }
    }

    fn head_dim(&self, hidden: usize, n_q: usize) -> Result<usize, ModelError> {
        let key = self.count("attention.key_length")?;
        let value = self.count("attention.value_length")?;
        let head_dim = match key {
            Some(dim) => dim,
            None if n_q > 0 && hidden.is_multiple_of(n_q) => hidden / n_q,
            None => return Err(missing(self.path, &self.key("attention.key_length"))),
        };
        let same = [
            ("attention.value_length", value),
            ("rope.dimension_count", self.count("rope.dimension_count")?),
        ];
        for (name, found) in same {
            if let Some(found) = found.filter(|&found| found != head_dim) {
                let why = format!("is {found}; only heads of {head_dim} throughout are supported");
                return Err(ModelError::config(self.path, self.key(name), why));
            }
        }
        Ok(head_dim)
    }

    fn rope_scaling(&self) -> Result<RopeScaling, ModelError> {
        let key = self.key("rope.scaling.type");
        let named = keyed(self.path, self.gguf.string(&key))?;
        // Files of before there were types have a factor alone, and the oldest by another name.
        let factor = self.number("rope.scaling.factor")?.or(self.number("rope.scale_linear")?);
        let is_scaled = factor.is_some_and(|factor| factor != 0.0 && factor != 1.0);
        let scaling = named.unwrap_or(if is_scaled { "linear" } else { "none" });
        match (scaling, self.divisors()?) {
            ("none", None) => Ok(RopeScaling::None),
            ("none", Some(divisors)) => Ok(RopeScaling::Divisors { divisors }),
            ("linear", None) => Ok(RopeScaling::Linear {
                factor: factor
                    .ok_or_else(|| missing(self.path, &self.key("rope.scaling.factor")))?,
            }),
            (other, _) => Err(ModelError::config(
                self.path,
                key,
                format!("is `{other}`; supported are none, linear, and rope_freqs.weight alone"),
            )),
        }
    }

    fn divisors(&self) -> Result<Option<Vec<f32>>, ModelError> {
        let Some(tensor) = self.gguf.tensor("rope_freqs.weight") else {
            return Ok(None);
        };
        if tensor.dtype != DType::F32 || tensor.dims.len() != 1 {
            return Err(ModelError::ElementType {
                path: self.path.to_owned(),
                tensor: tensor.name.to_owned(),
                found: tensor.dtype,
                expected: "it must be a vector of F32",
            });
        }
        Ok(Some(crate::tensor::floats(tensor.bytes)))
    }
}

fn missing(path: &Path, key: &str) -> ModelError {
    ModelError::config(path, key, "is missing; the file is not a complete model")
}

fn keyed<T>(path: &Path, result: Result<T, GgufError>) -> Result<T, ModelError> {
    result.map_err(|error| match error.fault {
        Fault::Kind { key, found, wanted } => {
            ModelError::config(path, key, format!("is {found}, not {wanted}"))
        }
        _ => ModelError::Gguf { path: path.to_owned(), source: error },
    })
}
