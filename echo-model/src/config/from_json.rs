//! Hyper-parameters from a folder's `config.json`.

use std::path::Path;

use serde_json::Value;

use super::{Family, ModelConfig, RopeScaling};
use crate::error::ModelError;

impl ModelConfig {
    /// Reads the fields the two families' reference implementations read, and refuses variants
    /// they allow but no forward here has.
    pub(crate) fn from_json(path: &Path, json: &Value) -> Result<Self, ModelError> {
        let fields = Fields { path, json };
        let family = match json["model_type"].as_str() {
            Some(name) => Family::named(path, name)?,
            None => return Err(fields.fault("model_type", "is missing")),
        };
        fields.refuse_variants()?;
        let hidden = fields.need("hidden_size")?;
        let n_q = fields.need("num_attention_heads")?;
        let head_dim = match fields.count("head_dim")? {
            Some(head_dim) => head_dim,
            None if n_q > 0 && hidden.is_multiple_of(n_q) => hidden / n_q,
            None => return Err(fields.fault("head_dim", "is missing")),
        };
        let config = ModelConfig {
            family,
            vocab: fields.need("vocab_size")?,
            hidden,
            n_layers: fields.need("num_hidden_layers")?,
            n_q,
            n_kv: fields.count("num_key_value_heads")?.unwrap_or(n_q),
            head_dim,
            ffn: fields.need("intermediate_size")?,
            context: fields.need("max_position_embeddings")?,
            rope_base: fields.rope_base()?,
            rope_scaling: fields.rope_scaling()?,
            rms_eps: fields
                .number(json, "rms_norm_eps")?
                .ok_or_else(|| fields.fault("rms_norm_eps", "is missing"))?
                as f32,
            qk_norm: family == Family::Qwen3,
            tied: fields.flag("tie_word_embeddings")?,
        };
        config.check(path)?;
        Ok(config)
    }
}

struct Fields<'a> {
    path: &'a Path,
    json: &'a Value,
}

impl Fields<'_> {
    fn fault(&self, field: &str, why: impl Into<String>) -> ModelError {
        ModelError::config(self.path, field, why)
    }

    fn count(&self, field: &str) -> Result<Option<usize>, ModelError> {
        match &self.json[field] {
            Value::Null => Ok(None),
            value => match value.as_u64() {
                Some(n) => Ok(Some(usize::try_from(n).unwrap_or(usize::MAX))),
                None => Err(self.fault(field, format!("is {value}, not a non-negative integer"))),
            },
        }
    }

    fn need(&self, field: &str) -> Result<usize, ModelError> {
        self.count(field)?.ok_or_else(|| self.fault(field, "is missing"))
    }

    fn number(&self, within: &Value, field: &str) -> Result<Option<f64>, ModelError> {
        match &within[field] {
            Value::Null => Ok(None),
            value => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.fault(field, format!("is {value}, not a number"))),
            },
        }
    }

    fn flag(&self, field: &str) -> Result<bool, ModelError> {
        match &self.json[field] {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            value => Err(self.fault(field, format!("is {value}, not a boolean"))),
        }
    }

    fn refuse_variants(&self) -> Result<(), ModelError> {
        for field in ["attention_bias", "mlp_bias", "use_sliding_window"] {
            if self.flag(field)? {
                return Err(self.fault(field, "is true; such models are not supported"));
            }
        }
        match &self.json["hidden_act"] {
            Value::Null => {}
            Value::String(act) if act == "silu" || act == "swish" => {}
            act => {
                return Err(self.fault("hidden_act", format!("is {act}; only silu is supported")));
            }
        }
        if self.number(self.json, "partial_rotary_factor")?.is_some_and(|factor| factor != 1.0) {
            let why = "is not 1; only heads rotated as a whole are supported";
            return Err(self.fault("partial_rotary_factor", why));
        }
        if !self.json["quantization_config"].is_null() {
            let why = "is set; only unquantised safetensors are supported, or use a GGUF file";
            return Err(self.fault("quantization_config", why));
        }
        Ok(())
    }

    /// Newer files gather all that is rotary in `rope_parameters`; `rope_scaling` came before.
    fn rope(&self) -> &Value {
        match &self.json["rope_parameters"] {
            Value::Null => &self.json["rope_scaling"],
            parameters => parameters,
        }
    }

    fn rope_base(&self) -> Result<f64, ModelError> {
        let nested = self.number(self.rope(), "rope_theta")?;
        let plain = self.number(self.json, "rope_theta")?;
        Ok(nested.or(plain).unwrap_or(10_000.0))
    }

    fn rope_scaling(&self) -> Result<RopeScaling, ModelError> {
        let rope = self.rope();
        let kind = rope["rope_type"].as_str().or_else(|| rope["type"].as_str());
        let need = |field: &str| {
            self.number(rope, field)?
                .ok_or_else(|| self.fault(field, "is missing from the rotary scaling"))
        };
        match kind {
            None if rope.is_null() || !rope["rope_theta"].is_null() => Ok(RopeScaling::None),
            Some("default") => Ok(RopeScaling::None),
            Some("linear") => Ok(RopeScaling::Linear { factor: need("factor")? }),
            Some("llama3") => Ok(RopeScaling::Llama3 {
                factor: need("factor")?,
                low: need("low_freq_factor")?,
                high: need("high_freq_factor")?,
                original: need("original_max_position_embeddings")?,
            }),
            kind => Err(self.fault(
                "rope_type",
                format!(
                    "is `{}`; supported are default, linear and llama3",
                    kind.unwrap_or("missing")
                ),
            )),
        }
    }
}
