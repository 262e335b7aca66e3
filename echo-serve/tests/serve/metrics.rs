//! What `/metrics` tells, and who is told.

use crate::testkit::{Answer, Server, Setup, get};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Names that must be there, with the kind of each.
const NAMES: [(&str, &[&str]); 3] = [
    (
        "counter",
        &[
            "echo_steps_total",
            "echo_tokens_total",
            "echo_prompt_rows_total",
            "echo_drafted_nodes_total",
            "echo_draft_levels_total",
            "echo_verified_nodes_total",
            "echo_accepted_nodes_total",
            "echo_wasted_rows_total",
            "echo_budget_granted_rows_total",
            "echo_budget_used_rows_total",
            "echo_policy_faults_total",
            "echo_preemptions_total",
            "echo_gate_looks_total",
            "echo_gate_fires_total",
            "echo_depth_drafted_total",
            "echo_depth_verified_total",
            "echo_depth_accepted_total",
            "echo_prompt_tokens_total",
            "echo_cached_tokens_total",
            "echo_output_tokens_total",
            "echo_requests_ended_total",
            "echo_http_responses_total",
            "vllm:num_preemptions_total",
            "vllm:prompt_tokens_total",
            "vllm:generation_tokens_total",
            "vllm:request_success_total",
            "vllm:prefix_cache_queries_total",
            "vllm:prefix_cache_hits_total",
            "vllm:spec_decode_num_drafts_total",
            "vllm:spec_decode_num_draft_tokens_total",
            "vllm:spec_decode_num_accepted_tokens_total",
            "vllm:spec_decode_num_accepted_tokens_per_pos_total",
        ],
    ),
    (
        "gauge",
        &[
            "echo_requests_running",
            "echo_requests_waiting",
            "echo_kv_slots",
            "echo_kv_held_ratio",
            "echo_kv_idle_ratio",
            "echo_draft_promise_ratio",
            "vllm:num_requests_running",
            "vllm:num_requests_waiting",
            "vllm:kv_cache_usage_perc",
        ],
    ),
    (
        "histogram",
        &[
            "echo_stage_seconds",
            "echo_step_rows",
            "echo_step_nodes",
            "echo_step_wasted_rows",
            "echo_accepted_length",
            "echo_request_acceptance_length",
            "echo_request_nodes",
        ],
    ),
];

/// Histograms under two names.
const PAIRS: [(&str, &str); 9] = [
    ("echo_queue_seconds", "vllm:request_queue_time_seconds"),
    ("echo_prefill_seconds", "vllm:request_prefill_time_seconds"),
    ("echo_time_to_first_token_seconds", "vllm:time_to_first_token_seconds"),
    ("echo_inter_token_latency_seconds", "vllm:inter_token_latency_seconds"),
    ("echo_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds"),
    ("echo_decode_seconds", "vllm:request_decode_time_seconds"),
    ("echo_request_latency_seconds", "vllm:e2e_request_latency_seconds"),
    ("echo_request_prompt_tokens", "vllm:request_prompt_tokens"),
    ("echo_request_output_tokens", "vllm:request_generation_tokens"),
];

/// The samples of a page, summed over their labels but for buckets.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = name.split('{').next().expect("a name");
        *samples.entry(name.to_owned()).or_insert(0.0) += value.parse::<f64>().expect("a number");
    }
    samples
}

#[test]
fn every_number_is_there_and_they_agree() {
    let server = Server::start(Setup { seqs: 2, step: Duration::from_millis(4), ..Setup::usual() });
    let n = 6;
    let body = json!({"prompt": "x".repeat(40), "max_tokens": 20, "n": n, "ignore_eos": true});
    assert_eq!(server.complete(&body).status, 200);
    let page = server.get("/metrics").body;
    for (kind, names) in NAMES {
        for name in names {
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{name}, a {kind}");
        }
    }
    let samples = samples(&page);
    let of = |name: &str| samples.get(name).copied().unwrap_or_else(|| panic!("no {name}"));
    for (ours, theirs) in PAIRS {
        for part in ["sum", "count"] {
            let (a, b) = (of(&format!("{ours}_{part}")), of(&format!("{theirs}_{part}")));
            assert!((a - b).abs() < 1e-9, "{ours}: {a} and {b}");
        }
        // Gaps apart, one for each answer.
        let count = of(&format!("{ours}_count")) as usize;
        assert_eq!(count, if ours.contains("inter_token") { n * 19 } else { n }, "{ours}");
    }
    let sum = |name: &str| of(&format!("{name}_sum"));
    // Two had a place at once; the others waited for them to end.
    let (queue, whole) = (sum("echo_queue_seconds"), sum("echo_request_latency_seconds"));
    assert!(queue > 0.02 && queue < whole, "{queue} of {whole}");
    let first = sum("echo_time_to_first_token_seconds");
    let parts = queue + sum("echo_prefill_seconds");
    assert!((first - parts).abs() < 1e-6, "{first} is not {parts}");
    assert!(whole >= first + sum("echo_decode_seconds"));
    assert_eq!(sum("echo_request_output_tokens") as usize, n * 20);
    assert_eq!(of("vllm:prefix_cache_queries_total") as usize, n * 40);
    assert!(of("vllm:prefix_cache_hits_total") > 0.0, "one prompt, six times");
    assert!(of("echo_budget_granted_rows_total") >= of("echo_budget_used_rows_total"));
    let used = of("echo_verified_nodes_total");
    assert_eq!(of("echo_wasted_rows_total"), used - of("echo_accepted_nodes_total"));
}

#[test]
fn those_who_watch_need_no_key_and_see_no_more() {
    let mut setup = Setup { has_watch: true, ..Setup::usual() };
    setup.options.api_keys = vec!["secret".to_owned()];
    let mut server = Server::start(setup);
    let address = server.watch.expect("it is watched");
    let ask = |request: &str| {
        let mut socket = TcpStream::connect(address).expect("it listens");
        let mut wire = Vec::new();
        socket.write_all(request.as_bytes()).expect("it reads");
        let _ = socket.read_to_end(&mut wire);
        Answer::new(&wire)
    };
    assert_eq!(server.get("/metrics").status, 401);
    for (path, status) in [("/metrics", 200), ("/health", 200), ("/ready", 200)] {
        assert_eq!(ask(&get(path)).status, status, "{path}");
    }
    for (_, path) in echo_serve::routes() {
        if !["/metrics", "/health", "/ready"].contains(&path) {
            assert_eq!(ask(&get(path)).status, 404, "{path}");
        }
    }
    let page = ask(&get("/metrics")).body;
    assert!(page.contains("echo_requests_running"), "{page}");
    // A page of another site is no watcher.
    assert_eq!(ask(&get("/metrics").replace("localhost", "evil.example")).status, 403);
    server.go(echo_serve::Phase::Drain);
    server.wait();
    assert!(TcpStream::connect(address).is_err(), "it listens for ever");
}
