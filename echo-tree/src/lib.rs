//! The super-tree of a batch: planted, grown, packed into rows, and walked.
//!
//! [`SuperTree`] owns what [`SuperTreeView`](echo_core::SuperTreeView) shows. A step plants one
//! root per decoding sequence, [`open`]s the frontier by the shape of the draft, pushes one
//! level per draft pass, lets a solver fill a plan, [`check`]s it, lays it out as the rows of one
//! forward ([`Packed`]) and walks the verdicts back to accepted paths ([`Paths`]).
//!
//! It deliberately knows no model, no device, no request and no clock. Everything is sized from
//! [`Limits`](echo_core::Limits) once; nothing allocates afterwards.
//!
//! Reading order: [`supertree`], [`beam`], [`check`], [`pack`], [`path`], [`mod@draw`].
#![forbid(unsafe_code)]

pub mod beam;
pub mod check;
pub mod draw;
pub mod pack;
pub mod path;
pub mod supertree;

pub use beam::open;
pub use check::{PlanFault, check_plan, drafted_of};
pub use draw::{DrawError, Drawing, draw};
pub use pack::{Packed, SeqRows};
pub use path::{Paths, accept};
pub use supertree::SuperTree;
