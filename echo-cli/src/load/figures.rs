//! What a load run comes to.

use super::client::Heard;
use serde::Serialize;
use std::time::Duration;

/// The figures of one row.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figures {
    /// Answers they stand on.
    answers: usize,
    requests_per_s: f64,
    tokens_per_s: f64,
    /// Milliseconds: the half and the slowest twentieth of answers' first tokens, and of gaps.
    ttft_ms: [f64; 2],
    gap_ms: [f64; 2],
    /// Tokens per second beside the first row's of the same round.
    ratio: f64,
}

impl Figures {
    pub(crate) const HEAD: [&'static str; 9] = [
        "streams",
        "",
        "requests/s",
        "tokens/s",
        "ratio",
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
            answers: heard.len(),
            requests_per_s: heard.len() as f64 / time.as_secs_f64(),
            tokens_per_s: tokens as f64 / time.as_secs_f64(),
            ttft_ms: of(heard.iter().map(|heard| heard.first).collect()),
            gap_ms: of(heard.iter().flat_map(|heard| heard.gaps.iter().copied()).collect()),
            ratio: 1.0,
        }
    }

    /// The same, beside another row of the same round.
    pub(crate) fn beside(self, first: &Figures) -> Self {
        Figures { ratio: self.tokens_per_s / first.tokens_per_s, ..self }
    }

    /// Figure by figure the median of several rounds.
    pub(crate) fn median(rounds: &[Figures]) -> Figures {
        let of = |figure: fn(&Figures) -> f64| {
            let mut all: Vec<f64> = rounds.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            let half = all.len() / 2;
            f64::midpoint(all[half], all[(all.len() - 1) / 2])
        };
        Figures {
            answers: rounds.iter().map(|round| round.answers).sum(),
            requests_per_s: of(|f| f.requests_per_s),
            tokens_per_s: of(|f| f.tokens_per_s),
            ttft_ms: [of(|f| f.ttft_ms[0]), of(|f| f.ttft_ms[1])],
            gap_ms: [of(|f| f.gap_ms[0]), of(|f| f.gap_ms[1])],
            ratio: of(|f| f.ratio),
        }
    }

    /// The cells of its row.
    pub(crate) fn cells(&self, streams: usize, name: &str) -> Vec<String> {
        let Figures { requests_per_s, tokens_per_s, ttft_ms, gap_ms, ratio, .. } = self;
        vec![
            streams.to_string(),
            name.to_owned(),
            format!("{requests_per_s:.2}"),
            format!("{tokens_per_s:.0}"),
            format!("{ratio:.2}"),
            format!("{:.0}", ttft_ms[0]),
            format!("{:.0}", ttft_ms[1]),
            format!("{:.1}", gap_ms[0]),
            format!("{:.1}", gap_ms[1]),
        ]
    }
}

/// The time below which a share of the sorted `times` lies.
fn quantile(times: &[Duration], share: f64) -> Duration {
    let at = (times.len() as f64 * share) as usize;
    times.get(at.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_one_round() {
        let heard = |tokens| Heard {
            prompt: 0,
            text: String::new(),
            tokens,
            first: Duration::from_millis(7),
            gaps: vec![Duration::from_millis(2); 3],
        };
        let of = |tokens| Figures::new(&[heard(tokens)], Duration::from_secs(1));
        // Each round is on another machine, as it were: the medians of both rows are of the third,
        // their ratio is the first's.
        let rounds = [(100, 150), (10, 20), (60, 78)];
        let rounds = rounds.map(|(first, second)| of(second).beside(&of(first)));
        let median = Figures::median(&rounds);
        assert_eq!((median.ratio, median.tokens_per_s, median.answers), (1.5, 78.0, 3));
        assert_eq!((median.ttft_ms, median.gap_ms), ([7.0; 2], [2.0; 2]));
        assert_eq!(Figures::median(&rounds[..2]).tokens_per_s, 85.0);
    }
}
