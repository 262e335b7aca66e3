//! Kernels in WGSL: every operation of the port on whatever Vulkan, Metal or DirectX 12 reach.
//!
//! [`WgpuKernels`] is an open device. Operations are recorded and handed over in few submissions;
//! only what the port reads comes back. One `.wgsl` file per operation, complete and valid on its
//! own, says what it computes and how it is launched. On either kind of device an output row's bits
//! depend on that row's own inputs alone: sums have one fixed shape, whatever the driver's
//! subgroups are.
//!
//! This crate knows no request, no policy, no file and no model, and reads no environment.
//!
//! Reading order: `adapter` (which device), `gpu` (opening it), `fault` (what it may say),
//! `pipelines` (the sources), `stream` (recording and submitting), `memory` with `packed` and
//! `staged` (what lies where), `device` and `ops` (the ports), `answers`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod adapter;
mod answers;
mod device;
mod fault;
mod gpu;
mod memory;
mod ops;
mod packed;
mod pipelines;
mod staged;
mod stream;

pub use adapter::{Choice, Found, adapters};
pub use device::{WgpuKernels, WgpuOptions};
pub use pipelines::sources;
