//! What comes from files: readers, checkpoints, tokenizers and templates.

mod default_model;
mod support;
mod tokenizer;
