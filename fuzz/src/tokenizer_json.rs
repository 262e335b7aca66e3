//! A `tokenizer.json`.

use crate::counting::peak;
use echo_core::Vocab;
use echo_model::{Checkpoint, Specials, Tokenizer};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds");

const TEXTS: [&str; 5] = ["", "abba ab", "b<end>a <user>", "日 \u{301}\n\t 1234 don't", "aaaaaaaa"];

/// Opens `input` as a model's tokenizer and encodes a few texts, within `64 n + 16 MiB` of heap: a
/// tree of JSON takes more room than its text.
pub fn read(input: &[u8]) {
    static MODEL: LazyLock<(TempDir, Checkpoint)> = LazyLock::new(model);
    let (folder, checkpoint) = &*MODEL;
    std::fs::write(folder.path().join("tokenizer.json"), input).expect("it can be written");
    let (held, ()) = peak(|| {
        let Ok(tokenizer) = Tokenizer::open(checkpoint) else { return };
        for text in TEXTS {
            for specials in [Specials::Plain, Specials::Parse] {
                let tokens = tokenizer.encode(text, specials).unwrap_or_default();
                let bytes = tokens.iter().map(|&token| tokenizer.bytes(token).len());
                assert!(bytes.sum::<usize>() <= (text.len() + 1) * tokenizer.len() * 64);
            }
        }
    });
    assert!(held <= (64 * input.len() + (16 << 20)) as isize, "{held} bytes of heap");
}

fn model() -> (TempDir, Checkpoint) {
    let folder = TempDir::new().expect("a temporary folder");
    let seeds = Path::new(SEEDS);
    let files = [("config.json", "config.json"), ("safetensors/whole", "model.safetensors")];
    for (from, to) in files {
        std::fs::copy(seeds.join(from), folder.path().join(to)).expect("the seeds are there");
    }
    let checkpoint = Checkpoint::open(folder.path()).expect("the seeds are a model");
    (folder, checkpoint)
}
