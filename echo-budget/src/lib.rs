//! Solvers and cost models: which drafted nodes the target verifies.
//!
//! The problem: of all nodes drafted for the whole batch, keep a set that is closed under parent,
//! has at most [`Budget::rows`](echo_core::Budget::rows) rows with the roots and at most
//! [`Budget::tree_max`](echo_core::Budget::tree_max) drafted nodes of one sequence, and is worth
//! the most tokens for its time.
//!
//! - [`Uniform`]: the same share for each sequence; the baseline.
//! - [`TopN`]: the best `n` of each sequence, then the best of the batch (EAGLE-2's rerank).
//! - [`Echo`]: seed, then depth, then width (Algorithm 1 of the ECHO paper).
//! - [`Goodput`]: as many of the best nodes as maximise expected tokens per measured second.
//! - [`Exact`]: brute force over small trees; for tests and teaching only.
//!
//! All of them rank by the cumulative draft log-probability, made monotone along each path first,
//! so that the best nodes are closed under parent by themselves and a plan is legal for any floats.
//! Ties go to the lowest node index. No solver allocates once it has seen a tree of that size.
//!
//! It deliberately knows no gate, no device and no clock: a [`CostTable`] is made of times that
//! somebody else took.
//!
//! Reading order: [`cost`], [`survival`], `ranking`, [`uniform`], [`topn`], [`echo`], [`goodput`],
//! [`exact`].
#![forbid(unsafe_code)]

pub mod cost;
pub mod echo;
pub mod exact;
pub mod goodput;
mod ranking;
pub mod survival;
pub mod topn;
pub mod uniform;

pub use cost::{Between, CostError, CostTable, Hinge, Sample};
pub use echo::{Echo, EchoError, EchoParams, Width};
pub use exact::Exact;
pub use goodput::{Goodput, GoodputParams};
pub use survival::{Survival, SurvivalError};
pub use topn::{TopN, TopNParams};
pub use uniform::Uniform;
