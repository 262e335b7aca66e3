//! An HTTP server with OpenAI's routes, on the engine's [`Handle`].
//!
//! It turns bodies into [`Request`](echo_runtime::Request)s and events into responses; all of
//! decoding stays in the engine. A connection that goes away cancels what it asked for within one
//! step.
//!
//! Deliberately not here: the choice of model and policies, files, environment variables, signals.

mod answer;
mod auth;
mod body;
mod choice;
mod clients;
mod codec;
mod dry_run;
mod error;
mod id;
mod live;
mod metrics;
mod options;
mod parse;
mod parsers;
mod patience;
mod peers;
mod phase;
mod pieces;
mod routes;
mod scores;
mod serve;
mod sse;
mod wire;

pub use codec::Codec;
pub use dry_run::requests;
pub use options::{OptionsError, ServeOptions};
pub use parsers::PARSERS;
pub use phase::Phase;
pub use routes::routes;
pub use serve::{Listeners, serve};

use clients::Clients;
use echo_runtime::Handle;
use live::Live;
use metrics::Metrics;
use parsers::Parsers;
use scores::Scores;
use std::sync::Arc;
use tokio::sync::watch;

/// What a body is read against.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    handle: &'a Handle,
    codec: &'a dyn Codec,
    options: &'a ServeOptions,
}

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct App {
    handle: Handle,
    codec: Arc<dyn Codec>,
    options: Arc<ServeOptions>,
    /// Digests of the keys, by client.
    keys: Arc<[[u8; 32]]>,
    clients: Arc<Clients>,
    parsers: Arc<Parsers>,
    scores: Arc<Scores>,
    ending: watch::Receiver<phase::Ending>,
    metrics: Arc<Metrics>,
    live: Live,
    /// When it began to serve, in seconds since 1970.
    since: u64,
}

impl App {
    /// What bodies are read against.
    fn setting(&self) -> Setting<'_> {
        Setting { handle: &self.handle, codec: self.codec.as_ref(), options: &self.options }
    }
}
