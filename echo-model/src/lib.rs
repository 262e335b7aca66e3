//! Models: what their files say, how text becomes tokens and back, and who computes with them.
//!
//! From files: a [`Checkpoint`] is a GGUF file or a folder of safetensors, opened and checked
//! against its [`ModelConfig`]; it hands out tensors by [`Role`]. Its
//! [`Tokenizer`] turns text into tokens and tokens into bytes, and its
//! [`ChatTemplate`] messages into a prompt.
//!
//! This crate knows no request, no policy, no HTTP and reads no environment variable. It reaches
//! kernels through the `Kernels` port alone. Every input that comes from a file is hostile until it
//! has been checked: malformed ones are [`ModelError`]s that name the file, the thing and the
//! remedy.
#![deny(unsafe_code)]

mod byte_alphabet;
pub mod calibrated;
pub mod checkpoint;
pub mod config;
pub mod eagle;
pub mod error;
pub mod folder;
pub mod gguf;
pub mod hybrid;
pub mod inspect;
pub mod llama;
mod mapping;
pub mod ngram;
pub mod role;
mod room;
pub mod rope;
mod rows;
pub mod sim;
pub mod template;
pub mod tensor;
pub mod testkit;
pub mod tokenizer;
pub mod weights;

pub use checkpoint::Checkpoint;
pub use config::{Family, ModelConfig, RopeScaling};
pub use error::ModelError;
pub use inspect::{Description, describe};
pub use llama::{LlamaTarget, LoadError, LoadProgress, Taps};
pub use ngram::{NgramDrafter, NgramOptions};
pub use role::Role;
pub use rope::rope_table;
pub use template::{ChatError, ChatTemplate, Message, RenderOptions};
pub use tensor::Tensor;
pub use tokenizer::{EncodeError, Specials, Tokenizer};
pub use weights::Weights;
