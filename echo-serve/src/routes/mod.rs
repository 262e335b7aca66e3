//! The routes, and who answers them.

mod generate;
mod status;
mod tokens;

use crate::error::ApiError;
use crate::{App, auth, id};
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use serde_json::{Value, json};

/// All routes behind the guard.
pub(crate) fn router(app: App) -> Router {
    let guard = from_fn_with_state(app.clone(), auth::guard);
    Router::new()
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/version", get(status::version))
        .route("/metrics", get(status::metrics))
        .route("/v1/models", get(status::models))
        .route("/v1/chat/completions", post(generate::chat))
        .route("/v1/completions", post(generate::completion))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "the route is there for another method")
        })
        .layer(guard)
        .with_state(app)
}

/// What all parts of one response share.
#[derive(Clone, Copy)]
pub(crate) struct Envelope {
    id: u64,
    created: u64,
    pub(crate) chat: bool,
}

impl Envelope {
    pub(crate) fn new(chat: bool) -> Self {
        Envelope { id: id::random(), created: id::now_s(), chat }
    }

    /// The fields beside the choices, of a whole response or of a chunk of a stream.
    pub(crate) fn json(&self, model: &str, chunk: bool) -> Value {
        let (prefix, object) = match (self.chat, chunk) {
            (true, false) => ("chatcmpl", "chat.completion"),
            (true, true) => ("chatcmpl", "chat.completion.chunk"),
            (false, _) => ("cmpl", "text_completion"),
        };
        let id = format!("{prefix}-{:016x}", self.id);
        json!({"id": id, "object": object, "created": self.created, "model": model})
    }
}
