//! Models: what their files say, how text becomes tokens and back, and who computes with them.
//!
//! From files: a [`Checkpoint`] is a GGUF file or a folder of safetensors, opened and checked
//! against its [`ModelConfig`]; it hands out tensors by [`Role`].
//!
//! This crate knows no request, no policy, no HTTP and reads no environment variable. It reaches
//! kernels through the `Kernels` port alone. Every input that comes from a file is hostile until it
//! has been checked: malformed ones are [`ModelError`]s that name the file, the thing and the
//! remedy.
#![deny(unsafe_code)]

pub mod checkpoint;
pub mod config;
pub mod error;
pub mod gguf;
mod mapping;
pub mod ngram;
pub mod role;
pub mod rope;
pub mod sim;
pub mod tensor;

pub use checkpoint::Checkpoint;
pub use config::{Family, ModelConfig, RopeScaling};
pub use error::ModelError;
pub use role::Role;
pub use rope::rope_table;
pub use tensor::Tensor;
