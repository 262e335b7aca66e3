//! What a caller asks for, and what it must satisfy.

use echo_core::{Limits, Sampling, Token, Vocab};
use std::fmt;

/// When a text ends, beside the model's own end tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Tokens committed at most; `None` goes on to the end of the context.
    pub max_tokens: Option<usize>,
    /// Tokens before which neither end tokens nor stops count.
    pub min_tokens: usize,
    /// Tokens that end the text; they count as output but add no text.
    pub tokens: Vec<Token>,
    /// Strings that end the text, found wherever they begin inside a token.
    pub strings: Vec<String>,
    /// Whether the text keeps the stop string it ended with.
    pub include_stop: bool,
    /// Whether the model's own end tokens are ordinary tokens.
    pub ignore_eos: bool,
}

/// One text to be continued.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Its tokens, at least one.
    pub prompt: Vec<Token>,
    /// How tokens are sampled.
    pub sampling: Sampling,
    /// When it ends.
    pub stops: Stops,
    /// Deepest drafted level for this request; `Some(0)` decodes it plainly, `None` leaves it to
    /// the engine. The text is the same either way.
    pub draft_depth_max: Option<usize>,
    /// Drafted nodes verified for this request in one step at most, by solvers that mind shares, as
    /// `Fair` does; `None` leaves it to the engine.
    pub draft_nodes_max: Option<usize>,
    /// Whether the prompt's tokens are scored: each but the first with its log-probability after
    /// those before it, and this many alternatives. Such a prompt is read anew.
    pub prompt_logprobs: Option<u32>,
    /// Whose it is: places are shared evenly between parties while several wait.
    pub party: u16,
    /// Who of one party goes first: the lower, and of equals the older.
    pub priority: i32,
    /// What its accepted tokens are worth beside other requests' when rows are short; finite and
    /// above 0, 1 is usual.
    pub draft_weight: f32,
}

impl Request {
    /// Most stop strings, and most bytes in one.
    pub const STOP_STRINGS_MAX: (usize, usize) = (16, 256);
    /// Most stop tokens.
    pub const STOP_TOKENS_MAX: usize = 64;

    /// A request with default sampling and no stops.
    pub fn new(prompt: Vec<Token>) -> Self {
        let (sampling, stops) = (Sampling::default(), Stops::default());
        Request {
            prompt,
            sampling,
            stops,
            draft_depth_max: None,
            draft_nodes_max: None,
            prompt_logprobs: None,
            party: 0,
            priority: 0,
            draft_weight: 1.0,
        }
    }

    /// Refuses what can't be served, before anything is reserved for it.
    pub(crate) fn check(&self, vocab: &dyn Vocab, limits: &Limits) -> Result<(), RejectReason> {
        if self.prompt.is_empty() {
            return Err(RejectReason::EmptyPrompt);
        }
        let context_max = limits.context_max.min(limits.kv_slots);
        if self.prompt.len() >= context_max {
            return Err(RejectReason::PromptTooLong { tokens: self.prompt.len(), context_max });
        }
        let foreign =
            |tokens: &[Token]| tokens.iter().copied().find(|&t| t as usize >= vocab.len());
        if let Some(token) = foreign(&self.prompt) {
            return Err(RejectReason::UnknownToken { token, vocab: vocab.len() });
        }
        if let Some(token) = foreign(&self.stops.tokens) {
            let why = format!("name token {token}, the vocabulary has {}", vocab.len());
            return Err(RejectReason::BadParameter { name: "stop tokens", why });
        }
        self.sampling
            .check(vocab.len(), limits.logprobs_max)
            .map_err(|error| RejectReason::BadParameter { name: error.name, why: error.why })?;
        let listed = self.prompt_logprobs.unwrap_or(0) as usize;
        if listed > limits.logprobs_max {
            let why = format!("is {listed}, at most {}", limits.logprobs_max);
            return Err(RejectReason::BadParameter { name: "prompt_logprobs", why });
        }
        let weight = self.draft_weight;
        if !(weight.is_finite() && weight > 0.0) {
            let why = format!("is {weight}, must be finite and above 0");
            return Err(RejectReason::BadParameter { name: "draft_weight", why });
        }
        self.check_stops()
    }

    fn check_stops(&self) -> Result<(), RejectReason> {
        let refuse = |name, why: String| Err(RejectReason::BadParameter { name, why });
        let Stops { max_tokens, min_tokens, tokens, strings, .. } = &self.stops;
        let (strings_max, bytes_max) = Self::STOP_STRINGS_MAX;
        if *max_tokens == Some(0) {
            return refuse("max_tokens", "is 0, must be at least 1".into());
        }
        if max_tokens.is_some_and(|max| max < *min_tokens) {
            return refuse("min_tokens", format!("is {min_tokens}, above max_tokens"));
        }
        if tokens.len() > Self::STOP_TOKENS_MAX {
            let max = Self::STOP_TOKENS_MAX;
            return refuse("stop tokens", format!("are {}, at most {max}", tokens.len()));
        }
        if strings.len() > strings_max {
            let n = strings.len();
            return refuse("stop strings", format!("are {n}, at most {strings_max}"));
        }
        if strings.iter().any(|s| s.is_empty() || s.len() > bytes_max) {
            return refuse("stop strings", format!("must have 1 to {bytes_max} bytes each"));
        }
        Ok(())
    }
}

/// Why a request was not taken. Its text is the caller's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// There is nothing to continue.
    EmptyPrompt,
    /// The prompt leaves no room for an answer.
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens a sequence can have.
        context_max: usize,
    },
    /// A token id is not in the vocabulary.
    UnknownToken {
        /// The id.
        token: Token,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// A parameter is out of range.
    BadParameter {
        /// The parameter.
        name: &'static str,
        /// What it is, and what it may be.
        why: String,
    },
    /// As many requests wait as may.
    QueueFull {
        /// Requests waiting.
        waiting: usize,
    },
    /// There is no memory for as many tokens as it may have.
    NoMemory,
    /// The engine takes no more requests.
    Closed,
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RejectReason::EmptyPrompt => {
                f.write_str("the prompt is empty; send at least one token")
            }
            RejectReason::PromptTooLong { tokens, context_max } => write!(
                f,
                "the prompt has {tokens} tokens and the context {context_max}; shorten it so that \
                 at least one token can follow"
            ),
            RejectReason::UnknownToken { token, vocab } => {
                write!(f, "token {token} is not in the vocabulary of {vocab} tokens")
            }
            RejectReason::BadParameter { name, why } => write!(f, "{name} {why}"),
            RejectReason::QueueFull { waiting } => {
                write!(f, "{waiting} requests are waiting, as many as may; try again later")
            }
            RejectReason::NoMemory => f.write_str(
                "there is no memory for as many tokens; try again later, or ask for fewer",
            ),
            RejectReason::Closed => f.write_str("the engine takes no more requests"),
        }
    }
}

impl std::error::Error for RejectReason {}
