//! What a row reached at one concurrency, and the tables of it.

use super::rows::Row;
use super::sample::Sample;
use super::{Plan, table};
use echo_core::Token;
use echo_runtime::{Stage, StepStats};
use serde::Serialize;

/// One row at one concurrency.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) about: &'static str,
    pub(crate) concurrency: usize,
    /// Output tokens per second of each repetition, in the order they ran.
    pub(crate) tokens_per_s: Vec<f64>,
    /// Milliseconds per output token after the first, over all requests.
    pub(crate) tpot_ms_p50: f64,
    pub(crate) tpot_ms_p95: f64,
    pub(crate) accepted_len: f64,
    pub(crate) rows_per_step: f64,
    pub(crate) wasted_rows: f64,
    pub(crate) levels_per_step: f64,
    /// Share of the time by stage.
    pub(crate) share: Vec<(&'static str, f64)>,
    /// Share of requests whose tokens are those of plain decoding.
    pub(crate) exact_match: f64,
    /// Median of the ratios to plain decoding, pair by pair, and the least and the most of them.
    pub(crate) speedup: f64,
    pub(crate) speedup_spread: (f64, f64),
    /// The median of the steps in which every place decoded and no prompt was read.
    pub(crate) full_speedup: f64,
    /// The super-tree of one step, drawn; empty if that step drafted nothing.
    #[serde(skip)]
    pub(crate) tree: String,
}

impl Decoded {
    /// Sums up the runs of `row`, each with that of plain decoding beside it; `reference` is what
    /// plain decoding said first.
    pub(super) fn of(
        row: &Row,
        concurrency: usize,
        pairs: &[[&Sample; 2]],
        reference: &[Vec<Token>],
    ) -> Self {
        let samples: Vec<&Sample> = pairs.iter().map(|pair| pair[0]).collect();
        let mut stats = StepStats::default();
        for sample in &samples {
            stats.add(&sample.stats);
        }
        let mut tpot: Vec<f64> = samples.iter().flat_map(|s| s.tpot_ms.iter().copied()).collect();
        tpot.sort_by(f64::total_cmp);
        let ratios = |speed: fn(&Sample) -> f64| {
            let mut ratios: Vec<f64> =
                pairs.iter().map(|[own, plain]| speed(own) / speed(plain)).collect();
            ratios.sort_by(f64::total_cmp);
            ratios
        };
        let (ratio, full) = (ratios(Sample::tokens_per_s), ratios(Sample::full_tokens_per_s));
        let equal =
            |sample: &&Sample| sample.tokens.iter().zip(reference).filter(|(a, b)| a == b).count();
        let n = samples.len() * reference.len();
        let steps = stats.steps.max(1) as f64;
        let total = stats.total_time().as_secs_f64();
        Decoded {
            name: row.name.clone(),
            about: row.about,
            concurrency,
            tokens_per_s: samples.iter().map(|sample| sample.tokens_per_s()).collect(),
            tpot_ms_p50: percentile(&tpot, 0.5),
            tpot_ms_p95: percentile(&tpot, 0.95),
            accepted_len: stats.mean_accepted_len(),
            rows_per_step: (stats.seqs + stats.verified) as f64 / steps,
            wasted_rows: stats.wasted() as f64 / steps,
            levels_per_step: stats.levels as f64 / steps,
            share: Stage::ALL
                .map(|stage| (stage.name(), stats.time[stage as usize].as_secs_f64() / total))
                .to_vec(),
            exact_match: samples.iter().map(equal).sum::<usize>() as f64 / n as f64,
            speedup: percentile(&ratio, 0.5),
            speedup_spread: (percentile(&ratio, 0.0), percentile(&ratio, 1.0)),
            full_speedup: percentile(&full, 0.5),
            tree: samples.iter().map(|s| s.tree.clone()).next_back().unwrap_or_default(),
        }
    }

    /// The ratio while full; a dash where the places were never all taken.
    pub(super) fn full_cell(&self) -> String {
        let ratio = self.full_speedup;
        if ratio.is_nan() { "–".into() } else { format!("{ratio:.2}×") }
    }
}

/// The median; the lower middle of an even number.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// Of sorted values; NaN of none.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let last = sorted.len().wrapping_sub(1);
    sorted.get((last as f64 * p) as usize).copied().unwrap_or(f64::NAN)
}

/// Prints a table per concurrency.
pub(crate) fn print(decoded: &[Decoded], plan: &Plan) {
    for &concurrency in &plan.concurrency {
        println!(
            "\ndecode: {concurrency} concurrent requests, {} tokens each, temperature {}\n",
            plan.max_tokens, plan.temperature
        );
        let of = |d: &&Decoded| d.concurrency == concurrency;
        let best = |kind: &str| {
            let of_kind = decoded.iter().filter(of).filter(|d| d.name.starts_with(kind));
            of_kind.max_by(|a, b| a.speedup.total_cmp(&b.speedup)).map(|d| d.name.clone())
        };
        let best = ["chain", "tree"].map(|kind| (kind, best(kind)));
        let cells = |d: &Decoded| {
            let kind = best.iter().find(|(_, name)| Some(&d.name) == name.as_ref());
            let mark = kind.map_or(String::new(), |(kind, _)| format!(" (best {kind})"));
            let stage = |name| d.share.iter().find(|s| s.0 == name).map_or(0.0, |s| 100.0 * s.1);
            vec![
                format!("{}{mark}", d.name),
                format!("{:.1}", median(d.tokens_per_s.clone())),
                format!("{:.2}×", d.speedup),
                format!("{:.2}–{:.2}", d.speedup_spread.0, d.speedup_spread.1),
                d.full_cell(),
                format!("{:.2} / {:.2}", d.tpot_ms_p50, d.tpot_ms_p95),
                format!("{:.2}", d.accepted_len),
                format!("{:.1}", d.rows_per_step),
                format!("{:.1}", d.wasted_rows),
                format!("{:.1}", d.levels_per_step),
                format!("{:.1} / {:.1}", stage("draft"), stage("verify")),
                format!("{:.0} %", 100.0 * d.exact_match),
            ]
        };
        let head = [
            "row",
            "tokens/s",
            "vs plain",
            "spread",
            "while full",
            "ms/token p50 / p95",
            "accepted",
            "rows/step",
            "wasted",
            "levels",
            "draft / verify %",
            "exact",
        ];
        table::print(&head, &decoded.iter().filter(of).map(cells).collect::<Vec<_>>());
    }
}
