//! The engine: continuous batching, KV slots, the decode step and its handle.
//!
//! [`Engine`] is put together from [`Parts`] (a target, a drafter, a gate, a solver, a vocabulary)
//! and [`Limits`](echo_core::Limits), takes [`Request`]s and is stepped; every step fills an
//! [`Output`]. [`Handle`] runs one on a thread of its own and gives each request a stream of
//! events.
//!
//! It deliberately knows no HTTP, no file, no environment variable, and neither what model runs nor
//! which policies decide: those are parts.
//!
//! Reading order: `step` (the page), `engine`, `ports`, `options`, `buffers`, `request`, `output`,
//! `schedule`, `admit`, `batch`, `kv`, `pool`, `prefix`, `lay_out`, `specs`, `commit`, `text`,
//! `penalties`, `meter`, `learning`, `guarded`, `isolated`, `aside`, `recovery`, `handle`, `door`,
//! `worker`, `stream`, `snapshot`, `sync`, `profile`.
#![forbid(unsafe_code)]

mod admit;
mod aside;
mod batch;
mod buffers;
mod by_depth;
mod commit;
mod conduct;
mod door;
mod engine;
mod guarded;
mod handle;
mod isolated;
mod kv;
mod lay_out;
mod learning;
mod meter;
mod no_draft;
mod options;
mod output;
mod penalties;
mod pool;
mod ports;
mod prefix;
mod profile;
mod profile_draft;
mod recovery;
mod request;
mod round;
mod schedule;
mod sequence;
mod snapshot;
mod specs;
mod step;
mod stream;
mod sync;
mod text;
mod worker;

pub use by_depth::ByDepth;
pub use engine::Engine;
pub use handle::Handle;
pub use isolated::{IsolatedGate, IsolatedSolver};
pub use kv::KvUse;
pub use meter::{Stage, StepStats};
pub use no_draft::NoDraft;
pub use options::Options;
pub use output::{Committed, FinishReason, Finished, Output, Scored, Usage};
pub use ports::Parts;
pub use profile::{Profile, profile, profile_within};
pub use profile_draft::profile_draft;
pub use recovery::{Pair, Reopen};
pub use request::{RejectReason, Request, Stops};
pub use round::Round;
pub use snapshot::Snapshot;
pub use stream::{Event, Stream, Ticket};
