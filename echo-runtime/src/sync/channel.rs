//! An unbounded channel out of a checker's lock, with the promises of crossbeam's: in order, and
//! either end learns that the other is gone.

#[cfg(loom)]
use loom::sync::{Condvar, Mutex as Lock, MutexGuard};
#[cfg(shuttle)]
use shuttle::sync::{Condvar, Mutex as Lock, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A lock that knows no poison.
pub(crate) struct Mutex<T>(Lock<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(Lock::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

struct State<T> {
    queue: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
}

struct Channel<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
}

/// The end that things go in.
pub(crate) struct Sender<T>(Arc<Channel<T>>);

/// The end that things come out of.
pub(crate) struct Receiver<T>(Arc<Channel<T>>);

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecvTimeoutError {
    /// Never here: a checker has no clock.
    #[allow(dead_code, reason = "callers match on it")]
    Timeout,
    Disconnected,
}

/// A channel without bound.
pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { queue: VecDeque::new(), senders: 1, has_receiver: true };
    let channel = Arc::new(Channel { state: Mutex::new(state), arrived: Condvar::new() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    /// Gives `value` back if nobody can receive it any more.
    pub(crate) fn send(&self, value: T) -> Result<(), T> {
        let mut state = self.0.state.lock();
        if !state.has_receiver {
            return Err(value);
        }
        state.queue.push_back(value);
        drop(state);
        self.0.arrived.notify_one();
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.lock().senders -= 1;
        self.0.arrived.notify_one();
    }
}

impl<T> Receiver<T> {
    /// Waits until something comes or nothing can come any more.
    pub(crate) fn recv(&self) -> Result<T, RecvTimeoutError> {
        let mut state = self.0.state.lock();
        loop {
            if let Some(value) = state.queue.pop_front() {
                return Ok(value);
            }
            if state.senders == 0 {
                return Err(RecvTimeoutError::Disconnected);
            }
            state = self.0.arrived.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// As [`recv`](Self::recv).
    pub(crate) fn recv_timeout(&self, _time: Duration) -> Result<T, RecvTimeoutError> {
        self.recv()
    }

    /// What is there already.
    pub(crate) fn try_recv(&self) -> Result<T, RecvTimeoutError> {
        self.0.state.lock().queue.pop_front().ok_or(RecvTimeoutError::Disconnected)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.has_receiver = false;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        drop(left);
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}
