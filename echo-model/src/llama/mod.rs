//! The forward of Llama- and Qwen3-family models, written once over the [`Kernels`] port.
//!
//! ```text
//! embed → per layer: norm → q k v → [norm of q and k heads] → rotate, store → attend → o → add
//!                    norm → gate, up → silu · → down → add
//!       → sampled rows → norm → head → sample
//! ```
//!
//! [`LlamaTarget`] owns the weights and the KV slots on the device and buffers for the largest
//! forward; a forward allocates nothing. Row purity is the kernels' promise, and nothing here
//! depends on the number of rows.
//!
//! [`Kernels`]: echo_core::Kernels

mod buffers;
mod layer;
mod load;
mod taps;
mod target;

pub use load::{LoadError, LoadProgress};
pub use taps::Taps;
pub use target::LlamaTarget;
