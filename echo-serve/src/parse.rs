//! From a body to the engine's requests.

use crate::Setting;
use crate::clients::ClientId;
use crate::error::ApiError;
use crate::id;
use crate::wire::{Content, Generate, Prompt, Stop, Turn};
use axum::http::StatusCode;
use echo_core::{Sampling, Token};
use echo_model::template::Message;
use echo_runtime::{RejectReason, Request, Stops};
use serde_json::{Value, json};

/// Bytes of text per token of the context at which a prompt is refused before it is tokenised.
const PROMPT_BYTES_PER_TOKEN: usize = 16;
/// Tokens of a completion whose request names none, as OpenAI's.
const COMPLETION_TOKENS: usize = 16;

/// The requests a body asks for, prompt by prompt, `n` of each.
pub(crate) fn requests(
    app: Setting<'_>,
    client: ClientId,
    body: &Generate,
    chat: bool,
) -> Result<Vec<Request>, ApiError> {
    check_served(app, body, chat)?;
    let n = body.n.unwrap_or(1);
    if n == 0 || n > app.options.n_max {
        let max = app.options.n_max;
        return Err(ApiError::bad("n", format!("n is {n}, must be 1 to {max}")));
    }
    let prompt_logprobs = if body.echoes() { logprobs(body, chat)? } else { None };
    let (sampling, stops) = (sampling(app, body, chat)?, stops(app, body, chat)?);
    let draft_depth_max =
        if body.speculative == Some(false) { Some(0) } else { body.speculative_depth };
    let draft_weight = body.speculative_weight.unwrap_or(1.0);
    if !(draft_weight.is_finite() && draft_weight > 0.0) {
        let message = format!("speculative_weight is {draft_weight}, must be above 0");
        return Err(ApiError::bad("speculative_weight", message));
    }
    let prompts = if chat {
        vec![chat_prompt(app, body.messages.as_deref().unwrap_or_default())?]
    } else {
        prompts(app, body)?
    };
    // Before `n` copies are made of it.
    let context_max = app.handle.limits().context_max.min(app.handle.limits().kv_slots);
    if let Some(prompt) = prompts.iter().find(|prompt| prompt.len() >= context_max) {
        let error = RejectReason::PromptTooLong { tokens: prompt.len(), context_max };
        return Err(ApiError::bad(if chat { "messages" } else { "prompt" }, error.to_string()));
    }
    let mut requests = Vec::with_capacity(prompts.len() * n);
    for prompt in prompts {
        for nth in 0..n as u64 {
            let seed = sampling.seed.wrapping_add(nth);
            requests.push(Request {
                sampling: Sampling { seed, ..sampling.clone() },
                stops: stops.clone(),
                draft_depth_max,
                draft_nodes_max: body.speculative_nodes,
                draft_weight,
                prompt_logprobs,
                party: client.0 as u16,
                priority: body.priority.unwrap_or(0),
                ..Request::new(prompt.clone())
            });
        }
    }
    Ok(requests)
}

/// Refuses another model and what is known but not served, rather than ignoring it.
fn check_served(app: Setting<'_>, body: &Generate, chat: bool) -> Result<(), ApiError> {
    if let Some(model) = body.model.as_ref().filter(|model| **model != app.options.model) {
        let message = format!("the model {model:?} is not here; this is {:?}", app.options.model);
        return Err(ApiError {
            param: Some("model".into()),
            ..ApiError::new(StatusCode::NOT_FOUND, message)
        });
    }
    let format = body.response_format.as_ref();
    let is_there = |value: &Option<Value>| {
        let nothing = [json!(""), json!([]), json!({})];
        value.as_ref().is_some_and(|value| !nothing.contains(value))
    };
    let asked = [
        ("echo", chat && body.echo == Some(true)),
        ("suffix", body.suffix.is_some()),
        ("best_of", body.best_of.is_some_and(|best_of| best_of != body.n.unwrap_or(1))),
        ("tools", is_there(&body.tools)),
        ("functions", is_there(&body.functions)),
        ("guided_json", is_there(&body.guided_json)),
        ("guided_regex", is_there(&body.guided_regex)),
        ("guided_choice", is_there(&body.guided_choice)),
        ("guided_grammar", is_there(&body.guided_grammar)),
        ("structured_outputs", is_there(&body.structured_outputs)),
        ("grammar", is_there(&body.grammar)),
        ("json_schema", is_there(&body.json_schema)),
        ("response_format", format.is_some_and(|format| format.kind.as_deref() != Some("text"))),
    ];
    match asked.into_iter().find(|(_, asked)| *asked) {
        Some((name, _)) => Err(ApiError::bad(name, format!("{name} is not served; leave it out"))),
        None => Ok(()),
    }
}

fn sampling(app: Setting<'_>, body: &Generate, chat: bool) -> Result<Sampling, ApiError> {
    let usual = Sampling::default();
    let top_k = match body.top_k.unwrap_or(0) {
        -1 => 0,
        k => u32::try_from(k).map_err(|_| ApiError::bad("top_k", "top_k must be -1 or more"))?,
    };
    let (biases, max) = (body.logit_bias.iter().flatten().count(), app.options.biases_max);
    if biases > max {
        let message = format!("logit_bias has {biases} entries, at most {max}");
        return Err(ApiError::bad("logit_bias", message));
    }
    let mut logit_bias = Vec::new();
    for (token, &bias) in body.logit_bias.iter().flatten() {
        let id = token.parse::<Token>().map_err(|_| {
            ApiError::bad("logit_bias", format!("logit_bias names {token:?}, which is no token id"))
        })?;
        if !(-100.0..=100.0).contains(&bias) {
            let message = format!("logit_bias of {id} is {bias}, must be -100 to 100");
            return Err(ApiError::bad("logit_bias", message));
        }
        logit_bias.push((id, bias));
    }
    Ok(Sampling {
        temperature: body.temperature.unwrap_or(usual.temperature),
        top_k,
        top_p: body.top_p.unwrap_or(usual.top_p),
        min_p: body.min_p.unwrap_or(usual.min_p),
        repetition_penalty: body.repetition_penalty.unwrap_or(usual.repetition_penalty),
        presence_penalty: body.presence_penalty.unwrap_or(usual.presence_penalty),
        frequency_penalty: body.frequency_penalty.unwrap_or(usual.frequency_penalty),
        logit_bias,
        seed: body.seed.map_or_else(id::random, |seed| seed as u64),
        logprobs: logprobs(body, chat)?.map(|n| listed(app, n, chat)).transpose()?,
    })
}

/// So many alternatives, if they are not too many.
fn listed(app: Setting<'_>, n: u32, chat: bool) -> Result<u32, ApiError> {
    let (name, max) =
        (if chat { "top_logprobs" } else { "logprobs" }, app.handle.limits().logprobs_max);
    if n as usize > max {
        return Err(ApiError::bad(name, format!("{name} is {n}, at most {max}")));
    }
    Ok(n)
}

fn logprobs(body: &Generate, chat: bool) -> Result<Option<u32>, ApiError> {
    let refuse = |what| Err(ApiError::bad("logprobs", format!("logprobs must be {what}")));
    match (&body.logprobs, chat) {
        (None, _) | (Some(Value::Bool(false)), true) => Ok(None),
        (Some(Value::Bool(true)), true) => Ok(Some(body.top_logprobs.unwrap_or(0))),
        (Some(_), true) => refuse("true or false"),
        (Some(count), false) => match count.as_u64().and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Ok(Some(n)),
            None => refuse("a count"),
        },
    }
}

fn stops(app: Setting<'_>, body: &Generate, chat: bool) -> Result<Stops, ApiError> {
    let strings = match &body.stop {
        None => Vec::new(),
        Some(Stop::One(one)) => vec![one.clone()],
        Some(Stop::Many(many)) => many.clone(),
    };
    let (n_stops, stops_max) = (strings.len(), app.options.stops_max);
    if n_stops > stops_max {
        let message = format!("stop holds {n_stops} texts, at most {stops_max}");
        return Err(ApiError::bad("stop", message));
    }
    Ok(Stops {
        max_tokens: max_tokens(app, body, chat)?,
        min_tokens: body.min_tokens.unwrap_or(0),
        tokens: body.stop_token_ids.clone().unwrap_or_default(),
        strings,
        include_stop: body.include_stop_str_in_output == Some(true),
        ignore_eos: body.ignore_eos == Some(true),
    })
}

/// Tokens of an answer at most.
fn max_tokens(app: Setting<'_>, body: &Generate, chat: bool) -> Result<Option<usize>, ApiError> {
    let (name, wanted) = match body.max_completion_tokens {
        Some(wanted) => ("max_completion_tokens", Some(wanted)),
        None => ("max_tokens", body.max_tokens),
    };
    let tokens_max = app.options.tokens_max;
    let most = tokens_max.unwrap_or(usize::MAX);
    match wanted {
        // Whoever wants only the prompt back still has it read to its end.
        Some(_) if body.echoes_only() => Ok(Some(1)),
        Some(0) => Err(ApiError::bad(name, format!("{name} is 0, must be at least 1"))),
        Some(n) if n > most => Err(ApiError::bad(name, format!("{name} is {n}, at most {most}"))),
        Some(n) => Ok(Some(n)),
        None if chat => Ok(tokens_max),
        None => Ok(Some(COMPLETION_TOKENS.min(most))),
    }
}

/// The tokens of a text or of a chat.
pub(crate) fn text(
    app: Setting<'_>,
    prompt: Option<&String>,
    messages: Option<&[Turn]>,
) -> Result<Vec<Token>, ApiError> {
    match (prompt, messages) {
        (Some(text), None) => encode(app, text),
        (None, Some(turns)) => chat_prompt(app, turns),
        _ => Err(ApiError::bad("prompt", "either prompt or messages must be there")),
    }
}

fn encode(app: Setting<'_>, text: &str) -> Result<Vec<Token>, ApiError> {
    check_size(app, "prompt", text.len())?;
    app.codec.encode(text).map_err(|why| ApiError::bad("prompt", why))
}

fn chat_prompt(app: Setting<'_>, turns: &[Turn]) -> Result<Vec<Token>, ApiError> {
    if turns.is_empty() {
        return Err(ApiError::bad("messages", "messages must hold at least one message"));
    }
    let messages = turns.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let bytes = messages.iter().map(|message| message.role.len() + message.content.len());
    check_size(app, "messages", bytes.sum())?;
    app.codec.encode_chat(&messages).map_err(|why| ApiError::bad("messages", why))
}

fn message(turn: &Turn) -> Result<Message, ApiError> {
    let content = match &turn.content {
        None => String::new(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => {
            let texts = parts.iter().map(|part| part.text.as_deref());
            texts
                .collect::<Option<String>>()
                .ok_or_else(|| ApiError::bad("messages", "a message has a part that is no text"))?
        }
    };
    Ok(Message::new(turn.role.clone(), content))
}

fn prompts(app: Setting<'_>, body: &Generate) -> Result<Vec<Vec<Token>>, ApiError> {
    let max = app.options.prompts_max;
    let count = match &body.prompt {
        None => return Err(ApiError::bad("prompt", "prompt is missing")),
        Some(Prompt::Text(_) | Prompt::Tokens(_)) => 1,
        Some(Prompt::Texts(texts)) => texts.len(),
        Some(Prompt::TokenLists(lists)) => lists.len(),
    };
    if count == 0 || count > max {
        return Err(ApiError::bad("prompt", format!("{count} prompts, must be 1 to {max}")));
    }
    match body.prompt.as_ref().expect("it was just seen") {
        Prompt::Text(text) => Ok(vec![encode(app, text)?]),
        Prompt::Tokens(tokens) => Ok(vec![tokens.clone()]),
        Prompt::Texts(texts) => texts.iter().map(|text| encode(app, text)).collect(),
        Prompt::TokenLists(lists) => Ok(lists.clone()),
    }
}

/// Refuses a text that can't fit, before time is spent on its tokens.
fn check_size(app: Setting<'_>, param: &'static str, bytes: usize) -> Result<(), ApiError> {
    let bytes_max = app.handle.limits().context_max * PROMPT_BYTES_PER_TOKEN;
    if bytes > bytes_max {
        let message = format!("{param} has {bytes} bytes, more than {bytes_max} can't fit");
        return Err(ApiError::bad(param, message));
    }
    Ok(())
}
