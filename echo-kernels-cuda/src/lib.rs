//! Kernels in CUDA C++, compiled at run time for the device at hand.
//!
//! One source per operation of the port lies in `cu/`, complete and free of toolkit headers; its
//! head says how it is launched and why, and in which order it sums. [`CudaKernels`] checks
//! operands, chooses launches and enqueues them on a [`Driver`]. [`Cuda`] is the real one: NVIDIA's
//! driver and run-time compiler, both loaded when asked for, so this crate builds and is tested
//! where neither is installed. The tests bring a driver in software that runs the same sources.
//!
//! Row purity is by design: no choice on the host changes the order of a sum. The number of slices
//! of a linear layer is a function of the weight's shape, tiles and splits of attention are cut at
//! absolute positions, and how many rows share a block changes nothing.
//!
//! This crate knows no request, no policy, no model and no environment variable. Not there yet:
//! captured graphs, several streams, several devices.
//!
//! Reading order: `cu/echo_cuda.h`, `cu/add.cu`, [`source`], [`driver`], `kernels` and `ops` (the
//! ports), `weight` with `cu/weight.h`, `linear` and `attention` (how work is divided), then
//! `cuda`, `images`, [`compile`](mod@compile), [`cache`].
#![deny(missing_docs)]

mod attention;
pub mod cache;
pub mod compile;
mod cuda;
pub mod driver;
mod fault;
mod images;
mod kernels;
mod linear;
mod memory;
mod ops;
mod sampling;
pub mod source;
mod staged;
mod weight;

pub use cuda::{Cuda, CudaOptions, DeviceInfo};
pub use driver::Driver;
pub use fault::OpenError;
pub use images::CompileProgress;
pub use kernels::CudaKernels;
