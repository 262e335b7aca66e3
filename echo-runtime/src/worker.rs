//! The engine's thread.

use crate::engine::Engine;
use crate::handle::Shared;
use crate::output::{FinishReason, Output, Usage};
use crate::request::{RejectReason, Request};
use crate::snapshot::Snapshot;
use crate::stream::Event;
use crate::sync::{Ordering, Receiver, RecvTimeoutError, catch_unwind};
use echo_core::{DeviceError, SeqId};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

/// How long an idle engine waits for a command before it gives a sign of life.
const IDLE: Duration = Duration::from_millis(20);

/// Takes a request's events, on the engine's thread.
pub(crate) type Sink = Box<dyn FnMut(Event) + Send>;

/// Looks at the engine after each step, on the engine's thread.
pub(crate) type Observer = Box<dyn FnMut(&Engine) + Send>;

/// What callers tell the engine's thread.
pub(crate) enum Command {
    Submit {
        ticket: u64,
        request: Box<Request>,
        sink: Sink,
    },
    Cancel {
        ticket: u64,
    },
    Observe {
        observer: Observer,
    },
    /// Look at the door.
    Wake,
}

/// The engine and those who wait for its events.
pub(crate) struct Worker {
    engine: Engine,
    inbox: Receiver<Command>,
    shared: Arc<Shared>,
    streams: BTreeMap<SeqId, (u64, Sink)>,
    observers: Vec<Observer>,
}

impl Worker {
    pub(crate) fn new(engine: Engine, inbox: Receiver<Command>, shared: Arc<Shared>) -> Self {
        Worker { engine, inbox, shared, streams: BTreeMap::new(), observers: Vec::new() }
    }

    /// Works until the door is closed and everybody has left, and gives the engine back. A device
    /// that is gone for good, and a panic, which goes on, end it sooner; nobody is left without an
    /// end.
    pub(crate) fn run(mut self) -> Engine {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        self.shared.door.close();
        let reason = match &worked {
            Ok(Err(error)) => FinishReason::Device(error.clone()),
            _ => FinishReason::Crashed,
        };
        self.turn_away(&reason);
        self.shared.is_alive.store(false, Ordering::Release);
        match worked {
            Ok(_) => self.engine,
            Err(panic) => {
                // What panicked once may do so again when it is dropped.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
                resume_unwind(panic)
            }
        }
    }

    fn work(&mut self) -> Result<(), DeviceError> {
        let mut out = Output::with_capacity(self.engine.limits());
        for round in 1.. {
            self.read_inbox(&mut out);
            if self.shared.door.is_done() {
                break;
            }
            let advanced = self.engine.advance(&mut out);
            // Before the events: who has seen a request end finds its tokens counted.
            *self.shared.snapshot.lock() = Snapshot::of(&self.engine, round);
            self.show();
            self.deliver(&mut out);
            advanced?;
        }
        Ok(())
    }

    /// Obeys all commands that have come; waits for one if there is nothing else to do.
    fn read_inbox(&mut self, out: &mut Output) {
        let mut first = None;
        if self.engine.is_idle() && !self.shared.door.is_done() {
            match self.inbox.recv_timeout(IDLE) {
                Ok(command) => first = Some(command),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody has a handle any more.
                Err(RecvTimeoutError::Disconnected) => self.shared.door.close(),
            }
        }
        while let Some(command) = first.take().or_else(|| self.inbox.try_recv().ok()) {
            match command {
                Command::Submit { ticket, request, sink } => {
                    match self.engine.submit(*request) {
                        Ok(id) => drop(self.streams.insert(id, (ticket, sink))),
                        // The caller's side checked the same rules and the same count.
                        Err(refused) => {
                            debug_assert_eq!(refused, RejectReason::NoMemory);
                            self.part(sink, Some(last(FinishReason::NoMemory)));
                        }
                    }
                }
                Command::Cancel { ticket } => {
                    let find = |(id, (t, _)): (&SeqId, &(u64, _))| (*t == ticket).then_some(*id);
                    if let Some(id) = self.streams.iter().find_map(find) {
                        self.engine.cancel(id, out);
                    }
                }
                Command::Observe { observer } => self.observers.push(observer),
                Command::Wake => {}
            }
        }
    }

    /// Shows a step that ran a forward to those who want to see it.
    fn show(&mut self) {
        if self.engine.last_step().steps > 0 {
            let engine = &self.engine;
            let see = |observer: &mut Observer| {
                catch_unwind(AssertUnwindSafe(|| observer(engine))).is_ok()
            };
            self.observers.retain_mut(see);
        }
    }

    /// Gives each stream what the step committed for it. Who panics over it counts as gone.
    fn deliver(&mut self, out: &mut Output) {
        let mut gone = Vec::new();
        let scored = out.scored.iter().map(|scored| {
            let top = out.top[scored.top.clone()].to_vec();
            (scored.id, Event::Prompt { token: scored.token, log_prob: scored.log_prob, top })
        });
        let committed = out.committed.iter().map(|committed| {
            let event = Event::Token {
                token: committed.token,
                log_prob: committed.log_prob,
                top: out.top[committed.top.clone()].to_vec(),
                text: out.text_of(&committed.text).to_owned(),
            };
            (committed.id, event)
        });
        for (id, event) in scored.chain(committed) {
            if let Some((_, sink)) = self.streams.get_mut(&id)
                && catch_unwind(AssertUnwindSafe(|| sink(event))).is_err()
            {
                gone.push(id);
                self.dismiss(id, None);
            }
        }
        for finished in &out.finished {
            let event = Event::Finished {
                reason: finished.reason.clone(),
                text: out.text_of(&finished.text).to_owned(),
                usage: Box::new(finished.usage),
            };
            self.dismiss(finished.id, Some(event));
        }
        out.clear();
        for id in gone {
            self.engine.cancel(id, out);
        }
    }

    /// Lets a request go, with its last event.
    fn dismiss(&mut self, id: SeqId, last: Option<Event>) {
        if let Some((_, sink)) = self.streams.remove(&id) {
            self.part(sink, last);
        }
    }

    fn part(&self, mut sink: Sink, last: Option<Event>) {
        let part = || {
            last.map(&mut sink);
            drop(sink);
        };
        // Its panic is its own.
        let _ = catch_unwind(AssertUnwindSafe(part));
        self.shared.door.leave();
    }

    /// Ends those that are left, and those who are still on their way in.
    fn turn_away(&mut self, reason: &FinishReason) {
        let ending = || Some(last(reason.clone()));
        for (_, (_, sink)) in std::mem::take(&mut self.streams) {
            self.part(sink, ending());
        }
        while !self.shared.door.is_done() {
            match self.inbox.recv_timeout(IDLE) {
                Ok(Command::Submit { sink, .. }) => self.part(sink, ending()),
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    }
}

/// The end of a request that said nothing, or of which nobody can tell any more what it used.
fn last(reason: FinishReason) -> Event {
    Event::Finished { reason, text: String::new(), usage: Box::<Usage>::default() }
}
