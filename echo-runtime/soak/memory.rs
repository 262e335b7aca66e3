//! What the process holds, as Linux tells it.

use crate::heap;
use std::fs;

/// One look at the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Requests that had ended by then.
    pub(crate) requests: usize,
    /// On the heap, in KiB.
    pub(crate) live_kib: u64,
    /// Memory of its own, swapped out or not, in KiB: the heap, and what the allocator keeps.
    pub(crate) kib: u64,
    pub(crate) files: usize,
    pub(crate) threads: usize,
}

/// What is held now; `None` where there is no `/proc`.
pub(crate) fn look(requests: usize) -> Option<Look> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let count = |folder| Some(fs::read_dir(folder).ok()?.count());
    Some(Look {
        requests,
        live_kib: heap::live() as u64 / 1024,
        kib: kib("RssAnon:")? + kib("VmSwap:")?,
        files: count("/proc/self/fd")?,
        threads: count("/proc/self/task")?,
    })
}

/// MiB on the heap per 100,000 requests, by least squares.
pub(crate) fn slope(looks: &[Look]) -> f64 {
    let n = looks.len() as f64;
    let mean = |of: fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(|look| look.requests as f64), mean(|look| look.live_kib as f64));
    let (mut xy, mut xx) = (0.0, 0.0);
    for look in looks {
        xy += (look.requests as f64 - x) * (look.live_kib as f64 - y);
        xx += (look.requests as f64 - x).powi(2);
    }
    if xx == 0.0 { 0.0 } else { xy / xx * 100_000.0 / 1024.0 }
}
