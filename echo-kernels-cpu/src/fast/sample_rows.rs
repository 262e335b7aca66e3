//! The fast form of [`sample_rows`](crate::reference::sample_rows()): rows in parallel.

use super::Fast;
use crate::area::Area;
use echo_core::Verdicts;
use echo_core::sampling::{self, SampleView, sample_row};
use parking_lot::Mutex;

/// What each thread keeps between calls.
pub(super) struct Scratch {
    workers: Vec<Mutex<Worker>>,
}

#[derive(Default)]
struct Worker {
    law: sampling::Scratch,
    verdicts: Verdicts,
}

impl Scratch {
    pub(super) fn new(threads: usize) -> Self {
        Scratch { workers: (0..threads).map(|_| Mutex::default()).collect() }
    }
}

impl Fast {
    pub(crate) fn sample_rows(
        &self,
        logits: &[f32],
        area: Area,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) {
        let rows = sample.specs.len();
        let workers = &self.sampling.workers;
        let share =
            |worker: usize| worker * rows / workers.len()..(worker + 1) * rows / workers.len();
        let stride = verdicts.top_stride;
        self.pool.run(workers.len(), &|w| {
            let Worker { law, verdicts } = &mut *workers[w].lock();
            let rows = share(w);
            verdicts.top_stride = stride;
            verdicts.reset(rows.len());
            let sample = SampleView { specs: &sample.specs[rows.clone()], ..sample };
            for (i, row) in rows.enumerate() {
                let logits = &logits[area.at(row, 0)..area.at(row, area.width)];
                sample_row(logits, sample, i, law, verdicts);
            }
        });
        verdicts.reset(rows);
        for (w, worker) in workers.iter().enumerate() {
            copy(&worker.lock().verdicts, share(w).start, verdicts);
        }
    }
}

/// Puts the answers of one thread in their place among all.
fn copy(from: &Verdicts, first: usize, into: &mut Verdicts) {
    let rows = first..first + from.len();
    into.token[rows.clone()].copy_from_slice(&from.token);
    into.log_prob[rows.clone()].copy_from_slice(&from.log_prob);
    into.faulty[rows.clone()].copy_from_slice(&from.faulty);
    into.top_len[rows.clone()].copy_from_slice(&from.top_len);
    into.top[rows.start * from.top_stride..rows.end * from.top_stride].copy_from_slice(&from.top);
}
