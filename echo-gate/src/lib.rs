//! Gates: where in the super-tree drafting goes on.
//!
//! A gate answers one question per sequence and depth: is the draft still trusted enough to pay for
//! another level? It reads the frontier's scores and closes what it doesn't trust; it can't open
//! what the engine closed.
//!
//! - [`Always`]: drafts on wherever the shape allows; the baseline.
//! - [`Fixed`]: one threshold on the confidence at every depth.
//! - [`Dense`]: one threshold per depth, looked at everywhere.
//! - [`Sparse`]: thresholds at a few depths only; elsewhere the drafter runs ahead unasked. The
//!   gate of the ECHO paper.
//!
//! It deliberately knows no solver, no clock, no device and no text, and decides for one sequence
//! without a look at the others.
//!
//! Reading order: [`mod@confidence`], [`tau`], [`always`], [`fixed`], [`dense`], [`sparse`].
#![forbid(unsafe_code)]

pub mod always;
pub mod confidence;
pub mod dense;
pub mod fixed;
pub mod sparse;
pub mod tau;

pub use always::Always;
pub use confidence::confidence;
pub use dense::{Dense, DenseParams};
pub use fixed::{Fixed, FixedParams};
pub use sparse::{Sparse, SparseParams, Threshold};
pub use tau::TauError;
