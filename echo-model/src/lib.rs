//! Model files, tokenizers, chat templates, targets and drafters

pub mod sim;
