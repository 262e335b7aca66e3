//! `/tokenize` and `/detokenize`.

use crate::error::ApiError;
use crate::wire::{Detokenize, Tokenize};
use crate::{App, body, parse};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::{Value, json};

pub(crate) async fn tokenize(State(app): State<App>, body: Body) -> Result<Json<Value>, ApiError> {
    let body: Tokenize = body::read(body, &app).await?;
    let encoding = {
        let app = app.clone();
        move || parse::text(app.setting(), body.prompt.as_ref(), body.messages.as_deref())
    };
    let tokens = app.parsers.run(encoding).await?;
    let context = app.handle.limits().context_max;
    Ok(Json(json!({"count": tokens.len(), "max_model_len": context, "tokens": tokens})))
}

pub(crate) async fn detokenize(
    State(app): State<App>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let body: Detokenize = body::read(body, &app).await?;
    let vocab = app.codec.vocab();
    let (count, max) = (body.tokens.len(), app.handle.limits().context_max);
    if count > max {
        return Err(ApiError::bad("tokens", format!("{count} tokens, at most {max} at once")));
    }
    if let Some(token) = body.tokens.iter().find(|&&token| token as usize >= vocab.len()) {
        let message = format!("token {token} is not in the vocabulary of {} tokens", vocab.len());
        return Err(ApiError::bad("tokens", message));
    }
    let bytes: Vec<u8> = body.tokens.iter().flat_map(|&t| vocab.bytes(t)).copied().collect();
    Ok(Json(json!({"prompt": String::from_utf8_lossy(&bytes)})))
}
