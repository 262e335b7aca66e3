//! Numbers for Prometheus, under our names and those that vLLM's users have dashboards for.

use echo_runtime::{Snapshot, Stage};
use std::fmt::Write;

/// The metrics page.
pub(crate) fn page(snapshot: &Snapshot, model: &str) -> String {
    let totals = &snapshot.totals;
    let counters = [
        ("echo_steps_total", totals.steps),
        ("echo_prompt_rows_total", totals.context_rows),
        ("echo_tokens_total", totals.committed),
        ("echo_drafted_total", totals.drafted),
        ("echo_draft_levels_total", totals.levels),
        ("echo_verified_total", totals.verified),
        ("echo_accepted_total", totals.accepted),
        ("echo_wasted_rows_total", totals.wasted()),
        ("echo_policy_faults_total", totals.policy_faults),
        ("vllm:generation_tokens_total", totals.committed),
        ("vllm:spec_decode_num_draft_tokens_total", totals.verified),
        ("vllm:spec_decode_num_accepted_tokens_total", totals.accepted),
    ];
    let gauges = [
        ("echo_requests_running", snapshot.n_live),
        ("echo_requests_waiting", snapshot.n_waiting),
        ("echo_step_rows", snapshot.last.rows()),
        ("vllm:num_requests_running", snapshot.n_live),
        ("vllm:num_requests_waiting", snapshot.n_waiting),
    ];
    // What a label may not hold as it is.
    let model = model.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut page = String::new();
    let all = counters.map(|(name, n)| (name, "counter", n));
    for (name, kind, n) in all.into_iter().chain(gauges.map(|(name, n)| (name, "gauge", n))) {
        let _ = writeln!(page, "# TYPE {name} {kind}\n{name}{{model_name=\"{model}\"}} {n}");
    }
    let name = "echo_stage_seconds_total";
    let _ = writeln!(page, "# TYPE {name} counter");
    for stage in Stage::ALL {
        let (label, time) = (stage.name(), totals.time[stage as usize].as_secs_f64());
        let _ = writeln!(page, "{name}{{model_name=\"{model}\",stage=\"{label}\"}} {time}");
    }
    page
}
