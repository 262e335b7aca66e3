//! The hyper-parameters of a model, read from GGUF metadata or a `config.json` and validated.

mod from_gguf;
mod from_json;

use std::path::Path;

use crate::error::ModelError;

/// Model families with a forward. They differ in the normalisation of q and k heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Llama 2 and 3, `SmolLM2` and others of that shape.
    Llama,
    /// Qwen3 (dense): each q and k head has an RMS norm of its own.
    Qwen3,
}

impl Family {
    pub(crate) fn named(path: &Path, name: &str) -> Result<Self, ModelError> {
        match name {
            "llama" => Ok(Family::Llama),
            "qwen3" => Ok(Family::Qwen3),
            _ => Err(ModelError::Architecture { path: path.to_owned(), name: name.to_owned() }),
        }
    }
}

/// How rotary frequencies are changed for contexts longer than trained on.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies are divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: wavelengths longer than `original / low` are stretched by `factor`, those
    /// shorter than `original / high` are left alone, the rest is blended.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Positive, below `high`.
        low: f64,
        /// Above `low`.
        high: f64,
        /// Context length before the extension.
        original: f64,
    },
    /// Frequency `i` is divided by `divisors[i]`: the same, worked out by whoever wrote the file
    /// (GGUF's `rope_freqs.weight`). `head_dim / 2` positive numbers.
    Divisors {
        /// One for each pair of columns.
        divisors: Vec<f32>,
    },
}

/// Everything the forward has to know besides the weights.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ModelConfig {
    /// Which forward.
    pub family: Family,
    /// Rows of the embedding.
    pub vocab: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_q: usize,
    /// Key and value heads; divides `n_q`.
    pub n_kv: usize,
    /// Width of one head, even. Not always `hidden / n_q`.
    pub head_dim: usize,
    /// Width of the feed-forward network.
    pub ffn: usize,
    /// Longest sequence the model was made for, in tokens.
    pub context: usize,
    /// Base of the rotary frequencies.
    pub rope_base: f64,
    /// Their scaling.
    pub rope_scaling: RopeScaling,
    /// Added to mean squares before the root.
    pub rms_eps: f32,
    /// Whether q and k heads are normalised before rotation.
    pub qk_norm: bool,
    /// Whether the embedding is also the output head.
    pub tied: bool,
}

impl ModelConfig {
    /// Refuses numbers that are zero, implausibly large, or contradict each other.
    ///
    /// The maxima are far above any published model of these families; they exist so that no
    /// product of two of these numbers overflows and no file asks for absurd buffers.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let ranges = [
            ("vocabulary size", self.vocab, 1 << 21),
            ("hidden size", self.hidden, 1 << 17),
            ("number of layers", self.n_layers, 1 << 10),
            ("number of attention heads", self.n_q, 1 << 10),
            ("number of key-value heads", self.n_kv, 1 << 10),
            ("head size", self.head_dim, 1 << 10),
            ("feed-forward size", self.ffn, 1 << 19),
            ("context length", self.context, 1 << 24),
        ];
        for (field, value, max) in ranges {
            if value == 0 || value > max {
                let why = format!("is {value}; it must be from 1 to {max}");
                return Err(ModelError::config(path, field, why));
            }
        }
        if !self.n_q.is_multiple_of(self.n_kv) {
            let why = format!("is {}, which does not divide {} query heads", self.n_kv, self.n_q);
            return Err(ModelError::config(path, "number of key-value heads", why));
        }
        if !self.head_dim.is_multiple_of(2) {
            let why = format!("is {}; rotary embeddings need an even one", self.head_dim);
            return Err(ModelError::config(path, "head size", why));
        }
        if !(self.rope_base >= 1.0 && self.rope_base <= 1e12) {
            let why = format!("is {}; it must be from 1 to 1e12", self.rope_base);
            return Err(ModelError::config(path, "rotary base", why));
        }
        if !(self.rms_eps > 0.0 && self.rms_eps < 1.0) {
            let why = format!("is {}; it must be above 0 and below 1", self.rms_eps);
            return Err(ModelError::config(path, "norm epsilon", why));
        }
        self.rope_scaling
            .fault(self.head_dim)
            .map_or(Ok(()), |why| Err(ModelError::config(path, "rotary scaling", why)))
    }
}

impl RopeScaling {
    fn fault(&self, head_dim: usize) -> Option<String> {
        let usable = |x: f64| x > 0.0 && x <= 1e9;
        match self {
            RopeScaling::None => None,
            RopeScaling::Linear { factor } => (!(*factor >= 1.0 && usable(*factor)))
                .then(|| format!("has factor {factor}; it must be at least 1")),
            RopeScaling::Llama3 { factor, low, high, original } => {
                let good = *factor >= 1.0
                    && [*factor, *low, *high, *original].into_iter().all(usable)
                    && low < high;
                (!good).then(|| {
                    format!(
                        "of type llama3 has factor {factor}, low {low}, high {high}, original \
                         {original}; all must be positive, factor at least 1 and low below high"
                    )
                })
            }
            RopeScaling::Divisors { divisors } => {
                let good = divisors.len() == head_dim / 2
                    && divisors.iter().all(|&d| usable(f64::from(d)));
                (!good).then(|| format!("must be {} positive divisors", head_dim / 2))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocab: 49_152,
            hidden: 576,
            n_layers: 30,
            n_q: 9,
            n_kv: 3,
            head_dim: 64,
            ffn: 1536,
            context: 8192,
            rope_base: 1e5,
            rope_scaling: RopeScaling::None,
            rms_eps: 1e-5,
            qk_norm: false,
            tied: true,
        }
    }

    fn message(change: impl FnOnce(&mut ModelConfig)) -> String {
        let mut config = good();
        change(&mut config);
        config.check(Path::new("m")).unwrap_err().to_string()
    }

    #[test]
    fn contradictions_are_named() {
        assert!(good().check(Path::new("m")).is_ok());
        assert!(message(|c| c.n_layers = 0).contains("`number of layers` is 0"));
        assert!(message(|c| c.vocab = usize::MAX).contains("`vocabulary size`"));
        assert!(message(|c| c.n_kv = 2).contains("does not divide 9 query heads"));
        assert!(message(|c| c.head_dim = 63).contains("even"));
        assert!(message(|c| c.rope_base = f64::NAN).contains("rotary base"));
        assert!(message(|c| c.rms_eps = 0.0).contains("norm epsilon"));
        let linear = RopeScaling::Linear { factor: 0.5 };
        assert!(message(|c| c.rope_scaling = linear).contains("factor 0.5"));
        let divisors = vec![1.0; 31];
        let short = RopeScaling::Divisors { divisors };
        assert!(message(|c| c.rope_scaling = short).contains("32 positive divisors"));
        let crossed = RopeScaling::Llama3 { factor: 8.0, low: 4.0, high: 1.0, original: 8192.0 };
        assert!(message(|c| c.rope_scaling = crossed).contains("low below high"));
    }

    #[test]
    fn other_architectures_are_refused_with_the_known_ones() {
        let error = Family::named(Path::new("m"), "mamba").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`mamba`") && text.contains("llama and qwen3"), "{text}");
    }
}
