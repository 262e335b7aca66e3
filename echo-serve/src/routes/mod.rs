//! The routes, and who answers them.

mod generate;
mod status;
mod tokens;

use crate::error::ApiError;
use crate::{App, auth, id};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};

/// A route: its method, its path, and what answers it.
type Route = (&'static str, &'static str, fn() -> MethodRouter<App>);

/// All routes there are.
const ROUTES: [Route; 12] = [
    ("get", "/", || get(status::page)),
    ("get", "/live", || get(status::live)),
    ("get", "/health", || get(status::health)),
    ("get", "/ready", || get(status::ready)),
    ("get", "/version", || get(status::version)),
    ("get", "/metrics", || get(status::metrics)),
    ("get", "/openapi.json", || get(status::openapi)),
    ("get", "/v1/models", || get(status::models)),
    ("post", "/v1/chat/completions", || post(generate::chat)),
    ("post", "/v1/completions", || post(generate::completion)),
    ("post", "/tokenize", || post(tokens::tokenize)),
    ("post", "/detokenize", || post(tokens::detokenize)),
];

/// Methods and paths of all routes.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.into_iter().map(|(method, path, _)| (method, path))
}

/// Routes for those who only watch.
const WATCH: [&str; 3] = ["/health", "/ready", "/metrics"];

/// All routes behind the guard.
pub(crate) fn router(app: App) -> Router {
    let count = from_fn_with_state(app.clone(), count);
    guarded(ROUTES.into_iter(), app).layer(count)
}

/// The routes for those who only watch; what they ask is not counted.
pub(crate) fn watch(app: App) -> Router {
    guarded(ROUTES.into_iter().filter(|(_, path, _)| WATCH.contains(path)), app)
}

fn guarded(routes: impl Iterator<Item = Route>, app: App) -> Router {
    let guard = from_fn_with_state(app.clone(), auth::guard);
    routes
        .map(|(_, path, answer)| (path, answer()))
        .fold(Router::new(), |router, (path, answer)| router.route(path, answer))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "the route is there for another method")
        })
        .layer(guard)
        .with_state(app)
}

/// Counts responses by their status.
async fn count(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    app.metrics.responded(response.status().as_u16());
    response
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
