//! Writes folders as the hub lays them out, broken ones too: nothing is checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Tensors by name: element type, shape and bytes.
pub(crate) type Tensors = BTreeMap<String, (&'static str, Vec<usize>, Vec<u8>)>;

/// A folder that goes away with this value.
pub(crate) struct FolderWriter {
    pub(crate) dir: TempDir,
}

impl FolderWriter {
    pub(crate) fn new(config: &Value) -> Self {
        let writer = FolderWriter { dir: TempDir::new().expect("a temporary folder") };
        writer.json("config.json", config)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn json(self, name: &str, value: &Value) -> Self {
        self.file(name, value.to_string().as_bytes())
    }

    pub(crate) fn file(self, name: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.path().join(name), bytes).expect("the folder can be written");
        self
    }

    pub(crate) fn shard(self, name: &str, tensors: &Tensors) -> Self {
        self.file(name, &shard(tensors))
    }
}

pub(crate) fn shard(tensors: &Tensors) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for (name, (dtype, shape, bytes)) in tensors {
        let offsets = [data.len(), data.len() + bytes.len()];
        header.insert(
            name.clone(),
            json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }),
        );
        data.extend(bytes);
    }
    let header = Value::Object(header).to_string();
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

/// A whole model of one layer: width 8, 2 query heads and 1 key-value head of 4, vocabulary of 6.
pub(crate) fn tiny_config(family: &str) -> Value {
    json!({
        "model_type": family, "vocab_size": 6, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "intermediate_size": 12, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu",
    })
}

/// Its tensors; the elements count up from 0 in each.
pub(crate) fn tiny_tensors(family: &str) -> Tensors {
    let mut shapes = vec![
        ("model.embed_tokens.weight", vec![6, 8]),
        ("model.norm.weight", vec![8]),
        ("model.layers.0.input_layernorm.weight", vec![8]),
        ("model.layers.0.self_attn.q_proj.weight", vec![8, 8]),
        ("model.layers.0.self_attn.k_proj.weight", vec![4, 8]),
        ("model.layers.0.self_attn.v_proj.weight", vec![4, 8]),
        ("model.layers.0.self_attn.o_proj.weight", vec![8, 8]),
        ("model.layers.0.post_attention_layernorm.weight", vec![8]),
        ("model.layers.0.mlp.gate_proj.weight", vec![12, 8]),
        ("model.layers.0.mlp.up_proj.weight", vec![12, 8]),
        ("model.layers.0.mlp.down_proj.weight", vec![8, 12]),
    ];
    if family == "qwen3" {
        shapes.push(("model.layers.0.self_attn.q_norm.weight", vec![4]));
        shapes.push(("model.layers.0.self_attn.k_norm.weight", vec![4]));
    }
    let ramp = |shape: &[usize]| {
        (0..shape.iter().product()).flat_map(|i: usize| (i as f32).to_le_bytes()).collect()
    };
    shapes.into_iter().map(|(name, s)| (name.to_owned(), ("F32", s.clone(), ramp(&s)))).collect()
}
