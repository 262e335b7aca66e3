//! The limits of a server, with defaults that hold on an open port.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How a server behaves towards its clients.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The model's name in requests and responses; other names are refused.
    pub model: String,
    /// The key every route but health asks for as `Authorization: Bearer KEY`; `None` for none.
    pub api_key: Option<String>,
    /// Whether other machines may connect although no key is set.
    pub insecure: bool,
    /// Bytes of a request's body at most.
    pub body_max: usize,
    /// Answers to one prompt at most.
    pub n_max: usize,
    /// Prompts of one completion request at most.
    pub prompts_max: usize,
    /// Connections at once; more wait in the system's backlog.
    pub connections_max: usize,
    /// Time a client has for the head of a request.
    pub head_deadline: Duration,
    /// Time a client has for the body of a request.
    pub body_deadline: Duration,
    /// Time a response to one request may take.
    pub total_deadline: Duration,
    /// Time a client may leave a streamed event unread.
    pub stall_deadline: Duration,
    /// Time running requests have once the server is told to stop.
    pub drain_deadline: Duration,
    /// Age of the engine's last sign of life at which `/health` reports failure.
    pub silence_max: Duration,
}

impl ServeOptions {
    /// Defaults for a model of this name.
    pub fn new(model: impl Into<String>) -> Self {
        ServeOptions {
            model: model.into(),
            api_key: None,
            insecure: false,
            body_max: 2 << 20,
            n_max: 8,
            prompts_max: 64,
            connections_max: 1024,
            head_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            total_deadline: Duration::from_secs(600),
            stall_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(30),
            silence_max: Duration::from_secs(60),
        }
    }

    /// Refuses to listen on `address` unprotected.
    pub fn check(&self, address: SocketAddr) -> Result<(), OptionsError> {
        if self.api_key.as_ref().is_some_and(String::is_empty) {
            return Err(OptionsError("the API key is empty; give one or leave it out".into()));
        }
        if address.ip().is_loopback() || self.api_key.is_some() || self.insecure {
            return Ok(());
        }
        Err(OptionsError(format!(
            "{address} can be reached from other machines; set an API key, or allow it with \
             --insecure"
        )))
    }
}

/// Options that must not be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError(String);

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OptionsError {}
