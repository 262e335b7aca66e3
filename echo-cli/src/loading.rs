//! What it took to bring a model's weights to the device.

use serde::Serialize;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Time and memory of a load.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Loading {
    /// Of the weights alone, packing for the kernels included.
    pub(crate) seconds: f64,
    /// Bytes of the weights as stored.
    pub(crate) stored: u64,
    /// Most bytes that the process held up to then, if the system tells and this is its first load:
    /// later ones stand on what earlier ones left.
    pub(crate) peak: Option<u64>,
}

impl Loading {
    /// To be made when the weights are there.
    pub(crate) fn ended(time: Duration, stored: usize) -> Self {
        static HAS_LOADED: AtomicBool = AtomicBool::new(false);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = if HAS_LOADED.swap(true, Relaxed) { None } else { peak(&status) };
        Loading { seconds: time.as_secs_f64(), stored: stored as u64, peak }
    }
}

/// The most memory ever held, from the system's account of the process.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

impl fmt::Display for Loading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(f, "{:.0} MB of weights loaded in {:.2} s", mb(self.stored), self.seconds)?;
        let Some(peak) = self.peak else { return Ok(()) };
        let ratio = peak as f64 / self.stored.max(1) as f64;
        write!(f, "; memory at its peak {:.0} MB, {ratio:.2} times the weights", mb(peak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_says_its_time_and_its_peak() {
        let peak = peak("Name:\techo-llm\nVmHWM:\t  150000 kB\nVmRSS:\t 7 kB\n");
        let loading = Loading { seconds: 0.25, stored: 102_400_000, peak };
        let text = "102 MB of weights loaded in 0.25 s; memory at its peak 154 MB, 1.50 times the \
                    weights";
        assert_eq!(loading.to_string(), text);
        assert_eq!(super::peak("VmHWM: many"), None);
        // Whichever tests have loaded something before.
        let _ = Loading::ended(Duration::ZERO, 1);
        assert_eq!(Loading::ended(Duration::ZERO, 1).peak, None);
    }
}
