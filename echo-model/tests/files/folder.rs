//! Folders of safetensors: shards, element types, and what is refused.

use echo_core::DType;
use echo_model::{Checkpoint, Role, RopeScaling};
use half::{bf16, f16};
use serde_json::{Value, json};

use crate::folder_writer::{FolderWriter, Tensors, shard, tiny_config, tiny_tensors};

const INDEX: &str = "model.safetensors.index.json";

/// The tiny Llama in two shards and their index.
fn sharded() -> (FolderWriter, Value) {
    let mut first = tiny_tensors("llama");
    let second = first.split_off("model.layers.0.self_attn.k_proj.weight");
    let names = |tensors: &Tensors, file: &str| {
        tensors.keys().map(|name| (name.clone(), json!(file))).collect::<Vec<_>>()
    };
    let map: serde_json::Map<String, Value> =
        [names(&first, "a.safetensors"), names(&second, "b.safetensors")]
            .concat()
            .into_iter()
            .collect();
    let folder = FolderWriter::new(&tiny_config("llama"))
        .shard("a.safetensors", &first)
        .shard("b.safetensors", &second);
    (folder, json!({ "metadata": {}, "weight_map": map }))
}

fn refused(folder: &FolderWriter, words: &[&str]) {
    let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn shards_are_one_model() {
    let (folder, index) = sharded();
    let folder = folder.json(INDEX, &index);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let whole =
        FolderWriter::new(&tiny_config("llama")).shard("model.safetensors", &tiny_tensors("llama"));
    let whole = Checkpoint::open(whole.path()).unwrap();
    for role in Role::all(whole.config()) {
        assert_eq!(checkpoint.tensor(role).unwrap().bytes, whole.tensor(role).unwrap().bytes);
    }
}

#[test]
fn an_index_that_lies_is_refused() {
    let norm = "model.norm.weight";
    for file in ["../a.safetensors", "/a.safetensors", "x/a.safetensors", "a.bin", ""] {
        let (folder, mut index) = sharded();
        index["weight_map"][norm] = json!(file);
        refused(
            &folder.json(INDEX, &index),
            &["model.norm.weight", "no name of a .safetensors file"],
        );
    }
    let (folder, mut index) = sharded();
    index["weight_map"][norm] = json!("a.safetensors");
    refused(&folder.json(INDEX, &index), &["should lie in", norm]);
    let (folder, mut index) = sharded();
    index["weight_map"][norm] = json!("c.safetensors");
    refused(&folder.json(INDEX, &index), &["c.safetensors", "check the path"]);
    let (folder, index) = sharded();
    let folder = folder.shard("b.safetensors", &tiny_tensors("llama")).json(INDEX, &index);
    refused(&folder, &["lies in a.safetensors too"]);
    let (folder, _) = sharded();
    refused(&folder.json(INDEX, &json!({})), &["weight_map"]);
    let (folder, _) = sharded();
    refused(&folder, &["neither model.safetensors nor"]);
}

#[test]
fn halves_are_taken_as_they_are_and_other_types_refused() {
    let with = |name: &str, dtype: &'static str, bytes: Vec<u8>| {
        let mut tensors = tiny_tensors("llama");
        let entry = tensors.get_mut(name).unwrap();
        *entry = (dtype, entry.1.clone(), bytes);
        FolderWriter::new(&tiny_config("llama")).shard("model.safetensors", &tensors)
    };
    let norm = "model.norm.weight";
    let halves = (0..8).flat_map(|i| f16::from_f32(i as f32).to_le_bytes()).collect();
    let folder = with(norm, "F16", halves);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.tensor(Role::OutputNorm).unwrap().dtype, DType::F16);
    assert_eq!(checkpoint.vector(Role::OutputNorm).unwrap()[7], 7.0);
    let brains = (0..8).flat_map(|i| bf16::from_f32(i as f32).to_le_bytes()).collect();
    let folder = with(norm, "BF16", brains);
    assert_eq!(Checkpoint::open(folder.path()).unwrap().vector(Role::OutputNorm).unwrap()[7], 7.0);
    refused(&with(norm, "F64", vec![0; 64]), &["model.norm.weight", "F64", "BF16"]);
}

#[test]
fn broken_shards_are_refused() {
    let good = shard(&tiny_tensors("llama"));
    let folder =
        |bytes: &[u8]| FolderWriter::new(&tiny_config("llama")).file("model.safetensors", bytes);
    let words = ["model.safetensors", "download the file again"];
    for len in [0, 7, 8, 100, good.len() - 1] {
        refused(&folder(&good[..len]), &words);
    }
    let mut longer = good.clone();
    longer.push(0);
    refused(&folder(&longer), &words);
    let mut huge = good.clone();
    huge[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    refused(&folder(&huge), &["at most 524288 are accepted"]);
    let text = String::from_utf8_lossy(&good).into_owned();
    assert!(text.contains("[8,8]"));
    let at = text.find("\"shape\":[8,8]").unwrap();
    let mut wrong_shape = good.clone();
    wrong_shape[at + 9] = b'9';
    refused(&folder(&wrong_shape), &words);
}

#[test]
fn variants_without_a_forward_are_refused() {
    let with = |field: &str, value: Value| {
        let mut config = tiny_config("llama");
        config[field] = value;
        FolderWriter::new(&config).shard("model.safetensors", &tiny_tensors("llama"))
    };
    refused(&with("model_type", json!("gemma3")), &["`gemma3`", "llama and qwen3", "config.json"]);
    refused(&with("model_type", Value::Null), &["model_type", "missing"]);
    refused(&with("attention_bias", json!(true)), &["attention_bias"]);
    refused(&with("hidden_act", json!("gelu")), &["gelu", "silu"]);
    refused(&with("quantization_config", json!({})), &["quantization_config", "GGUF"]);
    refused(&with("use_sliding_window", json!(true)), &["use_sliding_window"]);
    refused(
        &with("rope_scaling", json!({"rope_type": "yarn", "factor": 4})),
        &["`yarn`", "llama3"],
    );
    refused(&with("partial_rotary_factor", json!(0.5)), &["partial_rotary_factor"]);
    refused(&with("rope_scaling", json!({"rope_type": "linear"})), &["factor"]);
    refused(&with("vocab_size", json!(-1)), &["vocab_size", "-1"]);
    refused(&with("num_key_value_heads", json!("two")), &["num_key_value_heads"]);
    refused(&with("tie_word_embeddings", json!(false)), &["lm_head.weight", "missing"]);
    refused(&with("hidden_size", json!(16)), &["(6, 8)", "(6, 16)"]);
}

#[test]
fn rotary_settings_are_read_in_both_spellings() {
    let scaling = json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    });
    let expected = RopeScaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 8192.0 };
    let mut old = tiny_config("llama");
    old["rope_scaling"] = scaling.clone();
    old["rope_theta"] = json!(500_000.0);
    let mut new = tiny_config("llama");
    new.as_object_mut().unwrap().shift_remove("rope_theta");
    new["rope_parameters"] = scaling;
    new["rope_parameters"]["rope_theta"] = json!(500_000.0);
    for config in [old, new] {
        let folder = FolderWriter::new(&config).shard("model.safetensors", &tiny_tensors("llama"));
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.config().rope_scaling, expected);
        assert_eq!(checkpoint.config().rope_base, 500_000.0);
    }
}
