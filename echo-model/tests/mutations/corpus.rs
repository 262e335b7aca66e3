//! The seeds of the fuzz targets, and every input that once broke something, by ordinary means.
#![allow(unreachable_pub, reason = "the files are those of the fuzz targets, where it is reached")]

#[path = "../../../fuzz/src/chat_template.rs"]
mod chat_template;
#[path = "../../../fuzz/src/gguf.rs"]
mod gguf;
#[path = "../../../fuzz/src/safetensors.rs"]
mod safetensors;
#[path = "../../../fuzz/src/tokenizer_json.rs"]
mod tokenizer_json;

use crate::mutate::{Random, mutate};

/// Reads each seed of `target` as it is, and mutated in many ways.
fn replay(target: &str, read: fn(&[u8])) {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut random = Random(0xf022);
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .expect("the seeds are there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    names.sort();
    assert!(names.len() > 1, "{target}: {names:?}");
    for name in names {
        eprintln!("{}", name.display());
        let seed = std::fs::read(name).expect("a readable seed");
        read(&seed);
        for _ in 0..100 {
            read(&mutate(&seed, &mut random));
        }
    }
}

#[test]
fn seeds_of_gguf() {
    replay("gguf", gguf::read);
}

#[test]
fn seeds_of_safetensors() {
    replay("safetensors", safetensors::read);
}

#[test]
fn seeds_of_tokenizers() {
    replay("tokenizer_json", tokenizer_json::read);
}

#[test]
fn seeds_of_chat_templates() {
    replay("chat_template", chat_template::read);
}
