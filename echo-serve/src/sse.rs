//! Streaming: one server-sent event per committed token.

use crate::App;
use crate::answer::{Answer, Answers, late};
use crate::choice::{self, Shape, choice, n_chars};
use crate::error::ApiError;
use crate::routes::Envelope;
use crate::wire::Generate;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use echo_runtime::Usage;
use serde_json::{Value, json};
use std::convert::Infallible;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Events that may wait for a slow reader before its time runs.
const EVENTS_MAX: usize = 64;

type Chunk = Result<String, Infallible>;

/// The response that carries `answers` as they come.
pub(crate) fn stream(app: App, body: Generate, envelope: Envelope, answers: Answers) -> Response {
    let (sender, chunks) = channel::<Chunk>(EVENTS_MAX);
    tokio::spawn(async move {
        let feed = Feed { app: &app, body: &body, envelope, sender: &sender };
        let feeding = feed.run(answers);
        // A reader that leaves closes the channel; that ends the feed and drops the answers, and
        // so cancels them even while they wait in the queue.
        let fed = tokio::select! {
            () = sender.closed() => return,
            fed = timeout(app.options.total_deadline, feeding) => fed,
        };
        // A failure is told, and never looks like an end.
        if let Err(Some(error)) = fed.unwrap_or_else(|_| Err(Some(late(&app)))) {
            let _ =
                timeout(app.options.stall_deadline, sender.send(Ok(event(&error.json())))).await;
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (kind, Body::from_stream(ReceiverStream::new(chunks))).into_response()
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}

struct Feed<'a> {
    app: &'a App,
    body: &'a Generate,
    envelope: Envelope,
    sender: &'a Sender<Chunk>,
}

impl Feed<'_> {
    /// Sends all events. The error is one to be told, or `None` if nobody listens.
    async fn run(&self, mut answers: Answers) -> Result<(), Option<ApiError>> {
        let options = self.body.stream_options.as_ref();
        let include_usage = options.is_some_and(|options| options.include_usage == Some(true));
        let mut usages = vec![Usage::default(); answers.count];
        let mut offsets = vec![0; answers.count];
        let shape = if self.envelope.chat { Shape::ChatDelta } else { Shape::Completion };
        if self.envelope.chat {
            for index in 0..answers.count {
                let delta = json!({"role": "assistant", "content": ""});
                let choice = json!({"index": index, "delta": delta, "finish_reason": null});
                self.send(event(&self.chunk(&json!([choice]), include_usage))).await?;
            }
        }
        let openings = std::mem::take(&mut answers.openings);
        for (index, opening) in openings.iter().enumerate().filter(|_| self.body.echoes()) {
            let choice = choice(self.app, self.body, shape, index, opening, 0);
            self.send(event(&self.chunk(&json!([choice]), include_usage))).await?;
            offsets[index] = self.n_chars(opening);
        }
        let mut ended = 0;
        while ended < answers.count {
            let (index, next) = answers.next().await.map_err(Some)?;
            let mut piece = Answer { is_mute: self.body.echoes_only(), ..Answer::default() };
            if piece.push(next).map_err(Some)? {
                ended += 1;
                usages[index] = piece.usage;
            }
            let tells = !piece.text.is_empty() || piece.finish.is_some();
            if tells || self.body.return_token_ids == Some(true) || self.body.wants_logprobs() {
                let choice = choice(self.app, self.body, shape, index, &piece, offsets[index]);
                self.send(event(&self.chunk(&json!([choice]), include_usage))).await?;
            }
            offsets[index] += self.n_chars(&piece);
        }
        if include_usage {
            let mut last = self.chunk(&json!([]), true);
            last["usage"] = choice::usage(&usages, self.body.n.unwrap_or(1));
            self.send(event(&last)).await?;
        }
        self.send("data: [DONE]\n\n".into()).await
    }

    /// Characters of what a piece said.
    fn n_chars(&self, piece: &Answer) -> usize {
        let vocab = self.app.codec.vocab();
        piece.said.iter().map(|said| n_chars(vocab.bytes(said.token))).sum()
    }

    fn chunk(&self, choices: &Value, include_usage: bool) -> Value {
        let mut chunk = self.envelope.json(&self.app.options.model, true);
        chunk["choices"] = choices.clone();
        if include_usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }

    /// Waits for a slow reader as long as one may stall.
    async fn send(&self, text: String) -> Result<(), Option<ApiError>> {
        match timeout(self.app.options.stall_deadline, self.sender.send(Ok(text))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(None),
        }
    }
}
