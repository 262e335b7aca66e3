//! `/v1/chat/completions` and `/v1/completions`.

use super::Envelope;
use crate::answer::{Answers, Shape, complete, usage};
use crate::error::ApiError;
use crate::wire::Generate;
use crate::{App, body, parse, sse};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

pub(crate) async fn chat(State(app): State<App>, body: Body) -> Result<Response, ApiError> {
    generate(app, body, true).await
}

pub(crate) async fn completion(State(app): State<App>, body: Body) -> Result<Response, ApiError> {
    generate(app, body, false).await
}

async fn generate(app: App, body: Body, chat: bool) -> Result<Response, ApiError> {
    let body: Generate = body::read(body, &app.options).await?;
    if !app.handle.is_open() {
        let message = "the server is shutting down; try another";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    // Templates and tokenizers take their time, and one that panics takes only this task along.
    let parsing = {
        let app = app.clone();
        move || parse::requests(&app, &body, chat).map(|requests| (requests, body))
    };
    let parsed = tokio::task::spawn_blocking(parsing).await;
    let broken = |_| ApiError::internal("the prompt could not be turned into tokens");
    let (requests, body) = parsed.map_err(broken)??;
    let envelope = Envelope::new(chat);
    if body.stream == Some(true) {
        let answers = Answers::submit(&app, requests)?;
        return Ok(sse::stream(app, body, envelope, answers));
    }
    let answers = complete(&app, requests).await?;
    let shape = if chat { Shape::Chat } else { Shape::Completion };
    let mut response = envelope.json(&app.options.model, false);
    let choices = answers.iter().enumerate();
    response["choices"] = choices.map(|(i, answer)| answer.choice(&app, &body, shape, i)).collect();
    let usages: Vec<_> = answers.iter().map(|answer| answer.usage).collect();
    response["usage"] = usage(&usages, body.n.unwrap_or(1));
    Ok(Json(response).into_response())
}
