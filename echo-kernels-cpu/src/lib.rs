//! Kernels on the CPU: the slow reference of each operation, fast forms of them, and the
//! conformance suite that every backend runs.
//!
//! [`CpuKernels`] is a device whose memory is the host's, in large pages where the system has them.
//! It runs either the references, which define what an operation means, or the fast forms, which
//! are held to them by [`conformance`]. On either path an output row's bits depend on that row's
//! own inputs alone: not on the number of rows, their order, the slots, the trees or the number of
//! threads.
//!
//! This crate knows no request, no policy, no file and no model.
//!
//! Reading order: [`mod@reference`] (one file per operation, its header the specification), `cpu`
//! and `ops` (the ports), `memory`, `kv`, `staged`, `line`, `pages`, `pool`, `linear` (the fast
//! linear layer), `fast` (the other fast forms), [`conformance`].
#![deny(missing_docs)]

mod area;
pub mod conformance;
mod cpu;
mod fast;
mod kv;
mod line;
pub mod linear;
mod memory;
mod ops;
mod pages;
pub mod pool;
pub mod reference;
mod staged;

pub use area::Area;
pub use cpu::{CpuKernels, CpuOptions, Path};
pub use linear::{Activations, Isa};
