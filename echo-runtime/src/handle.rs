//! An engine on a thread of its own, and what its callers hold.

use crate::door::{Door, Shut};
use crate::engine::Engine;
use crate::meter::StepStats;
use crate::request::{RejectReason, Request};
use crate::snapshot::Snapshot;
use crate::stream::{Event, Stream, Ticket};
use crate::sync::{AtomicBool, AtomicU64, Builder, JoinHandle, Mutex, Ordering, Sender, unbounded};
use crate::worker::{Command, Worker};
use echo_core::{Limits, Vocab};
use std::sync::Arc;

/// What callers and the engine thread share.
pub(crate) struct Shared {
    vocab: Arc<dyn Vocab>,
    limits: Limits,
    queue_max: usize,
    has_memory: fn() -> bool,
    pub(crate) door: Door,
    pub(crate) is_alive: AtomicBool,
    tickets: AtomicU64,
    pub(crate) snapshot: Mutex<Snapshot>,
}

/// Submits requests to an engine that runs on a thread of its own. Cheap to clone; may be used from
/// any thread. The engine stops when [`Handle::shutdown`] is called, or when nobody has a handle
/// or a stream any more.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Moves `engine` to a new thread. Joining the thread gives the engine back, after a shutdown
    /// or when its device is gone for good.
    pub fn spawn(engine: Engine) -> (Handle, JoinHandle<Engine>) {
        let (commands, inbox) = unbounded();
        let shared = Arc::new(Shared {
            vocab: Arc::clone(&engine.ports.vocab),
            limits: *engine.limits(),
            queue_max: engine.options.queue_max,
            has_memory: engine.options.has_memory,
            door: Door::new(engine.limits().seqs_max + engine.options.queue_max),
            is_alive: AtomicBool::new(true),
            tickets: AtomicU64::new(0),
            snapshot: Mutex::new(Snapshot::of(&engine, 0)),
        });
        let handle = Handle { commands, shared: Arc::clone(&shared) };
        let run = || Worker::new(engine, inbox, shared).run();
        let thread = Builder::new().name("echo-engine".into()).spawn(run);
        (handle, thread.expect("the system can start a thread"))
    }

    /// Hands in a request. Does not wait: the request is checked here, and its events come through
    /// the stream. Dropping the stream cancels the request.
    pub fn submit(&self, request: Request) -> Result<Stream, RejectReason> {
        let (sender, events) = unbounded();
        // A caller that left has said so by a cancel on its way.
        let ticket = self.submit_to(request, move |event| drop(sender.send(event)))?;
        Ok(Stream { _ticket: ticket, events, ended: false })
    }

    /// Hands in a request whose events go to `sink`, for callers that must not block a thread. The
    /// engine's thread calls it and all others wait meanwhile, so it may only pass the event on.
    /// [`Event::Finished`] comes whatever happens, and is the last. A sink that panics counts as a
    /// caller who left.
    pub fn submit_to(
        &self,
        request: Request,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Ticket, RejectReason> {
        let shared = &self.shared;
        if shared.door.is_closed() {
            return Err(RejectReason::Closed);
        }
        request.check(shared.vocab.as_ref(), &shared.limits)?;
        shared.door.enter().map_err(|shut| match shut {
            Shut::Full => RejectReason::QueueFull { waiting: shared.queue_max },
            Shut::Closed => RejectReason::Closed,
        })?;
        let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
        let command = Command::Submit { ticket, request: Box::new(request), sink: Box::new(sink) };
        if self.commands.send(command).is_err() {
            shared.door.leave();
            return Err(RejectReason::Closed);
        }
        Ok(Ticket { number: ticket, commands: self.commands.clone() })
    }

    /// Has `observer` look at the engine after every step that ran a forward, for meters and
    /// traces. Decoding waits for it, so it may only count and copy; one that panics is let go.
    pub fn observe(&self, observer: impl FnMut(&Engine) + Send + 'static) {
        // An engine that is gone takes no steps to look at.
        let _ = self.commands.send(Command::Observe { observer: Box::new(observer) });
    }

    /// What the engine thread looked like after its last round.
    pub fn snapshot(&self) -> Snapshot {
        *self.shared.snapshot.lock()
    }

    /// Whether requests are still taken: not after a shutdown, and not when the engine has ended.
    pub fn is_open(&self) -> bool {
        !self.shared.door.is_closed()
    }

    /// Whether the engine's thread has not ended. It ends after a shutdown, when its device is gone
    /// for good, and by a panic.
    pub fn is_alive(&self) -> bool {
        self.shared.is_alive.load(Ordering::Acquire)
    }

    /// The limits of the engine.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Requests that may wait for a place.
    pub fn queue_max(&self) -> usize {
        self.shared.queue_max
    }

    /// [`Options::has_memory`](crate::Options::has_memory), for those who can refuse a request
    /// before it has cost anything.
    pub fn has_memory(&self) -> bool {
        (self.shared.has_memory)()
    }

    /// Counts and times of all steps so far.
    pub fn totals(&self) -> StepStats {
        self.snapshot().totals
    }

    /// Takes no more requests; the thread ends when those it has are done. Drop their streams to
    /// end them sooner.
    pub fn shutdown(&self) {
        self.shared.door.close();
        // If it has ended by itself, so much the better.
        let _ = self.commands.send(Command::Wake);
    }
}
