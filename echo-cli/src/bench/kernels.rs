//! Layer 2: where a forward's time goes, operation by operation, and how near each comes to the
//! rate at which the device copies.

use super::table;
use super::traffic::{Traffic, copy_rate};
use anyhow::Result;
use echo_core::port::{Buffer, Data, Element, Heads, Mat, Stage, Weight};
use echo_core::{
    Device, DeviceError, Kernels, Limits, PackedView, SampleView, Target, TensorView, TopK,
    Verdicts,
};
use echo_runtime::profile;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NAMES: [&str; 11] = [
    "stage",
    "embed",
    "rms_norm",
    "linear",
    "rope_store",
    "tree_attention",
    "silu_mul",
    "add",
    "gather_rows",
    "sample_rows",
    "topk_logprob",
];

/// What one row of the table may take to measure, once it has been measured at all.
const BUDGET: Duration = Duration::from_secs(5);

/// Kernels that keep count of the time each operation takes, and of the bytes it must move.
pub(crate) struct Timed {
    inner: Arc<dyn Kernels>,
    nanoseconds: [AtomicU64; NAMES.len()],
    calls: [AtomicU64; NAMES.len()],
    bytes: [AtomicU64; NAMES.len()],
    traffic: Traffic,
    /// While it is set, every operation is waited for: those of a device that only enqueues would
    /// all look short.
    waits: AtomicBool,
    /// One element, to wait for the device by.
    probe: Buffer,
}

type Done = Result<(), DeviceError>;

impl Timed {
    /// Over `inner`, which keeps elements of keys and values in `kv_bytes` bytes.
    pub(crate) fn new(inner: Arc<dyn Kernels>, kv_bytes: usize) -> Result<Self, DeviceError> {
        let probe = inner.alloc(Element::F32, 1, "a probe")?;
        let (nanoseconds, calls, bytes) = Default::default();
        let (traffic, waits) = (Traffic::new(kv_bytes), AtomicBool::new(false));
        Ok(Timed { inner, nanoseconds, calls, bytes, traffic, waits, probe })
    }

    fn time(&self, name: usize, bytes: usize, run: impl FnOnce(&dyn Kernels) -> Done) -> Done {
        let start = Instant::now();
        let mut done = run(self.inner.as_ref());
        if self.waits.load(Ordering::Relaxed) {
            done = done.and_then(|()| self.wait());
        }
        self.nanoseconds[name].fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        self.calls[name].fetch_add(1, Ordering::Relaxed);
        self.bytes[name].fetch_add(bytes as u64, Ordering::Relaxed);
        done
    }

    fn wait(&self) -> Done {
        self.inner.read(self.probe, 0, &mut [0.0])
    }

    /// Milliseconds of a wait when there is nothing to wait for: the median of some.
    fn idle_wait_ms(&self) -> Result<f64, DeviceError> {
        let wait = |_| {
            let start = Instant::now();
            self.wait().map(|()| start.elapsed().as_secs_f64() * 1e3)
        };
        Ok(super::decoded::median((0..31).map(wait).collect::<Result<_, _>>()?))
    }

    /// Milliseconds and megabytes of each operation since the last call; `wait_ms` of each call are
    /// not the operation's.
    fn take(&self, wait_ms: f64) -> Vec<(f64, f64)> {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed) as f64;
        let of = |i: usize| {
            let waited = wait_ms * take(&self.calls[i]);
            let ms = (take(&self.nanoseconds[i]) / 1e6 - waited).max(0.0);
            (ms, take(&self.bytes[i]) / 1e6)
        };
        (0..NAMES.len()).map(of).collect()
    }
}

impl Device for Timed {
    fn alloc(&self, element: Element, len: usize, what: &str) -> Result<Buffer, DeviceError> {
        self.inner.alloc(element, len, what)
    }
    fn open_stage(&self, limits: &Limits) -> Result<Stage, DeviceError> {
        self.inner.open_stage(limits)
    }
    fn stage(&self, stage: Stage, packed: PackedView<'_>) -> Done {
        self.traffic.stage(stage, packed);
        self.time(0, 0, |k| k.stage(stage, packed))
    }

    fn weight(&self, parts: &[TensorView<'_>]) -> Result<Weight, DeviceError> {
        let weight = self.inner.weight(parts)?;
        self.traffic.weight(weight, parts);
        Ok(weight)
    }
    fn write(&self, buffer: Buffer, start: usize, data: Data<'_>) -> Done {
        self.inner.write(buffer, start, data)
    }
    fn read(&self, buffer: Buffer, start: usize, out: &mut [f32]) -> Done {
        self.inner.read(buffer, start, out)
    }
}

impl Kernels for Timed {
    fn embed(&self, stage: Stage, table: Weight, out: Mat) -> Done {
        self.time(1, self.traffic.embed(stage, table, out), |k| k.embed(stage, table, out))
    }
    fn rms_norm(&self, rows: usize, x: Mat, weight: Buffer, eps: f32, out: Mat) -> Done {
        self.time(2, 8 * rows * x.width, |k| k.rms_norm(rows, x, weight, eps, out))
    }
    fn linear(&self, rows: usize, weight: Weight, x: Mat, out: Mat) -> Done {
        self.time(3, self.traffic.linear(rows, weight, x, out), |k| k.linear(rows, weight, x, out))
    }
    fn rope_store(
        &self,
        stage: Stage,
        heads: Heads,
        rope: Buffer,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
    ) -> Done {
        self.time(4, self.traffic.rope_store(stage, heads), |k| {
            k.rope_store(stage, heads, rope, qkv, keys, values)
        })
    }
    fn tree_attention(
        &self,
        stage: Stage,
        heads: Heads,
        qkv: Mat,
        keys: Buffer,
        values: Buffer,
        out: Mat,
    ) -> Done {
        self.time(5, self.traffic.attention(stage, heads), |k| {
            k.tree_attention(stage, heads, qkv, keys, values, out)
        })
    }
    fn silu_mul(&self, rows: usize, gate_up: Mat, out: Mat) -> Done {
        self.time(6, 12 * rows * out.width, |k| k.silu_mul(rows, gate_up, out))
    }
    fn add(&self, rows: usize, x: Mat, into: Mat) -> Done {
        self.time(7, 12 * rows * x.width, |k| k.add(rows, x, into))
    }
    fn gather_rows(&self, rows: usize, index: Buffer, x: Mat, out: Mat) -> Done {
        self.time(8, 8 * rows * x.width, |k| k.gather_rows(rows, index, x, out))
    }
    fn sample_rows(&self, logits: Mat, sample: SampleView<'_>, verdicts: &mut Verdicts) -> Done {
        let bytes = 4 * sample.specs.len() * logits.width;
        self.time(9, bytes, |k| k.sample_rows(logits, sample, verdicts))
    }
    fn topk_logprob(&self, rows: usize, x: Mat, k: usize, best: &mut TopK) -> Done {
        self.time(10, 4 * rows * x.width, |kernels| kernels.topk_logprob(rows, x, k, best))
    }
}

/// Milliseconds of each operation in one forward, the median of some, and the gigabytes a second it
/// moves of what it must.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Shares {
    rows: usize,
    kv_len: usize,
    ms: Vec<(&'static str, f64)>,
    gb_per_s: Vec<(&'static str, f64)>,
    /// The rate at which the device copies rows of a large matrix, read and written.
    copy_gb_per_s: f64,
    /// What the host waits for an operation apart from its time; taken off every one.
    wait_ms: f64,
}

/// Measures forwards of 1, 8 and 64 rows at a short and a long cache.
pub(crate) fn measure(
    timed: &Timed,
    target: &mut dyn Target,
    limits: &Limits,
) -> Result<Vec<Shares>> {
    let mut all = Vec::new();
    let copy_gb_per_s = copy_rate(timed.inner.as_ref())?;
    let wait_ms = timed.idle_wait_ms()?;
    timed.waits.store(true, Ordering::Relaxed);
    for kv_len in [128, 1024] {
        for rows in [1, 8, 64] {
            let mut rounds: Vec<Vec<(f64, f64)>> = Vec::new();
            let start = Instant::now();
            for _ in 0..7 {
                if !rounds.is_empty() && start.elapsed() > BUDGET {
                    break;
                }
                timed.take(wait_ms);
                // One that is not counted and one that is; both run the same operations.
                if profile(target, limits, &[rows], &[kv_len], 1)?.is_empty() {
                    break;
                }
                rounds.push(
                    timed.take(wait_ms).iter().map(|&(ms, mb)| (ms / 2.0, mb / 2.0)).collect(),
                );
            }
            if rounds.is_empty() {
                continue;
            }
            let of = |name: usize| {
                super::decoded::median(rounds.iter().map(|round| round[name].0).collect())
            };
            let ms = NAMES.iter().enumerate().map(|(i, &name)| (name, of(i))).collect();
            let rate = |(i, &name): (usize, &&'static str)| (name, rounds[0][i].1 / of(i));
            let gb_per_s = NAMES.iter().enumerate().map(rate).collect();
            all.push(Shares { rows, kv_len, ms, gb_per_s, copy_gb_per_s, wait_ms });
        }
    }
    timed.waits.store(false, Ordering::Relaxed);
    Ok(all)
}

/// Prints a row per forward and a column per operation.
pub(crate) fn print(shares: &[Shares]) {
    let wait_us = shares.first().map_or(0.0, |s| 1e3 * s.wait_ms);
    println!(
        "\nkernels: milliseconds of one forward by operation (medians), each waited for alone; \
         {wait_us:.1} us of waiting are taken off each call\n"
    );
    let cells = |s: &Shares| {
        let total: f64 = s.ms.iter().map(|m| m.1).sum();
        let mut cells = vec![s.rows.to_string(), s.kv_len.to_string(), format!("{total:.2}")];
        cells.extend(s.ms.iter().map(|m| format!("{:.2}", m.1)));
        cells
    };
    let head: Vec<&str> = ["rows", "kv len", "all"].into_iter().chain(NAMES).collect();
    table::print(&head, &shares.iter().map(cells).collect::<Vec<_>>());
    let Some(first) = shares.first() else { return };
    println!(
        "\nGB/s of what each must move (its rows, its weights, the keys and values of its \
         sequences); this device copies {:.1} GB/s\n",
        first.copy_gb_per_s
    );
    let cells = |s: &Shares| {
        let mut cells = vec![s.rows.to_string(), s.kv_len.to_string()];
        let moved = |&(_, rate): &(&str, f64)| {
            if rate.is_finite() && rate > 0.0 { format!("{rate:.2}") } else { "–".into() }
        };
        cells.extend(s.gb_per_s.iter().map(moved));
        cells
    };
    let head: Vec<&str> = ["rows", "kv len"].into_iter().chain(NAMES).collect();
    table::print(&head, &shares.iter().map(cells).collect::<Vec<_>>());
}
