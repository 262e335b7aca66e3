//! What a step gives to the outside. Flat and reused: filling it allocates nothing after warm-up.

use crate::by_depth::ByDepth;
use echo_core::{DeviceError, Limits, SeqId, Token};
use std::ops::Range;
use std::time::Instant;

/// Bytes of text that a row has room for; most tokens have 2 to 8.
const TEXT_BYTES: usize = 32;

/// Why a sequence ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token, a stop token or a stop string.
    Stop,
    /// `max_tokens` or the end of the context.
    Length,
    /// The caller went away or asked for it.
    Cancelled,
    /// The target's answer held no usable number.
    Faulty,
    /// There was no memory for as many tokens as it may have; it never had a place.
    NoMemory,
    /// The device failed, for this sequence alone or for good.
    Device(DeviceError),
    /// The engine itself failed: a bug, told on stderr. It takes no more requests.
    Crashed,
}

/// What a sequence used, for its caller's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Prompt tokens whose keys and values were found in the prefix cache, at first admission.
    pub cached_tokens: usize,
    /// Tokens committed.
    pub output_tokens: usize,
    /// Forwards that committed at least one of them.
    pub steps: usize,
    /// Nodes drafted.
    pub drafted: usize,
    /// Drafted nodes that the target verified.
    pub verified: usize,
    /// Drafted nodes whose token was committed.
    pub accepted: usize,
    /// Times the sequence lost its place, to another or with its device, and was read again.
    pub preemptions: usize,
    /// The three counts above, depth by depth.
    pub by_depth: ByDepth,
    /// When it first had a place in the batch; sums have none.
    pub seated: Option<Instant>,
}

impl Usage {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Usage) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.output_tokens += other.output_tokens;
        self.steps += other.steps;
        self.drafted += other.drafted;
        self.verified += other.verified;
        self.accepted += other.accepted;
        self.preemptions += other.preemptions;
        self.by_depth.combine(&other.by_depth, |own, other| *own += other);
    }

    /// Tokens committed per forward, bonus token included.
    pub fn mean_accepted_len(&self) -> f64 {
        if self.steps == 0 { 0.0 } else { self.output_tokens as f64 / self.steps as f64 }
    }
}

/// One committed token.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    /// Whose it is.
    pub id: SeqId,
    /// The token.
    pub token: Token,
    /// Its log-probability, NaN unless asked for.
    pub log_prob: f32,
    /// Alternatives, in [`Output::top`].
    pub top: Range<usize>,
    /// Text that became certain with it, in [`Output::text`].
    pub text: Range<usize>,
}

/// What the target makes of a prompt token.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Whose prompt it is in.
    pub id: SeqId,
    /// The token.
    pub token: Token,
    /// Its log-probability after the tokens before it.
    pub log_prob: f32,
    /// Alternatives, in [`Output::top`].
    pub top: Range<usize>,
}

/// A sequence that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// Whose end it is.
    pub id: SeqId,
    /// Why.
    pub reason: FinishReason,
    /// Text that was held back and is now certain, in [`Output::text`].
    pub text: Range<usize>,
    /// What it used.
    pub usage: Usage,
}

/// What one step committed, in order.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// Prompt tokens with their scores, in order, all before the first token of their sequence.
    pub scored: Vec<Scored>,
    /// Tokens, a sequence's own in order.
    pub committed: Vec<Committed>,
    /// Ends, each after all tokens of its sequence.
    pub finished: Vec<Finished>,
    /// All text of this step.
    pub text: String,
    /// All alternatives of this step.
    pub top: Vec<(Token, f32)>,
}

impl Output {
    /// Room for what a step within `limits` can commit, if its text is of usual length.
    pub fn with_capacity(limits: &Limits) -> Self {
        let (rows, seqs) = (limits.rows_max, limits.seqs_max);
        Output {
            scored: Vec::with_capacity(rows),
            committed: Vec::with_capacity(rows),
            finished: Vec::with_capacity(seqs),
            text: String::with_capacity(rows * TEXT_BYTES),
            top: Vec::with_capacity(rows * limits.logprobs_max),
        }
    }

    /// Forgets everything and keeps the room.
    pub fn clear(&mut self) {
        self.scored.clear();
        self.committed.clear();
        self.finished.clear();
        self.text.clear();
        self.top.clear();
    }

    /// The text that `committed` added.
    pub fn text_of(&self, range: &Range<usize>) -> &str {
        &self.text[range.clone()]
    }
}
