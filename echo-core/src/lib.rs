//! The contract of Echo, and nothing that runs.
//!
//! An engine step drafts a tree of next tokens for every live sequence, asks a gate where drafting
//! goes on, lets a solver choose the rows the target verifies, packs those rows, verifies them in
//! one forward pass and commits what was accepted:
//!
//! ```text
//! admit → plant roots → per level: gate, draft → solve → pack → verify → commit
//! ```
//!
//! This crate holds the words the stages share: ids and [`Limits`], borrowed views of the flat
//! structures ([`SuperTreeView`], [`BatchView`], [`PackedView`]), the masks that policies fill
//! ([`Keep`], [`Plan`]), what the target answers ([`Verdicts`]), the ports between the parts
//! ([`port`]), and the law by which a token is sampled ([`sampling`]).
//!
//! It deliberately has no dependencies, owns no tree, no memory of a device and no clock, and reads
//! no file. Owners live elsewhere: the super-tree in `echo-tree`, sequences in `echo-runtime`,
//! device memory in the `echo-kernels-*` crates.
//!
//! Reading order: [`id`], [`limits`], [`supertree`], [`keep`], [`plan`], [`batch`], [`packed`],
//! [`verdict`], [`load`], [`correction`], [`port`], [`sampling`], [`tensor`], [`error`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod batch;
pub mod correction;
pub mod error;
pub mod id;
pub mod keep;
pub mod limits;
pub mod load;
pub mod packed;
pub mod plan;
pub mod port;
pub mod sampling;
pub mod supertree;
pub mod tensor;
pub mod topk;
pub mod verdict;

pub use batch::BatchView;
pub use correction::Correction;
pub use error::DeviceError;
pub use id::{SeqId, Slot, Token};
pub use keep::Keep;
pub use limits::{Limits, LimitsError};
pub use load::{Budget, Load, Share};
pub use packed::PackedView;
pub use plan::Plan;
pub use port::{
    Children, Device, Drafter, Gate, Kernels, Learner, Seen, Settled, Solver, Target, Vocab,
};
pub use sampling::{SampleSpec, SampleView, Sampling, TokenEdit};
pub use supertree::{Frontier, SuperTreeView};
pub use tensor::{DType, TensorView};
pub use topk::TopK;
pub use verdict::Verdicts;
