//! Numbers for Prometheus, under our names and those that vLLM's users have dashboards for.
//!
//! The engine's thread adds to counters and histograms that were registered once; nothing waits for
//! a device, and a page is written only when it is asked for.

mod requests;
mod steps;

pub(crate) use requests::Clock;

use echo_runtime::{ByDepth, Handle, Snapshot, StepStats};
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use requests::Requests;
use std::sync::Arc;
use steps::Steps;

/// Bounds in seconds, as vLLM has them.
const FIRST_S: [f64; 18] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0,
];
const BETWEEN_S: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const WHOLE_S: [f64; 15] =
    [0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0];
const STAGE_S: [f64; 14] =
    [1e-6, 5e-6, 1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.5];
const TOKENS: [f64; 14] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4, 2e4];
const COUNTS: [f64; 12] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Histograms with bounds of their own; the others count.
const BOUNDS: [(&str, &[f64]); 19] = [
    ("echo_queue_seconds", &FIRST_S),
    ("vllm:request_queue_time_seconds", &FIRST_S),
    ("echo_prefill_seconds", &FIRST_S),
    ("vllm:request_prefill_time_seconds", &FIRST_S),
    ("echo_decode_seconds", &WHOLE_S),
    ("vllm:request_decode_time_seconds", &WHOLE_S),
    ("echo_request_prompt_tokens", &TOKENS),
    ("vllm:request_prompt_tokens", &TOKENS),
    ("echo_request_output_tokens", &TOKENS),
    ("vllm:request_generation_tokens", &TOKENS),
    ("echo_time_to_first_token_seconds", &FIRST_S),
    ("vllm:time_to_first_token_seconds", &FIRST_S),
    ("echo_inter_token_latency_seconds", &BETWEEN_S),
    ("vllm:inter_token_latency_seconds", &BETWEEN_S),
    ("echo_time_per_output_token_seconds", &BETWEEN_S),
    ("vllm:request_time_per_output_token_seconds", &BETWEEN_S),
    ("echo_request_latency_seconds", &WHOLE_S),
    ("vllm:e2e_request_latency_seconds", &WHOLE_S),
    ("echo_stage_seconds", &STAGE_S),
];

/// Where a count stands in the account of all steps.
type Count = fn(&StepStats) -> usize;
/// Where counts by depth stand there.
type Counts = fn(&StepStats) -> [u64; ByDepth::DEPTHS];
/// Where a number of now stands.
type Now = fn(&Snapshot) -> f64;

/// A counter of all steps: its name, what it counts, and where that stands.
type Total = (&'static str, &'static str, Count);

const TOTALS: [Total; 16] = [
    ("echo_steps_total", "Steps that ran a forward", |t| t.steps),
    ("echo_prompt_rows_total", "Rows of prompt tokens, those read again included", |t| {
        t.context_rows
    }),
    ("echo_tokens_total", "Tokens committed", |t| t.committed),
    ("echo_drafted_nodes_total", "Nodes drafted", |t| t.drafted),
    ("echo_draft_levels_total", "Draft passes", |t| t.levels),
    ("echo_verified_nodes_total", "Drafted nodes verified", |t| t.verified),
    ("echo_accepted_nodes_total", "Drafted nodes whose token was committed", |t| t.accepted),
    ("echo_wasted_rows_total", "Drafted nodes verified in vain", StepStats::wasted),
    ("echo_budget_granted_rows_total", "Tree rows that budgets allowed", |t| t.granted),
    ("echo_budget_used_rows_total", "Tree rows that forwards had; none is padding", |t| t.used()),
    ("echo_policy_faults_total", "Plans that broke the rules", |t| t.policy_faults),
    ("echo_preemptions_total", "Sequences that lost their places", |t| t.preemptions),
    ("vllm:num_preemptions_total", "echo_preemptions_total", |t| t.preemptions),
    ("vllm:spec_decode_num_drafts_total", "Drafts verified", |t| t.drafts),
    ("vllm:spec_decode_num_draft_tokens_total", "echo_verified_nodes_total", |t| t.verified),
    ("vllm:spec_decode_num_accepted_tokens_total", "echo_accepted_nodes_total", |t| t.accepted),
];

/// A gauge of the engine: its name, what it shows, and where that stands.
type Level = (&'static str, &'static str, Now);

const LEVELS: [Level; 9] = [
    ("echo_requests_running", "Requests that hold a place", |s| s.n_live as f64),
    ("echo_requests_waiting", "Requests that wait for a place", |s| s.n_waiting as f64),
    ("echo_kv_slots", "KV slots in all", |s| s.kv.slots as f64),
    ("echo_kv_held_ratio", "Share of the KV slots that live sequences need", kv_held),
    ("echo_kv_idle_ratio", "Share of the KV slots that only the prefix cache keeps", |s| {
        s.kv.idle as f64 / s.kv.slots as f64
    }),
    (
        "echo_draft_promise_ratio",
        "Drafts accepted of those promised; calibrate again far from 1",
        |s| f64::from(s.learnt.chance),
    ),
    ("vllm:num_requests_running", "echo_requests_running", |s| s.n_live as f64),
    ("vllm:num_requests_waiting", "echo_requests_waiting", |s| s.n_waiting as f64),
    ("vllm:kv_cache_usage_perc", "echo_kv_held_ratio", kv_held),
];

fn kv_held(snapshot: &Snapshot) -> f64 {
    snapshot.kv.held as f64 / snapshot.kv.slots as f64
}

/// A counter by depth: its name, what it counts, the depth of its first entry, and where it stands.
type ByLevel = (&'static str, &'static str, usize, Counts);

const BY_LEVEL: [ByLevel; 5] = [
    ("echo_depth_drafted_total", "Nodes drafted", 1, |t| t.by_depth.drafted),
    ("echo_depth_verified_total", "Nodes verified", 1, |t| t.by_depth.verified),
    ("echo_depth_accepted_total", "Nodes accepted", 1, |t| t.by_depth.accepted),
    ("echo_gate_looks_total", "Steps in which the gate looked", 0, |t| t.gate_looks),
    (
        "echo_gate_fires_total",
        "Steps in which it closed or narrowed a node, or forwent its pass",
        0,
        |t| t.gate_fires,
    ),
];

/// All numbers of one server.
pub(crate) struct Metrics {
    page: PrometheusHandle,
    handle: Handle,
    totals: Vec<(Counter, Count)>,
    levels: Vec<(Gauge, Now)>,
    by_level: Vec<(Counter, usize, Counts)>,
    requests: Arc<Requests>,
    recorder: PrometheusRecorder,
}

impl Metrics {
    /// Registers all numbers and has the engine's steps counted.
    pub(crate) fn new(handle: &Handle, model: &str) -> Self {
        let builder = builder(model).expect("bounds are not empty");
        let recorder = builder.build_recorder();
        let depths = handle.limits().depth_max.min(ByDepth::DEPTHS);
        let registered = metrics::with_local_recorder(&recorder, || {
            let totals = TOTALS.map(|(name, what, at)| {
                describe_counter!(name, what);
                (counter!(name), at)
            });
            let levels = LEVELS.map(|(name, what, at)| {
                describe_gauge!(name, what);
                (gauge!(name), at)
            });
            let mut by_level = Vec::new();
            for (name, what, first, at) in BY_LEVEL {
                describe_counter!(name, what);
                for i in 0..depths {
                    by_level.push((counter!(name, "depth" => (i + first).to_string()), i, at));
                }
            }
            let alias = "vllm:spec_decode_num_accepted_tokens_per_pos_total";
            describe_counter!(alias, "echo_depth_accepted_total, counted from 0");
            for i in 0..depths {
                let at: Counts = |t| t.by_depth.accepted;
                by_level.push((counter!(alias, "position" => i.to_string()), i, at));
            }
            describe_counter!("echo_http_responses_total", "Responses by their status");
            let mut steps = Steps::new();
            handle.observe(move |engine| steps.note(engine.last_step()));
            (totals.to_vec(), levels.to_vec(), by_level, Arc::new(Requests::new()))
        });
        let (totals, levels, by_level, requests) = registered;
        let (page, handle) = (recorder.handle(), handle.clone());
        Metrics { page, handle, totals, levels, by_level, requests, recorder }
    }

    /// A clock for one answer.
    pub(crate) fn clock(&self) -> Clock {
        Clock::start(Arc::clone(&self.requests))
    }

    /// Counts a response by its status.
    pub(crate) fn responded(&self, status: u16) {
        metrics::with_local_recorder(&self.recorder, || {
            counter!("echo_http_responses_total", "code" => status.to_string()).increment(1);
        });
    }

    /// The page as it stands now.
    pub(crate) fn page(&self) -> String {
        let snapshot = self.handle.snapshot();
        for (counter, at) in &self.totals {
            counter.absolute(at(&snapshot.totals) as u64);
        }
        for (gauge, at) in &self.levels {
            gauge.set(at(&snapshot));
        }
        for (counter, i, at) in &self.by_level {
            counter.absolute(at(&snapshot.totals)[*i]);
        }
        self.page.render()
    }

    /// Sorts what was recorded into its buckets, so that memory stays flat while nobody asks.
    pub(crate) fn tidy(&self) {
        self.page.run_upkeep();
    }
}

fn builder(model: &str) -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new().set_buckets(&COUNTS)?;
    for (name, bounds) in BOUNDS {
        builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), bounds)?;
    }
    Ok(builder.add_global_label("model_name", model))
}
