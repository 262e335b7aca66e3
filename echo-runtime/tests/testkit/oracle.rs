//! Plain decoding as a short loop over the whole text: no KV cache, no batch, no tree, no shared
//! code with the engine beyond the sampling law.

use super::vocab::{END, SmallVocab};
use echo_core::sampling::{Scratch, sample_row};
use echo_core::{SampleSpec, SampleView, Token, TokenEdit, Verdicts, Vocab};
use echo_model::sim::SimLaw;
use echo_runtime::{FinishReason, Request};

/// A token of the prompt, the bits of its log-probability, and alternatives.
pub(crate) type Scored = (Token, u32, Vec<(Token, u32)>);

/// What a request must give.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Nothing where the prompt is not to be scored.
    pub(crate) scored: Vec<Scored>,
    pub(crate) tokens: Vec<Token>,
    /// Bits, so that NaN equals NaN.
    pub(crate) log_probs: Vec<u32>,
    pub(crate) top: Vec<Vec<(Token, u32)>>,
    pub(crate) text: String,
    pub(crate) reason: FinishReason,
}

/// Decodes `request` one token at a time. A row at one of the `spoilt` positions is faulty.
pub(crate) fn decode(
    law: SimLaw,
    request: &Request,
    context_max: usize,
    spoilt: &[usize],
) -> Answer {
    let n_prompt = request.prompt.len();
    let next = |tokens: &[Token]| next(law, request, tokens, n_prompt);
    Answer { scored: score(law, request), ..decode_by(request, context_max, spoilt, next) }
}

/// What `law` makes of each token of the prompt but the first.
fn score(law: SimLaw, request: &Request) -> Vec<Scored> {
    let of = |at: usize, alternatives: u32| {
        let (before, token) = (&request.prompt[..at], request.prompt[at]);
        let mut logits = vec![0.0; law.vocab];
        law.logits(law.digest(before), &mut logits);
        // Whatever is drawn has its log-probability by the unedited law.
        let sure = TokenEdit { token, bias: f32::MAX, repetition: 1.0, penalty: 0.0 };
        let logprobs = Some(alternatives);
        let spec = SampleSpec { edits: (0, 1), logprobs, ..SampleSpec::GREEDY };
        let verdicts = sampled(&logits, spec, &[sure]);
        assert_eq!(verdicts.token[0], token);
        (token, verdicts.log_prob[0].to_bits(), top_of(&verdicts))
    };
    let listed = request.prompt_logprobs.into_iter();
    listed.flat_map(|n| (1..request.prompt.len()).map(move |at| of(at, n))).collect()
}

fn top_of(verdicts: &Verdicts) -> Vec<(Token, u32)> {
    verdicts.top_of(0).iter().map(|&(token, log_prob)| (token, log_prob.to_bits())).collect()
}

/// Decodes `request` by whatever `next` says to the tokens so far.
pub(crate) fn decode_by(
    request: &Request,
    context_max: usize,
    spoilt: &[usize],
    next: impl Fn(&[Token]) -> Verdicts,
) -> Answer {
    let mut tokens = request.prompt.clone();
    let n_prompt = tokens.len();
    let mut bytes = Vec::new();
    let (mut log_probs, mut top) = (Vec::new(), Vec::new());
    let (reason, text_len) = loop {
        if spoilt.contains(&(tokens.len() - 1)) {
            break (FinishReason::Faulty, bytes.len());
        }
        let verdicts = next(&tokens);
        let token = verdicts.token[0];
        tokens.push(token);
        log_probs.push(verdicts.log_prob[0].to_bits());
        top.push(top_of(&verdicts));
        let n_out = tokens.len() - n_prompt;
        let stops = &request.stops;
        let may_stop = n_out > stops.min_tokens;
        let ends = (token == END && !stops.ignore_eos) || stops.tokens.contains(&token);
        if ends && may_stop {
            break (FinishReason::Stop, bytes.len());
        }
        let before = bytes.len();
        bytes.extend_from_slice(SmallVocab.bytes(token));
        if may_stop && let Some(cut) = stop_cut(&bytes, before, request) {
            break (FinishReason::Stop, cut);
        }
        if stops.max_tokens == Some(n_out) || tokens.len() == context_max {
            break (FinishReason::Length, bytes.len());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..text_len]).into_owned();
    let tokens = tokens.split_off(n_prompt);
    Answer { scored: Vec::new(), tokens, log_probs, top, text, reason }
}

/// Where the text is cut if a stop string is complete within the bytes after `before`.
fn stop_cut(bytes: &[u8], before: usize, request: &Request) -> Option<usize> {
    for end in before + 1..=bytes.len() {
        let ending = request.stops.strings.iter().filter(|s| bytes[..end].ends_with(s.as_bytes()));
        if let Some(longest) = ending.map(String::len).max() {
            return Some(if request.stops.include_stop { end } else { end - longest });
        }
    }
    None
}

/// The verdict after `tokens`, with every edit worked out anew from the text.
fn next(law: SimLaw, request: &Request, tokens: &[Token], n_prompt: usize) -> Verdicts {
    let mut logits = vec![0.0; law.vocab];
    law.logits(law.digest(tokens), &mut logits);
    let sampling = &request.sampling;
    let out = &tokens[n_prompt..];
    let edits: Vec<TokenEdit> = (0..law.vocab as Token)
        .map(|token| {
            let n_out = out.iter().filter(|&&t| t == token).count();
            let banned = out.len() < request.stops.min_tokens
                && (request.stops.tokens.contains(&token)
                    || (token == END && !request.stops.ignore_eos));
            let bias = sampling.logit_bias.iter().filter(|b| b.0 == token).map(|b| b.1).sum();
            let repetition =
                if tokens.contains(&token) { sampling.repetition_penalty } else { 1.0 };
            let present = if n_out > 0 { sampling.presence_penalty } else { 0.0 };
            let penalty = sampling.frequency_penalty * n_out as f32 + present;
            if banned {
                return TokenEdit { token, bias: f32::NEG_INFINITY, repetition: 1.0, penalty: 0.0 };
            }
            TokenEdit { token, bias, repetition, penalty }
        })
        .collect();
    let spec = SampleSpec {
        seed: sampling.seed,
        position: tokens.len() as u32,
        temperature: sampling.temperature,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        edits: (0, edits.len() as u32),
        path_edits: (0, 0),
        logprobs: sampling.logprobs,
    };
    sampled(&logits, spec, &edits)
}

/// One row through the law.
fn sampled(logits: &[f32], spec: SampleSpec, edits: &[TokenEdit]) -> Verdicts {
    let mut verdicts = Verdicts::with_capacity(1, 3);
    verdicts.reset(1);
    let sample = SampleView { specs: &[spec], edits };
    sample_row(logits, sample, 0, &mut Scratch::default(), &mut verdicts);
    verdicts
}
