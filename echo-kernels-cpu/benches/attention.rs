//! Tree attention at the shape of the default model (9 query heads, 3 key heads of 64).
//!
//! Each case is checked against the reference before it is timed. A case goes through as many
//! caches as exceed the last-level cache, in turn, as the layers of a forward do. Beside the best
//! time stands the bound: every key and value that any row sees, read once at the speed of memory;
//! and GMAC/s, because trees read a key once for many rows and are bound by arithmetic.
//!
//! `cargo bench -p echo-kernels-cpu --bench attention -- FILTER`, where names are
//! `attention/ISA/SEQUENCES x ROWS/POSITIONS`.

mod best;
mod roof;

use criterion::{Criterion, criterion_group, criterion_main};
use echo_core::port::{Buffer, Data, Device, Element, Heads, Kernels, Mat};
use echo_core::{Limits, PackedView};
use echo_kernels_cpu::{Area, CpuKernels, CpuOptions, Isa, Path, reference};
use std::time::Duration;

const THREADS: usize = 2;
const HEADS: Heads = Heads { n_q: 9, n_kv: 3, dim: 64 };
/// Sequences, rows of each (a root and a chain or a tree below it).
const BATCHES: [(usize, usize); 5] = [(1, 1), (1, 8), (1, 32), (8, 1), (8, 8)];
const CACHED: [usize; 4] = [128, 1024, 4096, 8192];
/// Keys and values that one round over the caches reads at least.
const COLD_BYTES: usize = 96 << 20;

/// A batch of equal sequences; drafted row `i` hangs below drafted row `(i - 1) / 2`.
struct Batch {
    seqs: usize,
    rows_each: usize,
    cached: usize,
    token: Vec<u32>,
    position: Vec<u32>,
    slot: Vec<u32>,
    prefix_len: Vec<u32>,
    ancestors: Vec<u64>,
    places: Vec<u32>,
    row_start: Vec<u32>,
    drafted_start: Vec<u32>,
    table: Vec<u32>,
    table_start: Vec<u32>,
}

impl Batch {
    fn new(seqs: usize, rows_each: usize, cached: usize) -> Self {
        let rows = seqs * rows_each;
        let first = |n: usize| (0..=seqs).map(|s| (s * n) as u32).collect::<Vec<u32>>();
        let mut batch = Batch {
            seqs,
            rows_each,
            cached,
            token: vec![0; rows],
            position: Vec::new(),
            slot: Vec::new(),
            prefix_len: vec![cached as u32; rows],
            ancestors: Vec::new(),
            places: (0..seqs as u32).collect(),
            row_start: first(rows_each),
            drafted_start: (0..seqs).map(|s| (s * rows_each + 1) as u32).collect(),
            table: Vec::new(),
            table_start: first(cached),
        };
        // Slots are handed out as decoding does: one to each sequence in turn.
        for s in 0..seqs {
            batch.table.extend((0..cached).map(|p| (p * seqs + s) as u32));
            batch.slot.push((s + (cached - 1) * seqs) as u32);
            batch.position.push(cached as u32 - 1);
            batch.ancestors.push(0);
            let root = batch.ancestors.len();
            for i in 0..rows_each - 1 {
                let above = if i == 0 { 0 } else { batch.ancestors[root + (i - 1) / 2] };
                let set: u64 = above | 1 << i;
                batch.slot.push((seqs * cached + s * rows_each + i) as u32);
                batch.position.push(cached as u32 - 1 + set.count_ones());
                batch.ancestors.push(set);
            }
        }
        batch
    }

    fn rows(&self) -> usize {
        self.token.len()
    }

    fn slots(&self) -> usize {
        self.seqs * (self.cached + self.rows_each)
    }

    /// Bytes of keys and values that the rows see, each counted once.
    fn bytes(&self) -> usize {
        self.seqs
            * (self.cached + self.rows_each - 1)
            * HEADS.n_kv
            * HEADS.dim
            * 2
            * size_of::<half::f16>()
    }

    /// Products of queries with keys and of weights with values.
    fn macs(&self) -> usize {
        let drafted = self.ancestors.iter().map(|set| set.count_ones() as usize).sum::<usize>();
        (self.rows() * self.cached + drafted) * HEADS.n_q * HEADS.dim * 2
    }

    fn view(&self) -> PackedView<'_> {
        PackedView {
            token: &self.token,
            position: &self.position,
            slot: &self.slot,
            prefix_len: &self.prefix_len,
            ancestors: &self.ancestors,
            words: 1,
            seqs: &self.places,
            row_start: &self.row_start,
            drafted_start: &self.drafted_start,
            table: &self.table,
            table_start: &self.table_start,
            sampled: &[],
        }
    }
}

fn values(n: usize, step: usize) -> Vec<f32> {
    (0..n).map(|i| (i * step % 1009) as f32 / 504.5 - 1.0).collect()
}

fn upload(kernels: &CpuKernels, element: Element, data: &[f32]) -> Buffer {
    let buffer = kernels.alloc(element, data.len(), "bench").expect("memory");
    kernels.write(buffer, 0, Data::F32(data)).expect("a host copy");
    buffer
}

fn case(c: &mut Criterion, isa: Isa, batch: &Batch, bandwidth: f64) {
    let path = Path::With(isa);
    let kernels = CpuKernels::new(CpuOptions { threads: THREADS, path, ..CpuOptions::default() });
    let (rows_max, kv_slots) = (batch.rows(), batch.slots());
    let limits = Limits { rows_max, kv_slots, ..Limits::usual(batch.seqs, batch.cached) };
    let stage = kernels.open_stage(&limits).expect("memory");
    kernels.stage(stage, batch.view()).expect("rows within the limits");
    let width = HEADS.n_kv * HEADS.dim;
    let q = values(batch.rows() * HEADS.qkv_width(), 7919);
    let mut kv = [6871, 5557].map(|step| values(batch.slots() * width, step));
    let copies = COLD_BYTES / batch.bytes() + 1;
    let caches: Vec<_> = (0..copies)
        .map(|_| kv.each_ref().map(|data| upload(&kernels, Element::Kv, data)))
        .collect();
    // What the device keeps of them.
    for (data, &buffer) in kv.iter_mut().zip(&caches[0]) {
        kernels.read(buffer, 0, data).expect("a host copy");
    }
    let qkv = Mat::new(upload(&kernels, Element::F32, &q), HEADS.qkv_width());
    let mut answer = vec![f32::NAN; batch.rows() * HEADS.n_q * HEADS.dim];
    let out = Mat::new(upload(&kernels, Element::F32, &answer), HEADS.n_q * HEADS.dim);
    let attend = |[keys, values]: [Buffer; 2]| {
        kernels.tree_attention(stage, HEADS, qkv, keys, values, out).expect("a host call");
    };

    attend(caches[0]);
    kernels.read(out.buffer, 0, &mut answer).expect("a host copy");
    let mut want = vec![0.0; answer.len()];
    let (q_area, out_area) = (Area::from(qkv), Area::from(out));
    let [keys, values] = &kv;
    reference::tree_attention(batch.view(), HEADS, &q, q_area, keys, values, &mut want, out_area);
    let error: f64 = answer.iter().zip(&want).map(|(a, w)| f64::from(a - w).powi(2)).sum();
    let power: f64 = want.iter().map(|w| f64::from(*w).powi(2)).sum();
    assert!(error <= 1e-10 * power, "wrong answer: error {error} of {power}");

    let name = format!("attention/{isa}/{} x {}/{}", batch.seqs, batch.rows_each, batch.cached);
    let mut turn = 0;
    let best = best::best_seconds(c, &name, || {
        attend(caches[turn % copies]);
        turn += 1;
    });
    if let Some(best) = best {
        let bound = batch.bytes() as f64 / bandwidth;
        println!(
            "{name}: {:.1} us, {:.1} GMAC/s; memory bound {:.1} us ({:.0} % of it)",
            best * 1e6,
            batch.macs() as f64 / best / 1e9,
            bound * 1e6,
            bound / best * 100.0,
        );
    }
}

fn attention(c: &mut Criterion) {
    let bandwidth = roof::bandwidth(THREADS);
    println!("memory reads: {:.1} GB/s on {THREADS} threads", bandwidth / 1e9);
    for (seqs, rows_each) in BATCHES {
        for cached in CACHED {
            let batch = Batch::new(seqs, rows_each, cached);
            // Plain Rust is for processors that have nothing better.
            for &isa in Isa::available().iter().skip(1) {
                case(c, isa, &batch, bandwidth);
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200));
    targets = attention
}
criterion_main!(benches);
