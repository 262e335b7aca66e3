//! How long decoding will take, and what a quick bench leaves out where that is long.

use super::Plan;
use super::forward::Forward;
use super::rows::Row;
use echo_runtime::Request;
use std::time::Duration;

/// Time that decoding may take without a word of warning.
const PATIENCE: Duration = Duration::from_secs(20 * 60);
/// What a quick bench decodes for at most, as far as it can tell, and flags don't say otherwise.
const QUICK: Duration = Duration::from_secs(270);
/// Tokens a step of a row that verifies whatever it drafts, as a rule.
const ACCEPTED: f64 = 2.0;

/// What flags leave to a quick bench.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) prompts: bool,
    pub(super) max_tokens: bool,
    pub(super) repeat: bool,
}

/// Takes from `plan` what is `open`, half at a time, until it is quick or nothing is left to take;
/// says so.
pub(super) fn shorten(plan: &mut Plan, open: Open, requests: &[Request], forward: &[Forward]) {
    let is_long = |plan: &Plan| estimate(plan, requests, forward) > QUICK;
    if !is_long(plan) {
        return;
    }
    if open.repeat {
        plan.repeat = plan.repeat.div_ceil(2);
    }
    if open.prompts && is_long(plan) {
        plan.prompts = plan.prompts.div_ceil(2);
    }
    if open.max_tokens && is_long(plan) {
        plan.max_tokens = plan.max_tokens.div_ceil(2);
    }
    let Plan { prompts, max_tokens, repeat, .. } = plan;
    tell!(
        "note: on this device a quick bench is short (prompts: {prompts}, tokens of each: \
         {max_tokens}, runs of each row: {repeat}); --limit, --max-tokens and --repeat ask for more"
    );
}

/// Says so if decoding will take long, and which flags make it shorter.
pub(super) fn warn_if_long(plan: &Plan, requests: &[Request], forward: &[Forward]) {
    let estimate = estimate(plan, requests, forward);
    if estimate > PATIENCE {
        tell!(
            "note: decoding will take about {} minutes on this device; for a first look take \
             --limit 2 --concurrency 1 --max-tokens 16 --repeat 1 --rows auto",
            estimate.as_secs() / 60
        );
    }
}

/// About what all runs of `plan` take by the times of forwards; of `requests` those that it has.
fn estimate(plan: &Plan, requests: &[Request], forward: &[Forward]) -> Duration {
    let short = forward.first().map(|f| f.kv_len);
    let forward: Vec<&Forward> = forward.iter().filter(|f| Some(f.kv_len) == short).collect();
    let us = |rows: usize| {
        let at_least = forward.iter().find(|f| f.rows >= rows).or(forward.last());
        at_least.map_or(0.0, |f| f.median_us * rows as f64 / f.rows.min(rows) as f64)
    };
    let requests = &requests[..plan.prompts.min(requests.len())];
    let prompt = requests.iter().map(|r| r.prompt.len()).sum::<usize>() / requests.len().max(1);
    let widest = forward.iter().map(|f| f.rows).max().unwrap_or(1);
    let run = |row: &Row, concurrency: usize| {
        let n = requests.len().max(concurrency);
        let steps = (n * plan.max_tokens).div_ceil(concurrency.max(1)) as f64;
        let read_us = (n * prompt) as f64 * us(widest) / widest as f64;
        // Who weighs rows by their time takes few where they are dear.
        let decode_us = if row.nodes == 0 || row.solver == "goodput" {
            steps * us(concurrency)
        } else {
            steps / ACCEPTED * us(concurrency * (1 + row.nodes))
        };
        read_us + decode_us
    };
    // Every row has plain decoding beside it, which stands alone if there is no other.
    let plain = &plan.rows[0];
    let others = if plan.rows.len() > 1 { &plan.rows[1..] } else { &plan.rows };
    let pairs = |&c: &usize| others.iter().map(|row| run(row, c) + run(plain, c)).sum::<f64>();
    let us = plan.repeat as f64 * plan.concurrency.iter().map(pairs).sum::<f64>();
    Duration::from_secs_f64(us / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows;
    use crate::engine_args::EngineArgs;

    fn plan() -> Plan {
        let flags = EngineArgs::parsed([]);
        let rows = rows::select(&flags, &["chain-1".into(), "auto".into()], false).expect("known");
        let concurrency = vec![1, 2];
        Plan { rows, concurrency, prompts: 8, max_tokens: 40, repeat: 2, temperature: 0.0 }
    }

    /// Forwards that take `ms` a row.
    fn forward(ms: f64) -> Vec<Forward> {
        let of = |rows: usize| {
            let us = ms * 1e3 * rows as f64;
            Forward { rows, kv_len: 128, median_us: us, min_us: us, max_us: us }
        };
        [1, 2, 4].map(of).to_vec()
    }

    fn requests() -> Vec<Request> {
        vec![Request::new(vec![1; 20]); 8]
    }

    #[test]
    fn rows_and_prompts_are_counted_at_their_time() {
        // 8 prompts of 20 rows, 320 steps of one row; a chain of one has 160 of two.
        let ms = estimate(&plan(), &requests(), &forward(1.0)).as_millis();
        assert_eq!(ms, 2 * 2 * 4 * (160 + 320));
    }

    #[test]
    fn a_quick_bench_takes_less_where_it_would_take_long() {
        let all = Open { prompts: true, max_tokens: true, repeat: true };
        let shortened = |ms, open| {
            let mut plan = plan();
            shorten(&mut plan, open, &requests(), &forward(ms));
            (plan.repeat, plan.prompts, plan.max_tokens)
        };
        assert_eq!(shortened(30.0, all), (2, 8, 40));
        assert_eq!(shortened(60.0, all), (1, 8, 40));
        assert_eq!(shortened(130.0, all), (1, 4, 40));
        assert_eq!(shortened(300.0, all), (1, 4, 20));
        let asked = Open { repeat: false, max_tokens: false, ..all };
        assert_eq!(shortened(300.0, asked), (2, 4, 40));
    }
}
