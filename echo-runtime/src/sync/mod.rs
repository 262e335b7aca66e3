//! Threads, atomics, locks and channels: the real ones, or those of a model checker.
//!
//! Built with `--cfg loom` or `--cfg shuttle`, all that passes between the engine's thread and its
//! callers goes through the checker, and the code that uses it stays the same. Time does not exist
//! there: a wait with a deadline is a wait.

#[cfg(any(loom, shuttle))]
mod channel;

#[cfg(not(any(loom, shuttle)))]
pub(crate) use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::panic::catch_unwind;
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread::{Builder, JoinHandle};

#[cfg(any(loom, shuttle))]
pub(crate) use channel::{Mutex, Receiver, RecvTimeoutError, Sender, unbounded};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::thread::{Builder, JoinHandle};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(shuttle)]
pub(crate) use shuttle::thread::{Builder, JoinHandle};

/// Catches nothing: a panic under a checker is a finding, or its own way to stop a thread.
#[cfg(any(loom, shuttle))]
#[expect(clippy::unnecessary_wraps, reason = "the real one may catch something")]
pub(crate) fn catch_unwind<T>(call: impl FnOnce() -> T) -> std::thread::Result<T> {
    Ok(call())
}
