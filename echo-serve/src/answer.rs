//! The answers to one request's prompts: submitted together, their events gathered in one place.

use crate::App;
use crate::clients::{ClientId, Places};
use crate::error::ApiError;
use crate::phase::Ending;
use crate::wire::{Generate, Prompt};
use axum::http::StatusCode;
use echo_core::Token;
use echo_runtime::{Event, FinishReason, RejectReason, Request, Ticket, Usage};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Answers on their way. Dropping it cancels those that have not ended.
pub(crate) struct Answers {
    events: UnboundedReceiver<(usize, Event)>,
    /// The first event, taken to see that the answers have begun.
    first: Option<(usize, Event)>,
    ending: watch::Receiver<Ending>,
    pub(crate) count: usize,
    /// What each answer begins with.
    pub(crate) openings: Vec<Answer>,
    _tickets: Vec<Ticket>,
    _places: Places,
    /// Room for the log-probabilities, kept by whoever writes them down.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

impl Answers {
    /// Hands in all requests or none, and waits until the first answer has begun.
    pub(crate) async fn begin(
        app: &App,
        client: ClientId,
        body: &Generate,
        requests: Vec<Request>,
    ) -> Result<Self, ApiError> {
        let n = body.n.unwrap_or(1);
        let open = |(i, r): (usize, &Request)| Answer::open(app, body, i / n, &r.prompt);
        let openings = requests.iter().enumerate().map(open).collect();
        let mut answers = Answers::submit(app, client, requests)?;
        answers.openings = openings;
        let deadline = app.options.queue_deadline;
        let Ok(first) = tokio::time::timeout(deadline, answers.next()).await else {
            let message = format!("no answer could begin within {} s", deadline.as_secs_f32());
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
        };
        let first = first?;
        // What fails before it began is told by the status, to streams too.
        if let Event::Finished { reason, .. } = &first.1 {
            ended(reason)?;
        }
        answers.first = Some(first);
        Ok(answers)
    }

    fn submit(app: &App, client: ClientId, requests: Vec<Request>) -> Result<Self, ApiError> {
        let count = requests.len();
        if count > app.clients.share() {
            let share = app.clients.share();
            let message = format!("{count} answers at once are asked for, {share} are possible");
            return Err(ApiError::bad("n", message));
        }
        let places = app.clients.take(client, count)?;
        let room = Some(app.scores.take(&requests, app.handle.limits())?);
        // As many events as tokens can wait here at most, so the engine never waits for a reader.
        let (sender, events) = unbounded_channel();
        let submit = |(index, request)| {
            let sender = sender.clone();
            let mut clock = app.metrics.clock();
            app.handle.submit_to(request, move |event| {
                clock.note(&event);
                // A reader that left drops the tickets too.
                let _ = sender.send((index, event));
            })
        };
        let tickets = requests.into_iter().enumerate().map(submit).collect::<Result<_, _>>()?;
        let ending = app.ending.clone();
        Ok(Answers {
            events,
            first: None,
            ending,
            count,
            openings: Vec::new(),
            _tickets: tickets,
            _places: places,
            room,
        })
    }

    /// The next event and the answer it belongs to.
    pub(crate) async fn next(&mut self) -> Result<(usize, Event), ApiError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        let cut = self.ending.wait_for(|&ending| ending == Ending::Cut);
        tokio::select! {
            biased;
            event = self.events.recv() => event.ok_or_else(|| {
                ApiError::internal("the engine stopped before the answer was complete")
            }),
            _ = cut => {
                let message = "the server stopped before the answer was complete";
                Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message))
            }
        }
    }
}

/// Waits for answers to `requests` to be complete; the room is to be kept until they are written.
pub(crate) async fn complete(
    app: &App,
    client: ClientId,
    body: &Generate,
    requests: Vec<Request>,
) -> Result<(Vec<Answer>, Option<OwnedSemaphorePermit>), ApiError> {
    let mut answers = Answers::begin(app, client, body, requests).await?;
    let mut parts = std::mem::take(&mut answers.openings);
    let room = answers.room.take();
    let gather = async {
        let mut ended = 0;
        while ended < parts.len() {
            let (index, event) = answers.next().await?;
            ended += usize::from(parts[index].push(event)?);
        }
        Ok(())
    };
    match tokio::time::timeout(app.options.total_deadline, gather).await {
        Ok(gathered) => gathered.map(|()| (parts, room)),
        Err(_) => Err(late(app)),
    }
}

/// The answer took longer than one may.
pub(crate) fn late(app: &App) -> ApiError {
    let limit = app.options.total_deadline.as_secs_f32();
    ApiError::new(StatusCode::GATEWAY_TIMEOUT, format!("the answer took longer than {limit} s"))
}

/// A token of an answer, with what was asked about it.
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
    /// Whether what is decoded is left out.
    pub(crate) is_mute: bool,
}

impl Answer {
    /// The beginning of an answer to `prompt`, the body's prompt number `at`: nothing, or the
    /// prompt where it is to be echoed. Its scores, if asked for, come as events.
    fn open(app: &App, body: &Generate, at: usize, prompt: &[Token]) -> Self {
        if !body.echoes() {
            return Answer::default();
        }
        let vocab = app.codec.vocab();
        let known = if body.wants_logprobs() { 1 } else { prompt.len() };
        let said = |&token: &Token| Said { token, log_prob: f32::NAN, top: Vec::new() };
        let is_known = |token: &Token| (*token as usize) < vocab.len();
        let said = prompt.iter().filter(|token| is_known(token)).take(known).map(said).collect();
        let text = match &body.prompt {
            Some(Prompt::Text(text)) => text.clone(),
            Some(Prompt::Texts(texts)) => texts[at].clone(),
            _ => {
                let bytes =
                    prompt.iter().filter(|token| is_known(token)).flat_map(|&t| vocab.bytes(t));
                String::from_utf8_lossy(&bytes.copied().collect::<Vec<_>>()).into_owned()
            }
        };
        Answer { text, said, is_mute: body.echoes_only(), ..Answer::default() }
    }

    /// Takes an event in; returns whether it was the last.
    pub(crate) fn push(&mut self, event: Event) -> Result<bool, ApiError> {
        match event {
            Event::Token { .. } if self.is_mute => Ok(false),
            Event::Token { token, log_prob, top, text } => {
                self.text.push_str(&text);
                self.said.push(Said { token, log_prob, top });
                Ok(false)
            }
            Event::Prompt { token, log_prob, top } => {
                self.said.push(Said { token, log_prob, top });
                Ok(false)
            }
            Event::Finished { reason, text, usage } => {
                self.usage = *usage;
                if self.is_mute {
                    self.usage.output_tokens = 0;
                } else {
                    self.text.push_str(&text);
                }
                self.finish = Some(ended(&reason)?);
                Ok(true)
            }
        }
    }
}

/// What OpenAI calls such an end. A failure is an error, never an end.
fn ended(reason: &FinishReason) -> Result<&'static str, ApiError> {
    match reason {
        FinishReason::Stop => Ok("stop"),
        FinishReason::Length => Ok("length"),
        FinishReason::Cancelled => Err(ApiError::internal("the answer was cancelled")),
        FinishReason::Faulty => Err(ApiError::internal("the model gave no number")),
        FinishReason::NoMemory => Err(RejectReason::NoMemory.into()),
        FinishReason::Crashed => Err(ApiError::internal("the engine failed")),
        FinishReason::Device(error) => {
            Err(ApiError::internal(format!("the answer was cut: {error}")))
        }
    }
}
