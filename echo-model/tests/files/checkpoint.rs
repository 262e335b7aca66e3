//! One model in two formats is one model, and files that do not fit together are refused.

use std::path::Path;

use echo_core::DType;
use echo_model::{Checkpoint, Family, Role, RopeScaling};
use tempfile::NamedTempFile;

use crate::folder_writer::{FolderWriter, tiny_config, tiny_tensors};
use crate::gguf_writer::{GgufWriter, f32, string, strings, tiny_llama, u32};

pub(crate) fn written(file: &GgufWriter) -> NamedTempFile {
    let temp = NamedTempFile::new().expect("a temporary file");
    std::fs::write(temp.path(), file.bytes()).expect("it can be written");
    temp
}

fn floats(checkpoint: &Checkpoint, role: Role) -> Vec<f32> {
    checkpoint.tensor(role).unwrap().to_f32().unwrap()
}

/// What GGUF's converter does to q and k of a Llama: `[heads, 2, dim / 2]` → `[heads, dim / 2, 2]`.
fn interleave(values: &[f32], n_heads: usize, dim: usize) -> Vec<f32> {
    let cols = values.len() / (n_heads * dim);
    let mut out = vec![0.0; values.len()];
    for head in 0..n_heads {
        for row in 0..dim {
            let (j, i) = (row / (dim / 2), row % (dim / 2));
            let to = head * dim + 2 * i + j;
            out[to * cols..(to + 1) * cols]
                .copy_from_slice(&values[(head * dim + row) * cols..][..cols]);
        }
    }
    out
}

#[test]
fn both_formats_give_the_same_tensors() {
    let folder =
        FolderWriter::new(&tiny_config("llama")).shard("model.safetensors", &tiny_tensors("llama"));
    let folder = Checkpoint::open(folder.path()).unwrap();
    let file = |q: &[f32], k: &[f32]| {
        let mut file = tiny_llama();
        file.tensors
            .retain(|t| t.name != b"blk.0.attn_q.weight" && t.name != b"blk.0.attn_k.weight");
        let file = file.floats("blk.0.attn_q.weight", &[8, 8], q);
        written(&file.floats("blk.0.attn_k.weight", &[8, 4], k))
    };
    let (q, k) = (floats(&folder, Role::Q(0)), floats(&folder, Role::K(0)));
    let gguf = file(&interleave(&q, 2, 4), &interleave(&k, 1, 4));
    let gguf = Checkpoint::open(gguf.path()).unwrap();

    assert_eq!(gguf.config(), folder.config());
    for role in Role::all(gguf.config()) {
        assert_eq!(floats(&gguf, role), floats(&folder, role), "{role:?}");
    }
    assert_eq!(floats(&gguf, Role::Output), floats(&gguf, Role::Embedding));
    // A converter that left the rows alone would be seen.
    let plain = file(&q, &k);
    assert_ne!(floats(&Checkpoint::open(plain.path()).unwrap(), Role::Q(0)), q);
}

#[test]
fn qwen3_has_head_norms_and_rows_as_they_are() {
    let folder =
        FolderWriter::new(&tiny_config("qwen3")).shard("model.safetensors", &tiny_tensors("qwen3"));
    let folder = Checkpoint::open(folder.path()).unwrap();
    assert_eq!((folder.config().family, folder.config().qk_norm), (Family::Qwen3, true));
    assert_eq!(folder.vector(Role::QNorm(0)).unwrap(), [0.0, 1.0, 2.0, 3.0]);

    let mut file = tiny_llama();
    for (key, value) in &mut file.keys {
        if let Some(rest) = key.clone().strip_prefix(b"llama.") {
            *key = [b"qwen3.", rest].concat();
        } else if key == b"general.architecture" {
            *value = string(b"qwen3");
        }
    }
    let file = file
        .key("qwen3.attention.key_length", u32(4))
        .floats("blk.0.attn_q_norm.weight", &[4], &[0.0, 1.0, 2.0, 3.0])
        .floats("blk.0.attn_k_norm.weight", &[4], &[0.0, 1.0, 2.0, 3.0]);
    let file = written(&file);
    let gguf = Checkpoint::open(file.path()).unwrap();
    for role in Role::all(gguf.config()) {
        assert_eq!(floats(&gguf, role), floats(&folder, role), "{role:?}");
    }
}

fn refused(file: &GgufWriter, words: &[&str]) {
    let temp = written(file);
    let error = Checkpoint::open(temp.path()).unwrap_err().to_string();
    let name = temp.path().file_name().unwrap().to_str().unwrap();
    for word in words.iter().chain([&name]) {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

#[test]
fn configurations_that_make_no_sense_are_refused() {
    let file = tiny_llama;
    refused(&file().without("general.architecture"), &["general.architecture", "missing"]);
    refused(&file().set("general.architecture", string(b"bert")), &["`bert`", "llama and qwen3"]);
    refused(&file().set("general.architecture", u32(1)), &["an integer, not a string"]);
    refused(&file().without("llama.block_count"), &["llama.block_count", "missing"]);
    refused(&file().set("llama.block_count", u32(0)), &["number of layers", "is 0"]);
    refused(&file().set("llama.block_count", u32(1000)), &["blk.999.attn_norm.weight", "missing"]);
    refused(&file().set("llama.block_count", u32(u32::MAX)), &["number of layers"]);
    refused(&file().set("llama.attention.head_count_kv", u32(0)), &["key-value heads"]);
    refused(&file().set("llama.attention.head_count", u32(0)), &["key_length"]);
    refused(&file().set("llama.vocab_size", u32(7)), &["lists 6 tokens"]);
    refused(&file().set("llama.rope.dimension_count", u32(2)), &["rope.dimension_count", "4"]);
    refused(&file().set("llama.rope.scaling.type", string(b"yarn")), &["`yarn`", "linear"]);
    refused(&file().set("split.count", u32(2)), &["split.count", "llama-gguf-split --merge"]);
    refused(&file().set("llama.rope.freq_base", f32(f32::NAN)), &["rotary base"]);
    refused(&file().set("llama.expert_count", u32(8)), &["llama.expert_count", "not supported"]);
    refused(&file().set("llama.attention.sliding_window", u32(32)), &["sliding_window"]);
    refused(&file().set("llama.logit_scale", f32(0.5)), &["logit_scale"]);
    refused(&file().without("llama.attention.layer_norm_rms_epsilon"), &["rms_epsilon"]);
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let drop = |name: &str| {
        let mut file = tiny_llama();
        file.tensors.retain(|t| t.name != name.as_bytes());
        file
    };
    refused(&drop("blk.0.ffn_up.weight"), &["`blk.0.ffn_up.weight` is missing"]);
    let wrong = drop("blk.0.attn_k.weight").floats("blk.0.attn_k.weight", &[8, 8], &[0.0; 64]);
    refused(&wrong, &["`blk.0.attn_k.weight` is (8, 8)", "(4, 8)"]);
    let turned =
        drop("blk.0.ffn_down.weight").floats("blk.0.ffn_down.weight", &[8, 12], &[0.0; 96]);
    refused(&turned, &["`blk.0.ffn_down.weight` is (12, 8)", "(8, 12)"]);
    let bias = tiny_llama().floats("blk.0.attn_q.bias", &[8], &[0.0; 8]);
    refused(&bias, &["`blk.0.attn_q.bias`", "no place"]);
    let fewer = tiny_llama().set("tokenizer.ggml.tokens", strings(&["a", "b"]));
    refused(&fewer, &["`token_embd.weight` is (6, 8)", "(2, 8)"]);
}

#[test]
fn a_factor_without_a_type_stretches_positions() {
    for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
        let scaling = |factor: f32| {
            let file = written(&tiny_llama().set(key, f32(factor)));
            Checkpoint::open(file.path()).unwrap().config().rope_scaling.clone()
        };
        assert_eq!(scaling(8.0), RopeScaling::Linear { factor: 8.0 }, "{key}");
        assert_eq!((scaling(0.0), scaling(1.0)), (RopeScaling::None, RopeScaling::None), "{key}");
    }
}

#[test]
fn rope_divisors_come_from_the_file() {
    let file = written(&tiny_llama().floats("rope_freqs.weight", &[2], &[1.0, 8.0]));
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    let divisors = vec![1.0, 8.0];
    assert_eq!(checkpoint.config().rope_scaling, RopeScaling::Divisors { divisors });
    refused(&tiny_llama().floats("rope_freqs.weight", &[3], &[1.0; 3]), &["2 positive divisors"]);
}

#[test]
fn an_untied_head_is_its_own() {
    let head: Vec<f32> = (0..48).map(|i| -(i as f32)).collect();
    let file = written(&tiny_llama().floats("output.weight", &[8, 6], &head));
    let checkpoint = Checkpoint::open(file.path()).unwrap();
    assert!(!checkpoint.config().tied);
    assert_eq!(floats(&checkpoint, Role::Output), head);
    assert_eq!(checkpoint.tensor(Role::Output).unwrap().dtype, DType::F32);
}

#[test]
fn what_is_no_model_says_so() {
    let nowhere = Checkpoint::open(Path::new("no/such/file.gguf")).unwrap_err().to_string();
    assert!(
        nowhere.contains("no/such/file.gguf") && nowhere.contains("check the path"),
        "{nowhere}"
    );
    let empty = tempfile::tempdir().unwrap();
    let empty = Checkpoint::open(empty.path()).unwrap_err().to_string();
    assert!(empty.contains("no config.json"), "{empty}");
}
