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
//! - [`Ddd`]: one threshold on the probability of the whole beam, at a few depths.
//!
//! Calibration finds where the confidence is worth asking: graded rounds ([`Grader`]) give, per
//! depth, an area under the ROC curve ([`Auc`]), a map from confidence to the chance of a gain
//! ([`Isotonic`]) and a threshold ([`calibrate()`]), kept in a [`CalibrationFile`]. At run time
//! [`Explore`] keeps labels coming and [`DriftAlarm`] says when the file has gone stale.
//!
//! It deliberately knows no solver, no clock, no device and no text, and decides for one sequence
//! without a look at the others.
//!
//! Reading order: [`mod@confidence`], [`tau`], [`always`], [`fixed`], [`dense`], [`sparse`],
//! [`ddd`]; then [`sample`], [`graded`], [`mod@auc`], [`isotonic`], [`roc`], [`mod@calibrate`],
//! [`mod@file`], [`explore`], [`drift`].
#![forbid(unsafe_code)]

pub mod always;
pub mod auc;
pub mod calibrate;
pub mod confidence;
pub mod ddd;
pub mod dense;
mod draws;
pub mod drift;
pub mod explore;
pub mod file;
pub mod fixed;
pub mod graded;
pub mod isotonic;
pub mod paths;
pub mod roc;
pub mod sample;
pub mod sparse;
mod tally;
pub mod tau;

pub use always::Always;
pub use auc::{Auc, Bootstrap, auc};
pub use calibrate::{
    CalibrateParams, Calibration, DepthCalibration, ParamsError, Tau, TauSource, calibrate,
};
pub use confidence::confidence;
pub use ddd::{Ddd, DddParams};
pub use dense::{Dense, DenseParams};
pub use drift::{Drift, DriftAlarm, DriftParams};
pub use explore::Explore;
pub use file::{CalibrationFile, FileError, Fingerprint, Proposals};
pub use fixed::{Fixed, FixedParams};
pub use graded::{Graded, Grader, Retention};
pub use isotonic::{Isotonic, Knot, KnotError, calibration_error};
pub use paths::{PathCalibration, PathGrader};
pub use roc::RocPoint;
pub use sample::Sample;
pub use sparse::{Sparse, SparseParams, Threshold};
pub use tau::TauError;
