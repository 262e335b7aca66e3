//! Whatever a file says: no panic, and at most four times its size plus 16 MiB of heap.
//!
//! Random mutations of small valid files are opened under an allocator that counts.

mod corpus;
mod counting;
#[path = "../files/folder_writer.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod folder_writer;
#[path = "../files/gguf_writer.rs"]
#[expect(dead_code, reason = "the other test binary uses the rest")]
mod gguf_writer;
mod mutate;

use echo_model::gguf::{Gguf, Value};
use echo_model::{ChatTemplate, Checkpoint, Message, RenderOptions, Specials, Tokenizer};

use counting::peak;
use folder_writer::{FolderWriter, shard, tiny_config, tiny_tensors};
use mutate::{Random, mutate};

fn bound(len: usize) -> isize {
    (4 * len + (16 << 20)) as isize
}

#[test]
fn mutated_files_neither_panic_nor_allocate_much() {
    let file = gguf_writer::tiny_llama().bytes();
    let mut random = Random(0x0ec0);
    let (mut accepted, mut refused, mut most) = (0, 0, 0);
    for round in 0..100_000 {
        let bytes = mutate(&file, &mut random);
        let len = bytes.len();
        let (held, opened) = peak(|| {
            let opened = Gguf::from_bytes(bytes);
            // What was accepted can be read to the end.
            if let Ok(gguf) = &opened {
                let tensors: usize = gguf.tensors().map(|t| t.name.len() + t.bytes.len()).sum();
                let strings = gguf.metadata().filter_map(|(_, value)| match value {
                    Value::Array(array) => Some(array),
                    _ => None,
                });
                let strings: usize = strings
                    .filter_map(|a| Some(a.strings()?.map(<[u8]>::len).sum::<usize>()))
                    .sum();
                assert!(tensors + strings <= 4 * len);
            }
            opened.is_ok()
        });
        assert!(held <= bound(len), "round {round}: {held} bytes for a file of {len}");
        most = most.max(held);
        *(if opened { &mut accepted } else { &mut refused }) += 1;
    }
    eprintln!("{accepted} accepted, {refused} refused, at most {most} bytes held");
    // Mutations reach both outcomes, or they test nothing.
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

/// Opens a model with all that belongs to it, and uses each part. Whether it could be opened.
fn use_all(path: &std::path::Path) -> bool {
    let options = RenderOptions { add_generation_prompt: true, now_s: 0 };
    let Ok(checkpoint) = Checkpoint::open(path) else { return false };
    let Ok(tokenizer) = Tokenizer::open(&checkpoint) else { return false };
    let _ = tokenizer.encode("abba <end> 日", Specials::Parse);
    let Ok(template) = ChatTemplate::open(&checkpoint, &tokenizer) else { return false };
    let _ = template.encode(&tokenizer, &[Message::new("user", "ab")], &options);
    true
}

#[test]
fn a_mutated_gguf_model_is_refused_or_works() {
    let file = gguf_writer::tiny_llama().bytes();
    let mut random = Random(0x6767);
    let temp = tempfile::NamedTempFile::new().unwrap();
    let opened = (0..1_500).filter(|round| {
        let bytes = mutate(&file, &mut random);
        std::fs::write(temp.path(), &bytes).unwrap();
        let (held, opened) = peak(|| use_all(temp.path()));
        assert!(held <= bound(bytes.len()), "round {round}: {held} bytes");
        opened
    });
    let opened = opened.count();
    assert!((50..1_450).contains(&opened), "{opened} opened");
}

#[test]
fn a_mutated_folder_is_refused_or_works() {
    let config = tiny_config("qwen3").to_string().into_bytes();
    let weights = shard(&tiny_tensors("qwen3"));
    let index: Vec<String> =
        tiny_tensors("qwen3").keys().map(|name| format!("\"{name}\":\"a.safetensors\"")).collect();
    let index = format!("{{\"weight_map\":{{{}}}}}", index.join(",")).into_bytes();
    let folder = FolderWriter::new(&tiny_config("qwen3"));
    let mut random = Random(0xf01d);
    let mut opened = 0;
    let files = [
        ("config.json", config),
        ("a.safetensors", weights),
        ("model.safetensors.index.json", index),
    ];
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    for (name, bytes) in &files {
        write(name, bytes);
    }
    let len: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    for round in 0..1_500 {
        let (name, whole) = &files[round % 3];
        let mutated = mutate(whole, &mut random);
        write(name, &mutated);
        let (held, is_open) = peak(|| Checkpoint::open(folder.path()).is_ok());
        write(name, whole);
        assert!(held <= bound(len - whole.len() + mutated.len()), "round {round}: {held} bytes");
        opened += usize::from(is_open);
    }
    assert!((15..1_450).contains(&opened), "{opened} opened");
}

/// The dearest headers safetensors allows: one long shape, or as many tensors as fit.
#[test]
fn the_dearest_safetensors_stay_within_the_bound() {
    let folder = FolderWriter::new(&tiny_config("llama"));
    let ones = vec!["1"; 262_000].join(",");
    let shape =
        format!("{{\"t\":{{\"dtype\":\"F16\",\"shape\":[{ones}],\"data_offsets\":[0,2]}}}}");
    let many = (0..9_000)
        .map(|i| format!("\"{i:x}\":{{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}}"));
    let many = format!("{{{}}}", many.collect::<Vec<_>>().join(","));
    for (kind, header, data) in [("shape", shape, 2), ("tensors", many, 0)] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        assert!(header.len() <= 512 << 10, "{kind}: the header is read at all");
        std::fs::write(folder.path().join("model.safetensors"), &bytes).unwrap();
        let (held, opened) = peak(|| Checkpoint::open(folder.path()).map(|_| ()));
        let error = opened.unwrap_err().to_string();
        assert!(error.contains("model.embed_tokens.weight"), "{kind}: {error}");
        eprintln!("{kind}: {held} bytes for a file of {}", bytes.len());
        assert!(held <= bound(bytes.len()), "{kind}: {held} bytes for {}", bytes.len());
    }
}

/// Files made to cost as much as they can: as many of the smallest entries as the format allows.
#[test]
fn the_dearest_files_stay_within_the_bound() {
    use gguf_writer::{GgufWriter, array, flag};
    let with_keys =
        |n: usize| (0..n).fold(GgufWriter::new(), |file, i| file.key(format!("{i:x}"), flag(0)));
    let with_tensors = |n: usize| {
        (0..n).fold(GgufWriter::new(), |file, i| file.raw(&format!("{i:x}"), &[1], 1, vec![0; 2]))
    };
    let empty_strings = vec![0; 8 << 20];
    let files = [
        ("keys", with_keys(65_536)),
        ("tensors", with_tensors(65_536)),
        ("strings", GgufWriter::new().key("k", array(8, 1 << 20, &empty_strings))),
    ];
    for (kind, file) in files {
        let bytes = file.bytes();
        let len = bytes.len();
        let (held, opened) = peak(|| Gguf::from_bytes(bytes).is_ok());
        eprintln!("{kind}: {held} bytes for a file of {len}");
        assert!(opened, "{kind}");
        assert!(held <= bound(len), "{kind}: {held} bytes for a file of {len}");
    }
    // The counter counts: a reader that trusts a declared number would be seen.
    let trusting = |declared: usize| peak(|| Vec::<u64>::with_capacity(declared).capacity()).0;
    assert!(trusting(1 << 22) > bound(64));
}
