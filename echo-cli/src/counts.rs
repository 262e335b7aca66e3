//! Numbers on the command line that somebody takes memory or waits for.

use std::time::Duration;

/// More than any machine holds of anything a flag counts.
const MAX: usize = 1 << 20;

/// A count, 0 among them.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n <= MAX => Ok(n),
        _ => Err(format!("must be a number up to {MAX}")),
    }
}

/// A count of at least one.
pub(crate) fn count_from_1(text: &str) -> Result<usize, String> {
    match count(text) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("must be a number from 1 to {MAX}")),
    }
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
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["-1", "nan", "1e30", "soon"].iter().all(|text| seconds(text).is_err()));
    }
}
