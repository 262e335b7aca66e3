//! Writes the seeds: small inputs of every kind, made by the writers of the tests.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`

#[path = "../echo-model/tests/files/folder_writer.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod folder_writer;
#[path = "../echo-model/tests/files/gguf_writer.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod gguf_writer;

use folder_writer::{shard, tiny_config, tiny_tensors};
use gguf_writer::{GgufWriter, array, f32, flag, ints, string, strings, tiny_llama, u32};
use serde_json::{Value, json};
use std::path::Path;

fn main() {
    let write = |name: &str, bytes: &[u8]| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        std::fs::write(path, bytes).expect("a writable folder");
    };
    write("config.json", tiny_config("llama").to_string().as_bytes());
    gguf(&write);
    safetensors(&write);
    for (name, json) in tokenizers() {
        write(&format!("tokenizer_json/{name}"), json.to_string().as_bytes());
    }
    for (name, template) in TEMPLATES {
        write(&format!("chat_template/{name}"), template.as_bytes());
    }
    for (name, body) in BODIES {
        write(&format!("request_body/{name}"), body.as_bytes());
    }
}

fn gguf(write: &impl Fn(&str, &[u8])) {
    let values = GgufWriter::new()
        .key("a", u32(7))
        .key("b", f32(0.5))
        .key("c", string("é".as_bytes()))
        .key("d", flag(1))
        .key("e", strings(&["x", "", "yz"]))
        .key("f", ints(&[-1, 2]))
        .key("g", array(10, 1, &u64::MAX.to_le_bytes()))
        .raw("two", &[32], 8, (0..34).collect());
    write("gguf/llama", &tiny_llama().bytes());
    write("gguf/values", &values.bytes());
    write("gguf/old", &values.with(|file| file.version = 2).bytes());
    write("gguf/empty", &GgufWriter::new().bytes());
}

fn safetensors(write: &impl Fn(&str, &[u8])) {
    let tensors = tiny_tensors("llama");
    let map: serde_json::Map<String, Value> =
        tensors.keys().map(|name| (name.clone(), json!("a.safetensors"))).collect();
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    write("safetensors/index", index.to_string().as_bytes());
    write("safetensors/whole", &shard(&tensors));
}

fn tokenizers() -> [(&'static str, Value); 2] {
    let added = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": special})
    };
    let plain = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<end>", true), added(4, "<user>", false)],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
            "byte_fallback": false,
            "vocab": {"<end>": 0, "a": 1, "b": 2, "ab": 3, "<user>": 4, "Ġ": 5},
            "merges": ["a b"]},
    });
    let mut split = plain.clone();
    split["normalizer"] = json!({"type": "NFC"});
    split["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},
         "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
    ]});
    split["model"]["merges"] = json!([["a", "b"]]);
    split["model"]["ignore_merges"] = json!(true);
    [("plain", plain), ("split", split)]
}

const TEMPLATES: [(&str, &str); 4] = [
    (
        "chatml",
        "{%- for message in messages %}{%- if message.role not in ['system', 'user', 'assistant'] \
         %}{{- raise_exception('unknown role: ' ~ message.role) }}{%- endif %}\n{{ '<s>' + \
         message['role'] + '\\n' + message['content'].strip() + '</s>\\n' }}{%- endfor %}{% if \
         add_generation_prompt %}{{ '<s>assistant\\n' -}}{% endif %}",
    ),
    ("dates", "{{ strftime_now('%d %b %Y %%') }}{{ [1, {'a': 2}] | tojson(indent=2) }}"),
    (
        "loops",
        "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i == 4 %}{% break %}{% endif \
         %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{% macro m(x) %}{{ x|upper }}{% endmacro \
         %}{{ m('a') * 3 }}",
    ),
    (
        "methods",
        "{{ 'a-b'.split('-')[-1] }}{{ messages[::-1][0].content is string }}{{ \
         messages|length }}{{ {'a': 1}.items()|list }}",
    ),
];

const BODIES: [(&str, &str); 4] = [
    (
        "chat",
        r#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"user","content":
[{"type":"text","text":"x"}]}],"max_tokens":5,"temperature":0.7,"top_p":0.9,"stop":["a","b"],
"stream":true,"stream_options":{"include_usage":true},"logprobs":true,"top_logprobs":2,"n":2}"#,
    ),
    (
        "completion",
        r#"{"prompt":["ab","c"],"seed":-1,"logit_bias":{"65":-100,"66":5.5},"logprobs":2,
"stop":"x","min_tokens":1,"top_k":-1,"min_p":0.1,"repetition_penalty":1.1,"echo":false}"#,
    ),
    ("tokens", r#"{"prompt":[1,2,3],"stop_token_ids":[4],"ignore_eos":true,"speculative":false}"#),
    ("lists", r#"{"prompt":[[1],[2,3]],"response_format":{"type":"text"},"priority":0,"n":1}"#),
];
