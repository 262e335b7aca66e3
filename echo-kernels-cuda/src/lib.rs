//! Kernels in CUDA C++, compiled at run time for the device at hand.
//!
//! One source per operation of the port lies in `cu/`, complete and free of toolkit headers; its
//! head says how it is launched and why, and in which order it sums. [`CudaKernels`] checks
//! operands, chooses launches and hands them to a [`Driver`]. [`Cuda`] is the real one: NVIDIA's
//! driver and run-time compiler, both loaded when asked for, so this crate builds and is tested
//! where neither is installed. The tests bring a driver in software that runs the same sources.
//!
//! Row purity is by design: no choice on the host changes the order of a sum. The number of slices
//! of a linear layer is a function of the weight's shape, tiles and splits of attention are cut at
//! absolute positions, and how many rows share a block changes nothing.
//!
//! A forward is hundreds of launches, each too short to hide what it costs the host. So operations
//! are collected, and a list of them is replayed as one [graph](graphs) of the next tier of rows;
//! how many rows there are, and how long their texts, the kernels read from memory.
//!
//! This crate knows no request, no policy, no model and no environment variable. Not there yet:
//! several streams, several devices.
//!
//! Reading order: `cu/echo_cuda.h`, `cu/add.cu`, [`source`], [`driver`], `kernels` and `ops` (the
//! ports), `op`, `fuse`, `queue` and [`graphs`] (from operations to launches), `weight` with
//! `cu/weight.h`, `linear`, `attention` and `division` (how work is divided), then `cuda`,
//! `context`, `launch`, `images`, [`compile`](mod@compile), [`cache`].
#![deny(missing_docs)]

mod attention;
pub mod cache;
pub mod compile;
mod context;
mod cuda;
mod division;
pub mod driver;
mod fault;
mod fuse;
pub mod graphs;
mod images;
mod info;
mod kernels;
mod launch;
mod linear;
mod memory;
mod op;
mod ops;
mod queue;
mod sampling;
pub mod source;
mod staged;
mod weight;

pub use cuda::{Cuda, CudaOptions};
pub use driver::Driver;
pub use fault::OpenError;
pub use graphs::Graphs;
pub use images::CompileProgress;
pub use info::DeviceInfo;
pub use kernels::CudaKernels;
