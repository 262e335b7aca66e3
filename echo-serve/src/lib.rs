//! An HTTP server with OpenAI's routes, on the engine's [`Handle`].
//!
//! It turns bodies into [`Request`](echo_runtime::Request)s and events into responses; all of
//! decoding stays in the engine. A connection that goes away cancels what it asked for within one
//! step.
//!
//! Deliberately not here: the choice of model and policies, files, environment variables.

mod answer;
mod auth;
mod body;
mod codec;
mod dry_run;
mod error;
mod id;
mod metrics;
mod options;
mod parse;
mod routes;
mod serve;
mod sse;
mod wire;

pub use codec::Codec;
pub use dry_run::requests;
pub use options::{OptionsError, ServeOptions};
pub use serve::serve;

use echo_runtime::Handle;
use std::sync::Arc;

/// What every route can reach.
#[derive(Clone)]
pub(crate) struct App {
    handle: Handle,
    codec: Arc<dyn Codec>,
    options: Arc<ServeOptions>,
}
