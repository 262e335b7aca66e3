//! Numbers on the command line that somebody takes memory or waits for.

use echo_core::Sampling;
use echo_kernels_cpu::CpuOptions;
use std::ops::RangeInclusive;
use std::time::Duration;

/// More than any machine holds of anything a flag counts.
const MAX: usize = 1 << 20;

/// Threads for each core at most. A region ends with its last thread: of more, most would wait for
/// a core, and a step take minutes.
const THREADS_A_CORE: usize = 4;

/// A count of this range.
pub(crate) fn within(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse() {
        Ok(n) if range.contains(&n) => Ok(n),
        _ => Err(format!("must be a number from {} to {}", range.start(), range.end())),
    }
}

/// A count, 0 among them.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    within(0..=MAX)(text)
}

/// A count of at least one.
pub(crate) fn count_from_1(text: &str) -> Result<usize, String> {
    within(1..=MAX)(text)
}

/// A number of threads.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    let most = CpuOptions::default().threads.saturating_mul(THREADS_A_CORE);
    let told = |range| format!("{range}, {THREADS_A_CORE} for each core that may be used");
    within(1..=most)(text).map_err(told)
}

/// A number that `put` puts into a request's sampling, in the range that it has there.
pub(crate) fn sampled(put: fn(&mut Sampling, f32)) -> impl Fn(&str) -> Result<f32, String> + Clone {
    move |text| {
        let value = text.parse().map_err(|_| "must be a number".to_owned())?;
        let mut sampling = Sampling::default();
        put(&mut sampling, value);
        sampling.check(0, 0).map_err(|error| error.to_string())?;
        Ok(value)
    }
}

/// The temperature of requests.
pub(crate) fn temperature(text: &str) -> Result<f32, String> {
    sampled(|sampling, value| sampling.temperature = value)(text)
}

/// A time in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok().and_then(|value| Duration::try_from_secs_f32(value).ok());
    time.ok_or_else(|| "must be seconds, 0 or more".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_is_refused() {
        assert_eq!((count("0"), count("1048576")), (Ok(0), Ok(1 << 20)));
        assert!(count_from_1("0").is_err() && count_from_1("1") == Ok(1));
        for text in ["1048577", "18446744073709551615", "-1", "many", ""] {
            assert!(count(text).is_err() && count_from_1(text).is_err(), "{text}");
        }
        assert!(threads("0").is_err() && threads("1") == Ok(1));
        let said = threads("100000").expect_err("no machine has as many cores");
        assert!(said.contains("from 1 to") && said.contains("each core"), "{said}");
        assert_eq!((temperature("0"), temperature("100")), (Ok(0.0), Ok(100.0)));
        for text in ["-1", "101", "nan", "warm"] {
            assert!(temperature(text).is_err(), "{text}");
        }
        let top_p = sampled(|sampling, value| sampling.top_p = value);
        assert_eq!(top_p("0").expect_err("none is left"), "top_p is 0, must be in (0, 1]");
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["-1", "nan", "1e30", "soon"].iter().all(|text| seconds(text).is_err()));
    }
}
