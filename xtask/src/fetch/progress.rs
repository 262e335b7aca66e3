//! How far long work has come: a bar on a terminal, a line per quarter elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one piece of work, counted in bytes.
pub(super) struct Progress {
    what: String,
    bytes_total: u64,
    quarters_shown: u64,
    /// `None` where stderr is no terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(what: impl Into<String>, bytes_total: u64) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(bytes_total);
            let template = "fetch: {msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            bar.set_style(ProgressStyle::with_template(template).expect("a sound template"));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar.with_message(what.clone())
        });
        if bar.is_none() {
            eprintln!("fetch: {what} ({} MB)", bytes_total / 1_000_000);
        }
        Progress { what, bytes_total, quarters_shown: 0, bar }
    }

    /// `bytes` are done, all told.
    pub(super) fn at(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes_total);
        match &self.bar {
            Some(bar) => bar.set_position(bytes),
            None => {
                if let Some(line) = self.milestone(bytes) {
                    eprintln!("fetch: {line}");
                }
            }
        }
    }

    /// The line for the last quarter that is full, once.
    fn milestone(&mut self, bytes: u64) -> Option<String> {
        let quarters = (4 * bytes).checked_div(self.bytes_total).unwrap_or(4);
        if quarters <= self.quarters_shown {
            return None;
        }
        self.quarters_shown = quarters;
        Some(format!("{} {} %", self.what, 25 * quarters))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_quarter_is_told_once() {
        let mut progress =
            Progress { what: "load".to_owned(), bytes_total: 100, quarters_shown: 0, bar: None };
        let told: Vec<_> = [0, 24, 25, 30, 80, 100, 100]
            .into_iter()
            .filter_map(|bytes| progress.milestone(bytes))
            .collect();
        assert_eq!(told, ["load 25 %", "load 75 %", "load 100 %"]);
    }
}
