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

enum Command {
    Submit { ticket: u64, request: Box<Request>, events: Sender<Event> },
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
    totals: Mutex<StepStats>,
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
            totals: Mutex::new(StepStats::default()),
        });
        let handle = Handle { commands, shared: Arc::clone(&shared) };
        let run = || Worker { engine, inbox, shared, streams: BTreeMap::new() }.run();
        let thread = std::thread::Builder::new().name("echo-engine".into()).spawn(run);
        (handle, thread.expect("the system can start a thread"))
    }

    /// Hands in a request. Does not wait: the request is checked here, and its events come through
    /// the stream. Dropping the stream cancels the request.
    pub fn submit(&self, request: Request) -> Result<Stream, RejectReason> {
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
        let (events, stream) = unbounded();
        let command = Command::Submit { ticket, request: Box::new(request), events };
        if self.commands.send(command).is_err() {
            shared.open.fetch_sub(1, Ordering::AcqRel);
            return Err(RejectReason::Closed);
        }
        Ok(Stream { ticket, events: stream, commands: self.commands.clone(), ended: false })
    }

    /// Counts and times of all steps so far.
    pub fn totals(&self) -> StepStats {
        *self.shared.totals.lock()
    }

    /// Takes no more requests; the thread ends when those it has are done. Drop their streams to
    /// end them sooner.
    pub fn shutdown(&self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

/// The events of one request, in order, ending with [`Event::Finished`]. Dropping it cancels the
/// request within one step.
pub struct Stream {
    ticket: u64,
    events: Receiver<Event>,
    commands: Sender<Command>,
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

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            // The engine may be gone already, and the request with it.
            let _ = self.commands.send(Command::Cancel { ticket: self.ticket });
        }
    }
}

/// The engine thread.
struct Worker {
    engine: Engine,
    inbox: Receiver<Command>,
    shared: Arc<Shared>,
    streams: BTreeMap<SeqId, (u64, Sender<Event>)>,
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
            *self.shared.totals.lock() = *self.engine.totals();
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
                Command::Submit { ticket, request, events } => {
                    self.submit(ticket, *request, events);
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

    fn submit(&mut self, ticket: u64, request: Request, events: Sender<Event>) {
        let admitted = self.engine.submit(request);
        // The caller's side checked the same rules and the same count, so this can't fail.
        let id = admitted.expect("a request that was checked is taken");
        self.streams.insert(id, (ticket, events));
    }

    /// Gives each stream what the step committed for it.
    fn deliver(&mut self, out: &mut Output) {
        for committed in &out.committed {
            if let Some((_, events)) = self.streams.get(&committed.id) {
                let event = Event::Token {
                    token: committed.token,
                    log_prob: committed.log_prob,
                    top: out.top[committed.top.clone()].to_vec(),
                    text: out.text_of(&committed.text).to_owned(),
                };
                // A caller that left has said so by a cancel on its way.
                let _ = events.send(event);
            }
        }
        for finished in &out.finished {
            if let Some((_, events)) = self.streams.remove(&finished.id) {
                let event = Event::Finished {
                    reason: finished.reason.clone(),
                    text: out.text_of(&finished.text).to_owned(),
                    usage: finished.usage,
                };
                let _ = events.send(event);
                self.shared.open.fetch_sub(1, Ordering::AcqRel);
            }
        }
        out.clear();
    }
}
