//! How long answers take, as the engine's thread sees their tokens go out.

use echo_runtime::{Event, FinishReason};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use std::sync::Arc;
use std::time::Instant;

/// A histogram under our name and under vLLM's.
struct Pair(Histogram, Histogram);

impl Pair {
    fn new(ours: &'static str, theirs: &'static str, what: &'static str) -> Self {
        describe_histogram!(ours, what);
        describe_histogram!(theirs, ours);
        Pair(histogram!(ours), histogram!(theirs))
    }

    fn record(&self, seconds: f64) {
        self.0.record(seconds);
        self.1.record(seconds);
    }
}

/// What is known of all answers together.
pub(super) struct Requests {
    first: Pair,
    between: Pair,
    mean: Pair,
    whole: Pair,
    accepted: Histogram,
    prompt_tokens: [Counter; 2],
    output_tokens: [Counter; 2],
    cached_tokens: Counter,
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
        let ended = |reason: &'static str| {
            [
                counter!("echo_requests_ended_total", "reason" => reason),
                counter!("vllm:request_success_total", "finished_reason" => reason),
            ]
        };
        Requests {
            first: Pair::new(
                "echo_time_to_first_token_seconds",
                "vllm:time_to_first_token_seconds",
                "From the arrival of a request to its first token",
            ),
            between: Pair::new(
                "echo_inter_token_latency_seconds",
                "vllm:inter_token_latency_seconds",
                "Between two tokens of an answer; those of one step come together",
            ),
            mean: Pair::new(
                "echo_time_per_output_token_seconds",
                "vllm:request_time_per_output_token_seconds",
                "Mean time between two tokens of an answer",
            ),
            whole: Pair::new(
                "echo_request_latency_seconds",
                "vllm:e2e_request_latency_seconds",
                "From the arrival of a request to its end",
            ),
            accepted: histogram!("echo_request_acceptance_length"),
            prompt_tokens: [
                counter!("echo_prompt_tokens_total"),
                counter!("vllm:prompt_tokens_total"),
            ],
            output_tokens: [
                counter!("echo_output_tokens_total"),
                counter!("vllm:generation_tokens_total"),
            ],
            cached_tokens: counter!("echo_cached_tokens_total"),
            ended: REASONS.map(ended),
        }
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
        let (now, requests) = (Instant::now(), &self.requests);
        let seconds = |from: Instant, to: Instant| (to - from).as_secs_f64();
        match event {
            Event::Token { .. } => {
                if self.first.is_some() {
                    requests.between.record(seconds(self.last, now));
                } else {
                    self.first = Some(now);
                    requests.first.record(seconds(self.start, now));
                }
                self.last = now;
            }
            Event::Prompt { .. } => {}
            Event::Finished { reason, usage, .. } => {
                let ended = match reason {
                    FinishReason::Stop => 0,
                    FinishReason::Length => 1,
                    FinishReason::Cancelled => 2,
                    FinishReason::Faulty | FinishReason::Device(_) | FinishReason::Crashed => 3,
                };
                for counter in &requests.ended[ended] {
                    counter.increment(1);
                }
                requests.whole.record(seconds(self.start, now));
                let add = |counters: &[Counter], n: usize| {
                    for counter in counters {
                        counter.increment(n as u64);
                    }
                };
                add(&requests.prompt_tokens, usage.prompt_tokens);
                add(&requests.output_tokens, usage.output_tokens);
                requests.cached_tokens.increment(usage.cached_tokens as u64);
                if let Some(first) = self.first.filter(|_| usage.output_tokens > 1) {
                    let gaps = (usage.output_tokens - 1) as f64;
                    requests.mean.record(seconds(first, self.last) / gaps);
                }
                if usage.steps > 0 {
                    requests.accepted.record(usage.mean_accepted_len());
                }
            }
        }
    }
}
