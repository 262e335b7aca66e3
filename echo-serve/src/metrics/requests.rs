//! How long answers take, as the engine's thread sees their tokens go out.

use echo_runtime::{Event, FinishReason, Usage};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use std::sync::Arc;
use std::time::Instant;

/// What is measured of each answer.
#[derive(Clone, Copy)]
enum Of {
    Queue,
    Prefill,
    First,
    Between,
    Mean,
    Decode,
    Whole,
    PromptLen,
    OutputLen,
}

/// A histogram: what it measures, its name, vLLM's name for it, and what it says, in the order of
/// [`Of`].
type Pair = (Of, &'static str, &'static str, &'static str);

const PAIRS: [Pair; 9] = [
    (
        Of::Queue,
        "echo_queue_seconds",
        "vllm:request_queue_time_seconds",
        "From the arrival of a request to its place in the batch",
    ),
    (
        Of::Prefill,
        "echo_prefill_seconds",
        "vllm:request_prefill_time_seconds",
        "From a request's place in the batch to its first token",
    ),
    (
        Of::First,
        "echo_time_to_first_token_seconds",
        "vllm:time_to_first_token_seconds",
        "From the arrival of a request to its first token",
    ),
    (
        Of::Between,
        "echo_inter_token_latency_seconds",
        "vllm:inter_token_latency_seconds",
        "Between two tokens of an answer; those of one step come together",
    ),
    (
        Of::Mean,
        "echo_time_per_output_token_seconds",
        "vllm:request_time_per_output_token_seconds",
        "Mean time between two tokens of an answer",
    ),
    (
        Of::Decode,
        "echo_decode_seconds",
        "vllm:request_decode_time_seconds",
        "From the first token of an answer to its last",
    ),
    (
        Of::Whole,
        "echo_request_latency_seconds",
        "vllm:e2e_request_latency_seconds",
        "From the arrival of a request to its end",
    ),
    (
        Of::PromptLen,
        "echo_request_prompt_tokens",
        "vllm:request_prompt_tokens",
        "Tokens of one prompt",
    ),
    (
        Of::OutputLen,
        "echo_request_output_tokens",
        "vllm:request_generation_tokens",
        "Tokens of one answer",
    ),
];

/// What is known of all answers together.
pub(super) struct Requests {
    pairs: [[Histogram; 2]; PAIRS.len()],
    accepted: Histogram,
    nodes: Histogram,
    prompt_tokens: [Counter; 3],
    output_tokens: [Counter; 2],
    cached_tokens: [Counter; 2],
    ended: [[Counter; 2]; REASONS.len()],
}

const REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

impl Requests {
    /// Registers with the recorder at hand.
    pub(super) fn new() -> Self {
        let described = [
            ("echo_prompt_tokens_total", "Prompt tokens of requests that ended"),
            ("echo_cached_tokens_total", "Of these, tokens that the prefix cache knew"),
            ("echo_output_tokens_total", "Tokens of answers that ended"),
            ("echo_requests_ended_total", "Answers by the reason of their end"),
        ];
        for (name, what) in described {
            describe_counter!(name, what);
        }
        describe_histogram!("echo_request_acceptance_length", "Tokens per forward of one answer");
        describe_histogram!("echo_request_nodes", "Nodes drafted per forward of one answer");
        let pairs = PAIRS.map(|(_, ours, theirs, what)| {
            describe_histogram!(ours, what);
            describe_histogram!(theirs, ours);
            [histogram!(ours), histogram!(theirs)]
        });
        let ended = |reason: &'static str| {
            [
                counter!("echo_requests_ended_total", "reason" => reason),
                counter!("vllm:request_success_total", "finished_reason" => reason),
            ]
        };
        Requests {
            pairs,
            accepted: histogram!("echo_request_acceptance_length"),
            nodes: histogram!("echo_request_nodes"),
            prompt_tokens: [
                counter!("echo_prompt_tokens_total"),
                counter!("vllm:prompt_tokens_total"),
                counter!("vllm:prefix_cache_queries_total"),
            ],
            output_tokens: [
                counter!("echo_output_tokens_total"),
                counter!("vllm:generation_tokens_total"),
            ],
            cached_tokens: [
                counter!("echo_cached_tokens_total"),
                counter!("vllm:prefix_cache_hits_total"),
            ],
            ended: REASONS.map(ended),
        }
    }

    fn record(&self, of: Of, value: f64) {
        for histogram in &self.pairs[of as usize] {
            histogram.record(value);
        }
    }

    /// Notes the time between two moments; none if they lie the other way round.
    fn time(&self, of: Of, from: Instant, to: Instant) {
        self.record(of, to.saturating_duration_since(from).as_secs_f64());
    }
}

/// Times one answer.
pub(crate) struct Clock {
    requests: Arc<Requests>,
    start: Instant,
    first: Option<Instant>,
    last: Instant,
}

impl Clock {
    pub(super) fn start(requests: Arc<Requests>) -> Self {
        let start = Instant::now();
        Clock { requests, start, first: None, last: start }
    }

    /// Notes that an event goes out.
    pub(crate) fn note(&mut self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::Token { .. } => {
                if self.first.is_some() {
                    self.requests.time(Of::Between, self.last, now);
                } else {
                    self.first = Some(now);
                    self.requests.time(Of::First, self.start, now);
                }
                self.last = now;
            }
            Event::Prompt { .. } => {}
            Event::Finished { reason, usage, .. } => self.end(reason, usage, now),
        }
    }

    fn end(&self, reason: &FinishReason, usage: &Usage, now: Instant) {
        let requests = &self.requests;
        let ended = match reason {
            FinishReason::Stop => 0,
            FinishReason::Length => 1,
            FinishReason::Cancelled => 2,
            FinishReason::Faulty
            | FinishReason::NoMemory
            | FinishReason::Device(_)
            | FinishReason::Crashed => 3,
        };
        let add = |counters: &[Counter], n: usize| {
            for counter in counters {
                counter.increment(n as u64);
            }
        };
        add(&requests.ended[ended], 1);
        add(&requests.prompt_tokens, usage.prompt_tokens);
        add(&requests.output_tokens, usage.output_tokens);
        add(&requests.cached_tokens, usage.cached_tokens);
        requests.time(Of::Whole, self.start, now);
        requests.record(Of::PromptLen, usage.prompt_tokens as f64);
        requests.record(Of::OutputLen, usage.output_tokens as f64);
        let Some(seated) = usage.seated else { return };
        requests.time(Of::Queue, self.start, seated);
        let Some(first) = self.first else { return };
        requests.time(Of::Prefill, seated, first);
        requests.time(Of::Decode, first, self.last);
        if usage.output_tokens > 1 {
            let mean = (self.last - first).as_secs_f64() / (usage.output_tokens - 1) as f64;
            requests.record(Of::Mean, mean);
        }
        if usage.steps > 0 {
            requests.accepted.record(usage.mean_accepted_len());
            requests.nodes.record(usage.drafted as f64 / usage.steps as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(PAIRS.iter().enumerate().all(|(at, (of, ..))| *of as usize == at));
    }
}
