//! A folder of safetensors: the index of its shards, or the header of one of them.

use crate::counting::peak;
use echo_model::Checkpoint;
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds");

/// Opens a folder in which `input` stands for the index, if it begins like JSON, or else for the
/// one file of tensors, within `4 n + 16 MiB` of heap.
pub fn read(input: &[u8]) {
    static INDEXED: LazyLock<TempDir> = LazyLock::new(|| folder(Some("a.safetensors")));
    static WHOLE: LazyLock<TempDir> = LazyLock::new(|| folder(None));
    let (folder, name) = match input.first() {
        Some(b'{') => (INDEXED.path(), "model.safetensors.index.json"),
        _ => (WHOLE.path(), "model.safetensors"),
    };
    std::fs::write(folder.join(name), input).expect("the folder can be written");
    let (held, _) = peak(|| Checkpoint::open(folder).is_ok());
    assert!(held <= (4 * (input.len() + 8192) + (16 << 20)) as isize, "{held} bytes of heap");
}

/// A small model's folder, with its tensors in `file`.
fn folder(file: Option<&str>) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let seeds = Path::new(SEEDS);
    let copy = |from: &str, to: &str| {
        std::fs::copy(seeds.join(from), folder.path().join(to)).expect("the seeds are there");
    };
    copy("config.json", "config.json");
    if let Some(file) = file {
        copy("safetensors/whole", file);
    }
    folder
}
