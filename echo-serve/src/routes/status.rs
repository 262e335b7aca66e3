//! How the server is, and what it serves.

use crate::App;
use crate::error::ApiError;
use crate::phase::Ending;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use echo_runtime::RejectReason;
use serde_json::{Value, json};

/// Whether the engine's loop makes progress.
pub(crate) async fn health(State(app): State<App>) -> Result<&'static str, ApiError> {
    let silence = app.handle.snapshot().taken.elapsed();
    if silence > app.options.silence_max {
        let message = format!("the engine has not finished a step for {} s", silence.as_secs());
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    if *app.ending.borrow() < Ending::Closed && !app.handle.is_open() {
        let message = "the engine stopped; restart the server";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    Ok("ok\n")
}

/// Whether requests are taken.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if *app.ending.borrow() > Ending::NotYet {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"));
    }
    if !app.handle.is_open() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the engine stopped"));
    }
    if !app.handle.has_memory() {
        return Err(RejectReason::NoMemory.into());
    }
    health(State(app)).await
}

pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

pub(crate) async fn models(State(app): State<App>) -> Json<Value> {
    let limits = app.handle.limits();
    let context = limits.context_max.min(limits.kv_slots);
    let model = json!({
        "id": app.options.model, "object": "model", "created": app.since, "owned_by": "echo",
        "max_model_len": context,
    });
    Json(json!({"object": "list", "data": [model]}))
}

pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, app.metrics.page())
}

/// What the live page draws.
pub(crate) async fn live(State(app): State<App>) -> Json<Value> {
    let mut live = app.live.json(app.codec.vocab());
    live["model"] = json!(app.options.model);
    Json(live)
}

/// The live page, which asks nobody but this server for anything.
pub(crate) async fn page() -> impl IntoResponse {
    const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
                          script-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                          frame-ancestors 'none'";
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
    ];
    (head, include_str!("../page.html"))
}

/// The description of all routes.
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("../openapi.json"))
}
