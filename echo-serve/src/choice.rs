//! An answer, or a piece of one, as the choice of a response.

use crate::App;
use crate::answer::{Answer, Said};
use crate::wire::Generate;
use echo_core::{Token, Vocab};
use echo_runtime::{ByDepth, Usage};
use serde_json::{Map, Value, json};

/// What a choice looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Chat,
    ChatDelta,
    Completion,
}

/// The choice for `answer`, the whole text or a piece of a stream. `offset` is the number of
/// characters that the pieces before it had.
pub(crate) fn choice(
    app: &App,
    body: &Generate,
    shape: Shape,
    index: usize,
    answer: &Answer,
    offset: usize,
) -> Value {
    let mut choice = Map::new();
    choice.insert("index".into(), json!(index));
    match shape {
        Shape::Chat => {
            let message = json!({"role": "assistant", "content": answer.text});
            choice.insert("message".into(), message);
        }
        Shape::ChatDelta => {
            let delta =
                if answer.text.is_empty() { json!({}) } else { json!({"content": answer.text}) };
            choice.insert("delta".into(), delta);
        }
        Shape::Completion => {
            choice.insert("text".into(), json!(answer.text));
        }
    }
    let vocab = app.codec.vocab();
    let logprobs = match shape {
        _ if !body.wants_logprobs() => Value::Null,
        Shape::Completion => completion_logprobs(vocab, &answer.said, offset),
        Shape::Chat | Shape::ChatDelta => chat_logprobs(vocab, &answer.said),
    };
    choice.insert("logprobs".into(), logprobs);
    choice.insert("finish_reason".into(), json!(answer.finish));
    if body.return_token_ids == Some(true) {
        let ids: Vec<Token> = answer.said.iter().map(|said| said.token).collect();
        choice.insert("token_ids".into(), json!(ids));
    }
    if answer.finish.is_some() {
        choice.insert("speculative_decoding".into(), record(&answer.usage));
    }
    Value::Object(choice)
}

fn chat_logprobs(vocab: &dyn Vocab, said: &[Said]) -> Value {
    let entry = |token: Token, log_prob: f32| {
        let bytes = vocab.bytes(token);
        json!({"token": text(vocab, token), "logprob": finite(log_prob), "bytes": bytes})
    };
    let content = said.iter().map(|said| {
        let mut own = entry(said.token, said.log_prob);
        own["top_logprobs"] = said.top.iter().map(|&(t, p)| entry(t, p)).collect();
        own
    });
    json!({"content": content.collect::<Vec<_>>()})
}

/// Parallel lists, as completions have them. The first token of a prompt follows nothing, so
/// nothing is known of it.
fn completion_logprobs(vocab: &dyn Vocab, said: &[Said], mut offset: usize) -> Value {
    let top = |said: &Said| -> Value {
        let top = said.top.iter().map(|&(t, p)| (text(vocab, t), json!(finite(p))));
        if said.log_prob.is_nan() { Value::Null } else { Value::Object(top.collect()) }
    };
    let own = |said: &Said| (!said.log_prob.is_nan()).then(|| finite(said.log_prob));
    let mut offsets = Vec::with_capacity(said.len());
    for said in said {
        offsets.push(offset);
        offset += n_chars(vocab.bytes(said.token));
    }
    json!({
        "tokens": said.iter().map(|s| text(vocab, s.token)).collect::<Vec<_>>(),
        "token_logprobs": said.iter().map(own).collect::<Vec<_>>(),
        "top_logprobs": said.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

fn text(vocab: &dyn Vocab, token: Token) -> String {
    String::from_utf8_lossy(vocab.bytes(token)).into_owned()
}

/// Characters that begin in `bytes`.
pub(crate) fn n_chars(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&byte| byte & 0xc0 != 0x80).count()
}

/// JSON has no infinities; a forbidden token gets the lowest number instead, as elsewhere.
fn finite(log_prob: f32) -> f32 {
    log_prob.max(-9999.0)
}

/// How speculation went, for one answer or several together.
pub(crate) fn record(usage: &Usage) -> Value {
    let ByDepth { drafted, verified, accepted } = usage.by_depth;
    let depths = drafted.iter().rposition(|&n| n > 0).map_or(0, |last| last + 1);
    let by_depth = (0..depths).map(|d| {
        json!({
            "depth": d + 1, "drafted": drafted[d], "verified": verified[d], "accepted": accepted[d],
        })
    });
    // `accepted[d]` counts the steps that accepted more than `d`.
    let more = |d: usize| if d == 0 { usage.steps as u64 } else { accepted[d - 1] };
    let histogram =
        (0..=depths).map(|d| (d, more(d).saturating_sub(accepted.get(d).copied().unwrap_or(0))));
    let histogram: Map<String, Value> =
        histogram.filter(|&(_, n)| n > 0).map(|(d, n)| (d.to_string(), json!(n))).collect();
    let rate =
        if usage.verified == 0 { 0.0 } else { usage.accepted as f64 / usage.verified as f64 };
    json!({
        "mean_acceptance_length": usage.mean_accepted_len(),
        "draft_acceptance_rate": rate,
        "steps": usage.steps,
        "drafted": usage.drafted,
        "verified": usage.verified,
        "accepted": usage.accepted,
        "wasted": usage.verified - usage.accepted,
        "acceptance_histogram": histogram,
        "per_depth": by_depth.collect::<Vec<_>>(),
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
