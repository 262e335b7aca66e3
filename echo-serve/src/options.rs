//! The limits of a server, with defaults that hold on an open port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How a server behaves towards its clients.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The model's name in requests and responses; other names are refused.
    pub model: String,
    /// The keys every route but health asks for as `Authorization: Bearer KEY`; none for none. Each
    /// is a client of its own: places and the queue are shared evenly between them.
    pub api_keys: Vec<String>,
    /// Whether other machines may connect although no key is set.
    pub insecure: bool,
    /// Names, beside this machine's own, that a request may call the server by while no key is set.
    pub hosts: Vec<String>,
    /// Bytes of a request's body at most.
    pub body_max: usize,
    /// Answers to one prompt at most.
    pub n_max: usize,
    /// Prompts of one completion request at most.
    pub prompts_max: usize,
    /// Tokens of one answer at most; `None` for what the context holds.
    pub tokens_max: Option<usize>,
    /// Stop strings of one request at most.
    pub stops_max: usize,
    /// Entries of `logit_bias` at most.
    pub biases_max: usize,
    /// Log-probabilities that all answers on their way may list together.
    pub scores_max: usize,
    /// Connections at once; more wait in the system's backlog.
    pub connections_max: usize,
    /// Connections of one other machine at once; more are closed.
    pub peer_connections_max: usize,
    /// Time a client has for the head of a request, and between two requests.
    pub head_deadline: Duration,
    /// Time a client has for the body of a request.
    pub body_deadline: Duration,
    /// Time until an answer must have begun.
    pub queue_deadline: Duration,
    /// Time a response to one request may take.
    pub total_deadline: Duration,
    /// Time a client may leave what was sent unread.
    pub stall_deadline: Duration,
    /// Time running requests have once the server is told to end.
    pub drain_deadline: Duration,
    /// Time between `/ready` saying no and the first refusal, so that nobody is sent here in vain.
    pub ready_delay: Duration,
    /// Measured times of the target's forwards by rows, for the live page; may be empty.
    pub profile: Vec<(usize, Duration)>,
    /// Age of the engine's last sign of life at which `/health` reports failure.
    pub silence_max: Duration,
}

impl ServeOptions {
    /// Defaults for a model of this name.
    pub fn new(model: impl Into<String>) -> Self {
        ServeOptions {
            model: model.into(),
            api_keys: Vec::new(),
            insecure: false,
            hosts: Vec::new(),
            body_max: 2 << 20,
            n_max: 8,
            prompts_max: 64,
            tokens_max: None,
            stops_max: 4,
            biases_max: 1024,
            scores_max: 1 << 20,
            connections_max: 1024,
            peer_connections_max: 64,
            head_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(30),
            queue_deadline: Duration::from_secs(30),
            total_deadline: Duration::from_secs(600),
            stall_deadline: Duration::from_secs(30),
            drain_deadline: Duration::from_secs(30),
            ready_delay: Duration::from_millis(500),
            profile: Vec::new(),
            silence_max: Duration::from_secs(60),
        }
    }

    /// The same, with the address that a listener has among its names.
    pub(crate) fn called_by(&self, address: Option<SocketAddr>) -> Self {
        let name = address.map(|address| match address.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        let hosts = self.hosts.iter().cloned().chain(name).collect();
        ServeOptions { hosts, ..self.clone() }
    }

    /// Refuses to listen on `address` unprotected.
    pub fn check(&self, address: SocketAddr) -> Result<(), OptionsError> {
        if self.api_keys.iter().any(String::is_empty) {
            return Err(OptionsError("an API key is empty; give one or leave it out".into()));
        }
        if address.ip().is_loopback() || !self.api_keys.is_empty() || self.insecure {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_to_the_address_it_prints() {
        let mut options = ServeOptions::new("x");
        options.hosts.push("named".to_owned());
        for (address, name) in [("127.0.1.1:80", "127.0.1.1"), ("[fd00::1]:80", "[fd00::1]")] {
            let address = address.parse().expect("an address");
            assert_eq!(options.called_by(Some(address)).hosts, ["named", name]);
        }
    }
}
