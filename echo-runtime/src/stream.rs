//! What comes back of a request.

use crate::output::{FinishReason, Usage};
use crate::sync::{Receiver, Sender};
use crate::worker::Command;
use echo_core::Token;

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
    /// A token of the prompt was scored.
    Prompt {
        /// The token.
        token: Token,
        /// Its log-probability after the tokens before it.
        log_prob: f32,
        /// Alternatives, most likely first.
        top: Vec<(Token, f32)>,
    },
    /// The text is complete; nothing follows.
    Finished {
        /// Why.
        reason: FinishReason,
        /// Text that was held back.
        text: String,
        /// What it used.
        usage: Box<Usage>,
    },
}

/// A claim on a request. Dropping it cancels the request within one step, if it has not ended.
#[derive(Debug)]
pub struct Ticket {
    pub(crate) number: u64,
    pub(crate) commands: Sender<Command>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The engine may be gone already, and the request with it.
        let _ = self.commands.send(Command::Cancel { ticket: self.number });
    }
}

/// The events of one request, in order, ending with [`Event::Finished`], whatever happens. Dropping
/// it cancels the request within one step.
pub struct Stream {
    pub(crate) _ticket: Ticket,
    pub(crate) events: Receiver<Event>,
    pub(crate) ended: bool,
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
