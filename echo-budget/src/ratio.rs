//! What was seen over what was expected, by counting.

/// Share of counts, and of whatever else was learnt, that a step forgets.
pub(crate) const FORGET: f64 = 1.0 / 4000.0;
/// `k`: expected counts that the start, at 1, is worth, and how many are remembered.
const PRIOR: f64 = 24.0;
const WINDOW: f64 = 400.0;
/// The ratio stays in this range.
const RANGE: (f64, f64) = (0.25, 2.0);

/// `(seen + k) / (expected + k)`; both counts decay by what is expected, and slowly by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ratio {
    seen: f64,
    expected: f64,
}

impl Ratio {
    /// Counts what a step saw and what was expected of it.
    pub(crate) fn count(&mut self, seen: f64, expected: f64) {
        let kept = (1.0 - (expected / WINDOW).min(1.0) - FORGET).max(0.0);
        self.seen = kept * self.seen + seen;
        self.expected = kept * self.expected + expected;
    }

    pub(crate) fn get(&self) -> f32 {
        ((self.seen + PRIOR) / (self.expected + PRIOR)).clamp(RANGE.0, RANGE.1) as f32
    }
}
