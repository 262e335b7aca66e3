//! The best time of a measurement, beside criterion's statistics.

use criterion::Criterion;
use std::time::Instant;

/// Times `once` under criterion and gives its best time in seconds, or `None` if the name was
/// filtered out. The best is less distorted by other work on the machine than the median.
pub(crate) fn best_seconds(c: &mut Criterion, name: &str, mut once: impl FnMut()) -> Option<f64> {
    let mut best = f64::INFINITY;
    c.bench_function(name, |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                let start = Instant::now();
                once();
                best = best.min(start.elapsed().as_secs_f64());
            }
            start.elapsed()
        });
    });
    best.is_finite().then_some(best)
}
