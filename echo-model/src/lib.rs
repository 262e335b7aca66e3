//! Model files, tokenizers, chat templates, targets and drafters
