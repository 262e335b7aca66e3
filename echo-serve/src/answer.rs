//! The answers to one request's prompts: submitted together, their events gathered in one place.

use crate::App;
use crate::error::ApiError;
use crate::wire::Generate;
use axum::http::StatusCode;
use echo_core::{Token, Vocab};
use echo_runtime::{Event, FinishReason, Request, Ticket, Usage};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Answers on their way. Dropping it cancels those that have not ended.
pub(crate) struct Answers {
    events: UnboundedReceiver<(usize, Event)>,
    pub(crate) count: usize,
    _tickets: Vec<Ticket>,
}

impl Answers {
    /// Hands in all requests or none.
    pub(crate) fn submit(app: &App, requests: Vec<Request>) -> Result<Self, ApiError> {
        // As many events as tokens can wait here at most, so the engine never waits for a reader.
        let (sender, events) = unbounded_channel();
        let count = requests.len();
        let submit = |(index, request)| {
            let sender = sender.clone();
            // A reader that left drops the tickets too.
            app.handle.submit_to(request, move |event| drop(sender.send((index, event))))
        };
        let tickets = requests.into_iter().enumerate().map(submit).collect::<Result<_, _>>()?;
        Ok(Answers { events, count, _tickets: tickets })
    }

    /// The next event and the answer it belongs to; `None` if the engine is gone.
    pub(crate) async fn next(&mut self) -> Option<(usize, Event)> {
        self.events.recv().await
    }
}

/// Waits for answers to `requests` to be complete.
pub(crate) async fn complete(app: &App, requests: Vec<Request>) -> Result<Vec<Answer>, ApiError> {
    let mut answers = Answers::submit(app, requests)?;
    let mut parts: Vec<Answer> = (0..answers.count).map(|_| Answer::default()).collect();
    let gather = async {
        let mut ended = 0;
        while ended < parts.len() {
            let gone = || ApiError::internal("the engine stopped before the answer was complete");
            let (index, event) = answers.next().await.ok_or_else(gone)?;
            ended += usize::from(parts[index].push(event)?);
        }
        Ok(())
    };
    match tokio::time::timeout(app.options.total_deadline, gather).await {
        Ok(gathered) => gathered.map(|()| parts),
        Err(_) => Err(late(app)),
    }
}

/// The answer took longer than one may.
pub(crate) fn late(app: &App) -> ApiError {
    let limit = app.options.total_deadline.as_secs_f32();
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, format!("the answer took longer than {limit} s"))
}

/// A committed token with what was asked about it.
pub(crate) struct Said {
    pub(crate) token: Token,
    pub(crate) log_prob: f32,
    pub(crate) top: Vec<(Token, f32)>,
}

/// One answer, as far as it has come.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) said: Vec<Said>,
    pub(crate) finish: Option<&'static str>,
    pub(crate) usage: Usage,
}

impl Answer {
    /// Takes an event in; returns whether it was the last. A failure is an error, never a finish.
    pub(crate) fn push(&mut self, event: Event) -> Result<bool, ApiError> {
        match event {
            Event::Token { token, log_prob, top, text } => {
                self.text.push_str(&text);
                self.said.push(Said { token, log_prob, top });
                Ok(false)
            }
            Event::Finished { reason, text, usage } => {
                self.text.push_str(&text);
                self.usage = usage;
                self.finish = Some(match reason {
                    FinishReason::Stop => "stop",
                    FinishReason::Length => "length",
                    FinishReason::Cancelled => {
                        return Err(ApiError::internal("the answer was cancelled"));
                    }
                    FinishReason::Faulty => {
                        return Err(ApiError::internal("the model gave no number"));
                    }
                    FinishReason::Crashed => {
                        return Err(ApiError::internal("the engine failed"));
                    }
                    FinishReason::Device(error) => {
                        return Err(ApiError::internal(format!("the answer was cut: {error}")));
                    }
                });
                Ok(true)
            }
        }
    }

    /// The choice of a response: the whole text, or a `delta` of a stream.
    pub(crate) fn choice(&self, app: &App, body: &Generate, shape: Shape, index: usize) -> Value {
        let mut choice = Map::new();
        choice.insert("index".into(), json!(index));
        match shape {
            Shape::Chat => {
                let message = json!({"role": "assistant", "content": self.text});
                choice.insert("message".into(), message);
            }
            Shape::ChatDelta => {
                choice.insert("delta".into(), json!({"content": self.text}));
            }
            Shape::Completion => {
                choice.insert("text".into(), json!(self.text));
            }
        }
        let asked = self.said.iter().any(|said| !said.log_prob.is_nan());
        let vocab = app.codec.vocab();
        let logprobs = match shape {
            _ if !asked => Value::Null,
            Shape::Completion => self.completion_logprobs(vocab),
            Shape::Chat | Shape::ChatDelta => self.chat_logprobs(vocab),
        };
        choice.insert("logprobs".into(), logprobs);
        choice.insert("finish_reason".into(), json!(self.finish));
        if body.return_token_ids == Some(true) {
            let ids: Vec<Token> = self.said.iter().map(|said| said.token).collect();
            choice.insert("token_ids".into(), json!(ids));
        }
        if self.finish.is_some() {
            choice.insert("speculative_decoding".into(), record(&self.usage));
        }
        Value::Object(choice)
    }

    fn chat_logprobs(&self, vocab: &dyn Vocab) -> Value {
        let entry = |token: Token, log_prob: f32| {
            let bytes = vocab.bytes(token);
            let text = String::from_utf8_lossy(bytes);
            json!({"token": text, "logprob": finite(log_prob), "bytes": bytes})
        };
        let content = self.said.iter().map(|said| {
            let mut own = entry(said.token, said.log_prob);
            own["top_logprobs"] = said.top.iter().map(|&(t, p)| entry(t, p)).collect();
            own
        });
        json!({"content": content.collect::<Vec<_>>()})
    }

    fn completion_logprobs(&self, vocab: &dyn Vocab) -> Value {
        let text = |token: Token| String::from_utf8_lossy(vocab.bytes(token)).into_owned();
        let top = |said: &Said| -> Map<String, Value> {
            said.top.iter().map(|&(t, p)| (text(t), json!(finite(p)))).collect()
        };
        let said = &self.said;
        json!({
            "tokens": said.iter().map(|s| text(s.token)).collect::<Vec<_>>(),
            "token_logprobs": said.iter().map(|s| finite(s.log_prob)).collect::<Vec<_>>(),
            "top_logprobs": said.iter().map(top).collect::<Vec<_>>(),
        })
    }
}

/// What a choice looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Chat,
    ChatDelta,
    Completion,
}

/// JSON has no infinities; a forbidden token gets the lowest number instead, as elsewhere.
fn finite(log_prob: f32) -> f32 {
    log_prob.max(-9999.0)
}

/// How speculation went for one request.
fn record(usage: &Usage) -> Value {
    json!({
        "mean_acceptance_length": usage.mean_accepted_len(),
        "steps": usage.steps,
        "drafted": usage.drafted,
        "verified": usage.verified,
        "accepted": usage.accepted,
        "wasted": usage.verified - usage.accepted,
        "preemptions": usage.preemptions,
    })
}

/// The tokens of all answers; a prompt counts once for its `n` answers.
pub(crate) fn usage(usages: &[Usage], n: usize) -> Value {
    let prompt: usize = usages.iter().step_by(n).map(|usage| usage.prompt_tokens).sum();
    let cached: usize = usages.iter().step_by(n).map(|usage| usage.cached_tokens).sum();
    let output: usize = usages.iter().map(|usage| usage.output_tokens).sum();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
    })
}
