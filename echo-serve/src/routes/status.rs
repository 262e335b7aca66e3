//! How the server is, and what it serves.

use crate::error::ApiError;
use crate::{App, metrics};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// Whether the engine's loop makes progress.
pub(crate) async fn health(State(app): State<App>) -> Result<&'static str, ApiError> {
    let silence = app.handle.snapshot().taken.elapsed();
    if silence > app.options.silence_max {
        let message = format!("the engine has not finished a step for {} s", silence.as_secs());
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    Ok("ok\n")
}

/// Whether requests are taken.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.handle.is_open() {
        return Ok("ok\n");
    }
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down"))
}

pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

pub(crate) async fn models(State(app): State<App>) -> Json<Value> {
    let limits = app.handle.limits();
    let context = limits.context_max.min(limits.kv_slots);
    let model = json!({
        "id": app.options.model, "object": "model", "owned_by": "echo", "max_model_len": context,
    });
    Json(json!({"object": "list", "data": [model]}))
}

pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, metrics::page(&app.handle.snapshot(), &app.options.model))
}
