//! Fuzz targets for everything that reads bytes from outside: a panic, a hang or too much memory
//! is a bug, whatever the bytes.
//!
//! `cargo xtask fuzz TARGET` runs one; the seeds, and every input that once broke something, are
//! replayed by ordinary tests of `echo-model` and `echo-serve`, which share these files.

pub mod chat_template;
#[path = "../../echo-model/tests/mutations/counting.rs"]
mod counting;
pub mod gguf;
pub mod request_body;
pub mod safetensors;
pub mod tokenizer_json;
