//! `/v1/chat/completions` and `/v1/completions`.

use super::Envelope;
use crate::answer::{Answers, complete};
use crate::choice::{self, Shape, choice};
use crate::clients::ClientId;
use crate::error::ApiError;
use crate::phase::Ending;
use crate::wire::Generate;
use crate::{App, body, parse, pieces, sse};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use echo_runtime::Usage;
use serde_json::json;

pub(crate) async fn chat(
    State(app): State<App>,
    Extension(client): Extension<ClientId>,
    body: Body,
) -> Result<Response, ApiError> {
    generate(app, client, body, true).await
}

pub(crate) async fn completion(
    State(app): State<App>,
    Extension(client): Extension<ClientId>,
    body: Body,
) -> Result<Response, ApiError> {
    generate(app, client, body, false).await
}

async fn generate(
    app: App,
    client: ClientId,
    body: Body,
    chat: bool,
) -> Result<Response, ApiError> {
    let body: Generate = body::read(body, &app).await?;
    if *app.ending.borrow() >= Ending::Closed {
        let message = "the server is shutting down; try another";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    }
    let parsing = {
        let app = app.clone();
        move || parse::requests(app.setting(), client, &body, chat).map(|requests| (requests, body))
    };
    let (requests, body) = app.parsers.run(parsing).await?;
    let envelope = Envelope::new(chat);
    if body.stream == Some(true) {
        let answers = Answers::begin(&app, client, &body, requests).await?;
        return Ok(sse::stream(app, body, envelope, answers));
    }
    let (answers, room) = complete(&app, client, &body, requests).await?;
    let shape = if chat { Shape::Chat } else { Shape::Completion };
    let mut response = envelope.json(&app.options.model, false);
    let choices = answers.iter().enumerate();
    response["choices"] = choices.map(|(i, a)| choice(&app, &body, shape, i, a, 0)).collect();
    let usages: Vec<_> = answers.iter().map(|answer| answer.usage).collect();
    response["usage"] = choice::usage(&usages, body.n.unwrap_or(1));
    let mut all = Usage::default();
    for usage in &usages {
        all.add(usage);
    }
    response["metrics"] = json!({"speculative_decoding": choice::record(&all)});
    Ok(pieces::json(response.to_string(), room, app.options.total_deadline))
}
