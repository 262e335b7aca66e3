//! Solvers and cost models: which drafted nodes the target verifies.
//!
//! The problem: of all nodes drafted for the whole batch, keep a set that is closed under parent,
//! has at most [`Budget::rows`](echo_core::Budget::rows) rows with the roots and at most
//! [`Budget::tree_max`](echo_core::Budget::tree_max) drafted nodes of one sequence, and is worth
//! the most tokens for its time.
//!
//! - [`Uniform`]: the same share for each sequence; the baseline.
//! - [`TopN`]: the best `n` of each sequence, then the best of the batch (EAGLE-2's rerank).
//! - [`OptTree`]: levels while they raise the expected length, then the best `n`.
//! - [`Talon`]: level by level, whatever is nearly as likely as the level's best.
//! - [`Tetris`]: so many rows per request, pooled over the batch.
//! - [`DCut`]: of four cuts of the batch's drafts, the one with the most tokens per time.
//! - [`Ema`]: one depth for the batch, from the moving average of what drafts gained.
//! - [`Echo`]: seed, then depth, then width (Algorithm 1 of the ECHO paper).
//! - [`Goodput`]: as many of the best nodes as maximise expected tokens per measured second.
//! - [`Fair`]: any of them with weights, caps and a bound on waiting.
//! - [`Worth`]: a gate, which spends no draft pass that costs more than it brings.
//! - [`Corrector`]: follows times and chances between steps, so that both stay true.
//! - [`Exact`]: brute force over small trees; for tests and teaching only.
//!
//! All of them rank by the cumulative draft log-probability, which never rises along a path, so
//! that the best nodes are closed under parent by themselves. Ties go to the lowest node index. No
//! solver allocates once it has seen a tree of that size.
//!
//! It deliberately knows none of `echo-gate`'s gates, no device and no clock: a [`CostTable`] is
//! made of times that somebody else took.
//!
//! Reading order: [`cost`], [`times`], [`survival`], `ranking`, [`uniform`], [`topn`], [`width`],
//! [`echo`], [`goodput`], [`exact`]; the rivals [`opt_tree`], [`talon`], [`tetris`], [`dcut`],
//! [`ema`]; then [`fair`], [`worth`], [`corrector`]; [`trace`], [`mod@replay`] and
//! [`mod@devices`], which need no model.
#![forbid(unsafe_code)]

mod best;
pub mod corrector;
pub mod cost;
mod curve;
pub mod dcut;
pub mod devices;
pub mod echo;
pub mod ema;
pub mod exact;
pub mod fair;
mod families;
pub mod goodput;
pub mod opt_tree;
mod pace;
mod probes;
mod ranking;
mod ratio;
pub mod replay;
mod scene;
pub mod survival;
pub mod talon;
pub mod tetris;
pub mod times;
pub mod topn;
pub mod trace;
pub mod uniform;
pub mod width;
pub mod worth;

pub use corrector::{Corrector, CorrectorParams};
pub use cost::{CostError, CostTable, Hinge, Sample};
pub use curve::Between;
pub use dcut::{DCut, DCutParams};
pub use devices::{Device, devices};
pub use echo::{Echo, EchoParams, MuError};
pub use ema::{Ema, EmaParams, LadderError};
pub use exact::Exact;
pub use fair::{Fair, FairParams};
pub use goodput::{Goodput, GoodputParams};
pub use opt_tree::{DeltaError, OptTree, OptTreeParams};
pub use replay::{Outcome, Policy, Setting, oracle, replay};
pub use survival::{Survival, SurvivalError};
pub use talon::{RatioError, Talon, TalonParams};
pub use tetris::{Tetris, TetrisParams};
pub use times::Times;
pub use topn::{TopN, TopNParams};
pub use trace::{Learnt, Round, Text, Trace, TraceError};
pub use uniform::Uniform;
pub use width::Width;
pub use worth::{AheadError, Worth, WorthParams};
