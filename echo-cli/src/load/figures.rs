//! What a load run comes to.

use super::client::Heard;
use std::time::Duration;

/// The figures of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    requests_s: f64,
    tokens_s: f64,
    /// Milliseconds: the half and the slowest twentieth of answers' first tokens, and of gaps.
    first: [f64; 2],
    gap: [f64; 2],
}

impl Figures {
    pub(crate) const HEAD: [&'static str; 8] = [
        "streams",
        "",
        "requests/s",
        "tokens/s",
        "TTFT p50 ms",
        "TTFT p95 ms",
        "gap p50 ms",
        "gap p95 ms",
    ];

    /// Of what was heard within `time`.
    pub(crate) fn new(heard: &[Heard], time: Duration) -> Self {
        let tokens: usize = heard.iter().map(|heard| heard.tokens).sum();
        let of = |mut times: Vec<Duration>| {
            times.sort_unstable();
            [0.5, 0.95].map(|share| quantile(&times, share).as_secs_f64() * 1e3)
        };
        Figures {
            requests_s: heard.len() as f64 / time.as_secs_f64(),
            tokens_s: tokens as f64 / time.as_secs_f64(),
            first: of(heard.iter().map(|heard| heard.first).collect()),
            gap: of(heard.iter().flat_map(|heard| heard.gaps.iter().copied()).collect()),
        }
    }

    /// Figure by figure the median of several runs.
    pub(crate) fn median(runs: &[Figures]) -> Figures {
        let of = |figure: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        Figures {
            requests_s: of(|f| f.requests_s),
            tokens_s: of(|f| f.tokens_s),
            first: [of(|f| f.first[0]), of(|f| f.first[1])],
            gap: [of(|f| f.gap[0]), of(|f| f.gap[1])],
        }
    }

    /// The cells of its row.
    pub(crate) fn cells(&self, streams: usize, name: &str) -> Vec<String> {
        let Figures { requests_s, tokens_s, first, gap } = self;
        vec![
            streams.to_string(),
            name.to_owned(),
            format!("{requests_s:.2}"),
            format!("{tokens_s:.0}"),
            format!("{:.0}", first[0]),
            format!("{:.0}", first[1]),
            format!("{:.1}", gap[0]),
            format!("{:.1}", gap[1]),
        ]
    }
}

/// The time below which a share of the sorted `times` lies.
fn quantile(times: &[Duration], share: f64) -> Duration {
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}
