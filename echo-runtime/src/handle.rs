//! An engine on a thread of its own, and what its callers hold.

use crate::engine::Engine;
use crate::meter::StepStats;
use crate::output::{FinishReason, Output, Usage};
use crate::request::{RejectReason, Request};
use crossbeam::channel::{Receiver, Sender, unbounded};
use echo_core::{DeviceError, Limits, SeqId, Token, Vocab};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// Steps that may fail one after the other before all sequences are given up.
const FAILURES_MAX: usize = 3;

/// What a request's stream gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A token was committed.
    Token {
        /// The token.
        token: Token,
        /// Its log-probability, NaN unless asked for.
        log_prob: f32,
        /// Alternatives, most likely first.
        top: Vec<(Token, f32)>,
        /// Text that became certain with it; often empty, sometimes more than the token's own.
        text: String,
    },
    /// The text is complete; nothing follows.
    Finished {
        /// Why.
        reason: FinishReason,
        /// Text that was held back.
        text: String,
        /// What it used.
        usage: Usage,
    },
}

/// Takes a request's events, on the engine's thread.
type Sink = Box<dyn FnMut(Event) + Send>;

enum Command {
    Submit { ticket: u64, request: Box<Request>, sink: Sink },
    Cancel { ticket: u64 },
}

/// What callers and the engine thread share.
struct Shared {
    vocab: Arc<dyn Vocab>,
    limits: Limits,
    queue_max: usize,
    /// Requests submitted and not yet ended, beyond those that can live at once.
    open: AtomicUsize,
    closed: AtomicBool,
    tickets: AtomicU64,
    snapshot: Mutex<Snapshot>,
}

/// Submits requests to an engine that runs on a thread of its own. Cheap to clone; may be used from
/// any thread. The engine stops when [`Handle::shutdown`] is called.
#[derive(Clone)]
pub struct Handle {
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Moves `engine` to a new thread. Joining the thread gives the engine back, after a shutdown.
    pub fn spawn(engine: Engine) -> (Handle, JoinHandle<Engine>) {
        let (commands, inbox) = unbounded();
        let shared = Arc::new(Shared {
            vocab: Arc::clone(&engine.parts.vocab),
            limits: *engine.limits(),
            queue_max: engine.options.queue_max,
            open: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            snapshot: Mutex::new(Snapshot::of(&engine)),
        });
        let handle = Handle { commands, shared: Arc::clone(&shared) };
        let run = || Worker { engine, inbox, shared, streams: BTreeMap::new() }.run();
        let thread = std::thread::Builder::new().name("echo-engine".into()).spawn(run);
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
    /// It is dropped after [`Event::Finished`], or without one if the engine ends first.
    pub fn submit_to(
        &self,
        request: Request,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Ticket, RejectReason> {
        let shared = &self.shared;
        if shared.closed.load(Ordering::Acquire) {
            return Err(RejectReason::Closed);
        }
        request.check(shared.vocab.as_ref(), &shared.limits)?;
        let open_max = shared.limits.seqs_max + shared.queue_max;
        if shared.open.fetch_add(1, Ordering::AcqRel) >= open_max {
            shared.open.fetch_sub(1, Ordering::AcqRel);
            return Err(RejectReason::QueueFull { waiting: shared.queue_max });
        }
        let ticket = shared.tickets.fetch_add(1, Ordering::Relaxed);
        let command = Command::Submit { ticket, request: Box::new(request), sink: Box::new(sink) };
        if self.commands.send(command).is_err() {
            shared.open.fetch_sub(1, Ordering::AcqRel);
            return Err(RejectReason::Closed);
        }
        Ok(Ticket { ticket, commands: self.commands.clone() })
    }

    /// What the engine thread looked like after its last round.
    pub fn snapshot(&self) -> Snapshot {
        *self.shared.snapshot.lock()
    }

    /// Whether requests are still taken.
    pub fn is_open(&self) -> bool {
        !self.shared.closed.load(Ordering::Acquire)
    }

    /// The limits of the engine.
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Counts and times of all steps so far.
    pub fn totals(&self) -> StepStats {
        self.snapshot().totals
    }

    /// Takes no more requests; the thread ends when those it has are done. Drop their streams to
    /// end them sooner.
    pub fn shutdown(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

/// The engine thread's state between two steps.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Counts and times of all steps.
    pub totals: StepStats,
    /// Counts and times of the last step.
    pub last: StepStats,
    /// Sequences that hold a place.
    pub n_live: usize,
    /// Requests that wait for a place.
    pub n_waiting: usize,
    /// When it was taken. An idle engine takes one every few milliseconds too, so an old one means
    /// a step that does not end.
    pub taken: Instant,
}

impl Snapshot {
    fn of(engine: &Engine) -> Self {
        Snapshot {
            totals: *engine.totals(),
            last: *engine.last_step(),
            n_live: engine.n_live(),
            n_waiting: engine.n_waiting(),
            taken: Instant::now(),
        }
    }
}

/// A claim on a request. Dropping it cancels the request within one step, if it has not ended.
#[derive(Debug)]
pub struct Ticket {
    ticket: u64,
    commands: Sender<Command>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The engine may be gone already, and the request with it.
        let _ = self.commands.send(Command::Cancel { ticket: self.ticket });
    }
}

/// The events of one request, in order, ending with [`Event::Finished`]. Dropping it cancels the
/// request within one step.
pub struct Stream {
    _ticket: Ticket,
    events: Receiver<Event>,
    ended: bool,
}

impl Iterator for Stream {
    type Item = Event;

    /// Waits for the next event; `None` after the last.
    fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().ok();
        self.ended = matches!(event, None | Some(Event::Finished { .. }));
        event
    }
}

/// The engine thread.
struct Worker {
    engine: Engine,
    inbox: Receiver<Command>,
    shared: Arc<Shared>,
    streams: BTreeMap<SeqId, (u64, Sink)>,
}

impl Worker {
    fn run(mut self) -> Engine {
        let mut out = Output::with_capacity(self.engine.limits());
        let mut failures = 0;
        loop {
            self.read_inbox(&mut out);
            if self.engine.is_idle() && self.shared.closed.load(Ordering::Acquire) {
                return self.engine;
            }
            let stepped = self.engine.step(&mut out);
            failures = if stepped.is_err() { failures + 1 } else { 0 };
            if let Err(error) = stepped
                && (failures >= FAILURES_MAX || matches!(error, DeviceError::Lost(_)))
            {
                self.engine.abort(&error, &mut out);
                failures = 0;
            }
            // Before the events: who has seen a request end finds its tokens counted.
            *self.shared.snapshot.lock() = Snapshot::of(&self.engine);
            self.deliver(&mut out);
        }
    }

    /// Obeys all commands that have come; waits for one if there is nothing else to do.
    fn read_inbox(&mut self, out: &mut Output) {
        const IDLE: std::time::Duration = std::time::Duration::from_millis(20);
        let mut first =
            if self.engine.is_idle() { self.inbox.recv_timeout(IDLE).ok() } else { None };
        while let Some(command) = first.take().or_else(|| self.inbox.try_recv().ok()) {
            match command {
                Command::Submit { ticket, request, sink } => {
                    self.submit(ticket, *request, sink);
                }
                Command::Cancel { ticket } => {
                    let find = |(id, (t, _)): (&SeqId, &(u64, _))| (*t == ticket).then_some(*id);
                    if let Some(id) = self.streams.iter().find_map(find) {
                        self.engine.cancel(id, out);
                    }
                }
            }
        }
    }

    fn submit(&mut self, ticket: u64, request: Request, sink: Sink) {
        let admitted = self.engine.submit(request);
        // The caller's side checked the same rules and the same count, so this can't fail.
        let id = admitted.expect("a request that was checked is taken");
        self.streams.insert(id, (ticket, sink));
    }

    /// Gives each stream what the step committed for it.
    fn deliver(&mut self, out: &mut Output) {
        for committed in &out.committed {
            if let Some((_, sink)) = self.streams.get_mut(&committed.id) {
                let event = Event::Token {
                    token: committed.token,
                    log_prob: committed.log_prob,
                    top: out.top[committed.top.clone()].to_vec(),
                    text: out.text_of(&committed.text).to_owned(),
                };
                sink(event);
            }
        }
        for finished in &out.finished {
            if let Some((_, mut sink)) = self.streams.remove(&finished.id) {
                let event = Event::Finished {
                    reason: finished.reason.clone(),
                    text: out.text_of(&finished.text).to_owned(),
                    usage: finished.usage,
                };
                sink(event);
                self.shared.open.fetch_sub(1, Ordering::AcqRel);
            }
        }
        out.clear();
    }
}
