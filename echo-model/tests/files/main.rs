//! What comes from files: readers, checkpoints, tokenizers and templates.

mod checkpoint;
mod default_model;
mod folder;
mod folder_writer;
mod gguf_malformed;
mod gguf_reading;
mod gguf_writer;
mod support;
mod template;
mod tokenizer;
mod tokenizer_files;
