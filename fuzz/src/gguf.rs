//! A GGUF file: its reader, and the model, tokenizer and template in it.

use crate::counting::peak;
use echo_model::gguf::{Gguf, Value};
use echo_model::{ChatTemplate, Checkpoint, Message, RenderOptions, Specials, Tokenizer};
use std::io::Write;

/// Opens `input` as a GGUF file and uses all that is in it, within `4 n + 16 MiB` of heap.
pub fn read(input: &[u8]) {
    let (held, is_sound) = peak(|| parse(input));
    assert!(held <= (4 * input.len() + (16 << 20)) as isize, "{held} bytes of heap");
    if is_sound {
        open(input);
    }
}

/// Whether the reader takes it. What it takes can be read to the end.
fn parse(input: &[u8]) -> bool {
    let Ok(gguf) = Gguf::from_bytes(input.to_vec()) else { return false };
    let tensors: usize = gguf.tensors().map(|tensor| tensor.name.len() + tensor.bytes.len()).sum();
    let strings = gguf.metadata().filter_map(|(_, value)| match value {
        Value::Array(array) => Some(array.strings()?.map(<[u8]>::len).sum::<usize>()),
        _ => None,
    });
    assert!(tensors + strings.sum::<usize>() <= 4 * input.len());
    true
}

fn open(input: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(input).expect("it can be written");
    let Ok(checkpoint) = Checkpoint::open(file.path()) else { return };
    let Ok(tokenizer) = Tokenizer::open(&checkpoint) else { return };
    let _ = tokenizer.encode("abba <end> 日", Specials::Parse);
    let Ok(template) = ChatTemplate::open(&checkpoint, &tokenizer) else { return };
    let options = RenderOptions { add_generation_prompt: true, now_s: 0 };
    let _ = template.encode(&tokenizer, &[Message::new("user", "ab")], &options);
}
