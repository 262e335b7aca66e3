//! linear — `out = x Wᵀ` with weights packed at load, row-pure, as fast as the processor allows.
//!
//! One row is bound by reading the weights, so they stay quantised in memory. Many rows are bound
//! by arithmetic, so a block of weights is unpacked once and used for up to 16 rows of activations.
//! The bits of an output never depend on that: see `kernel.rs` for the one order of operations.
//!
//! Reading order: `isa`, `format` (how a packed weight lies in memory), `pack`, `quantize`,
//! `kernel` (the contract of a kernel), `portable`, the files of each instruction set, `weight`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_float;
#[cfg(target_arch = "x86_64")]
mod avx2_quantize;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_float;
mod format;
mod isa;
mod kernel;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_float;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon_widen;
mod out;
mod pack;
mod portable;
mod quantize;
mod stream;
mod weight;

pub use isa::Isa;
pub use quantize::Scratch;
pub use weight::{Activations, PackedWeight};
