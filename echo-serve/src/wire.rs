//! The bodies of requests, field by field as clients send them. Unknown fields are ignored.

use echo_core::Token;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A chat or completion request. A field that is absent or null takes its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Generate {
    pub(crate) model: Option<String>,
    pub(crate) messages: Option<Vec<Turn>>,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) max_completion_tokens: Option<usize>,
    pub(crate) min_tokens: Option<usize>,
    pub(crate) n: Option<usize>,
    pub(crate) seed: Option<i64>,
    pub(crate) stop: Option<Stop>,
    pub(crate) stop_token_ids: Option<Vec<Token>>,
    pub(crate) include_stop_str_in_output: Option<bool>,
    pub(crate) ignore_eos: Option<bool>,
    pub(crate) temperature: Option<f32>,
    pub(crate) top_p: Option<f32>,
    pub(crate) top_k: Option<i64>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repetition_penalty: Option<f32>,
    pub(crate) presence_penalty: Option<f32>,
    pub(crate) frequency_penalty: Option<f32>,
    pub(crate) logit_bias: Option<BTreeMap<String, f32>>,
    /// A flag in chats, a count in completions.
    pub(crate) logprobs: Option<Value>,
    pub(crate) top_logprobs: Option<u32>,
    pub(crate) return_token_ids: Option<bool>,
    /// Whether the request may be drafted for; the text is the same either way.
    pub(crate) speculative: Option<bool>,
    /// Deepest drafted level.
    pub(crate) speculative_depth: Option<usize>,
    /// Drafted nodes verified in one step at most.
    pub(crate) speculative_nodes: Option<usize>,
    /// Its share of the drafted rows where they are short, against 1 for others.
    pub(crate) speculative_weight: Option<f32>,
    /// Lower goes first.
    pub(crate) priority: Option<i32>,
    /// Whether a completion begins with its prompt.
    pub(crate) echo: Option<bool>,
    // Known, but not served.
    pub(crate) suffix: Option<String>,
    pub(crate) best_of: Option<usize>,
    pub(crate) tools: Option<Value>,
    pub(crate) functions: Option<Value>,
    pub(crate) guided_json: Option<Value>,
    pub(crate) guided_regex: Option<Value>,
    pub(crate) guided_choice: Option<Value>,
    pub(crate) guided_grammar: Option<Value>,
    pub(crate) structured_outputs: Option<Value>,
    pub(crate) grammar: Option<Value>,
    pub(crate) json_schema: Option<Value>,
    pub(crate) response_format: Option<Format>,
}

impl Generate {
    /// Whether a completion begins with its prompt.
    pub(crate) fn echoes(&self) -> bool {
        self.echo == Some(true)
    }

    /// Whether it is the prompt and nothing else.
    pub(crate) fn echoes_only(&self) -> bool {
        self.echoes() && self.max_tokens == Some(0)
    }

    /// Whether log-probabilities are asked for.
    pub(crate) fn wants_logprobs(&self) -> bool {
        !matches!(self.logprobs, None | Some(Value::Bool(false)))
    }
}

/// What is to be continued.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a text, a list of texts, a list of tokens or a list of these"
)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<Token>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<Token>>),
}

/// One or several stop strings.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a text or a list of texts")]
pub(crate) enum Stop {
    One(String),
    Many(Vec<String>),
}

/// How an answer is to be shaped; only `text` is served.
#[derive(Debug, Deserialize)]
pub(crate) struct Format {
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
}

/// What a stream carries besides the text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

/// One turn of a chat.
#[derive(Debug, Deserialize)]
pub(crate) struct Turn {
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) content: Option<Content>,
}

/// What is said in a turn.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a text or a list of parts")]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A piece of a turn; only text is served.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(default)]
    pub(crate) text: Option<String>,
}

/// A body of `/tokenize`.
#[derive(Debug, Deserialize)]
pub(crate) struct Tokenize {
    #[serde(default)]
    pub(crate) prompt: Option<String>,
    #[serde(default)]
    pub(crate) messages: Option<Vec<Turn>>,
}

/// A body of `/detokenize`.
#[derive(Debug, Deserialize)]
pub(crate) struct Detokenize {
    pub(crate) tokens: Vec<Token>,
}
