//! Sampling from the vocabulary of the default model (49152 tokens).
//!
//! Each case is checked against the law of `echo_core::sampling` before it is timed. Logits are
//! warm, as the head leaves them. Beside the best time stands the bound: the logits read once at
//! the speed of memory, which a cache may beat.
//!
//! `cargo bench -p echo-kernels-cpu --bench sample_rows -- FILTER`, where names are
//! `sample_rows/LAW/ROWS`.

mod best;
mod roof;

use criterion::{Criterion, criterion_group, criterion_main};
use echo_core::Verdicts;
use echo_core::port::{Data, Device, Element, Kernels, Mat};
use echo_core::sampling::{SampleSpec, SampleView, Scratch, philox, sample_row};
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use std::time::Duration;

const THREADS: usize = 2;
const VOCAB: usize = 49152;
const ROWS: [usize; 3] = [1, 8, 64];
/// Alternatives listed at most.
const TOP: usize = 5;

const HOT: SampleSpec = SampleSpec { temperature: 1.0, seed: 7, ..SampleSpec::GREEDY };

const LAWS: [(&str, SampleSpec); 7] = [
    ("greedy", SampleSpec::GREEDY),
    ("greedy-logprobs", SampleSpec { logprobs: Some(TOP as u32), ..SampleSpec::GREEDY }),
    ("softmax", HOT),
    ("top-k", SampleSpec { top_k: 50, ..HOT }),
    ("top-p", SampleSpec { top_p: 0.9, ..HOT }),
    ("min-p", SampleSpec { min_p: 0.05, ..HOT }),
    ("all", SampleSpec { top_k: 50, top_p: 0.9, min_p: 0.05, temperature: 0.8, ..HOT }),
];

/// Roughly normal with deviation 2.3, as the logits of a language model are, and ten likely tokens
/// per row.
fn logits(rows: usize) -> Vec<f32> {
    let unit = |bits: u32| (f64::from(bits) / f64::from(u32::MAX) * 2.0 - 1.0) as f32;
    let mut all: Vec<f32> = (0..rows * VOCAB)
        .map(|i| philox([i as u32, 0, 0, 0], [1, 2]).map(unit).iter().sum::<f32>() * 2.0)
        .collect();
    for (row, logits) in all.chunks_exact_mut(VOCAB).enumerate() {
        for i in 0..10 {
            logits[(row * 7919 + i * 4871) % VOCAB] = 15.0 - i as f32;
        }
    }
    all
}

fn case(c: &mut Criterion, name: &str, spec: SampleSpec, rows: usize, bandwidth: f64) {
    let kernels = CpuKernels::new(CpuOptions { threads: THREADS, ..CpuOptions::default() });
    let data = logits(rows);
    let buffer = kernels.alloc(Element::F32, data.len(), "bench").expect("memory");
    kernels.write(buffer, 0, Data::F32(&data)).expect("a host copy");
    let specs: Vec<SampleSpec> =
        (0..rows).map(|row| SampleSpec { position: row as u32, ..spec }).collect();
    let sample = SampleView { specs: &specs, edits: &[] };
    let sample_into = |verdicts: &mut Verdicts| {
        kernels.sample_rows(Mat::new(buffer, VOCAB), sample, verdicts).expect("a host call");
    };

    let name = format!("sample_rows/{name}/{rows}");
    let mut verdicts = Verdicts::with_capacity(rows, TOP);
    sample_into(&mut verdicts);
    let mut want = Verdicts::with_capacity(rows, TOP);
    want.reset(rows);
    let mut scratch = Scratch::default();
    for (row, logits) in data.chunks_exact(VOCAB).enumerate() {
        sample_row(logits, sample, row, &mut scratch, &mut want);
    }
    assert_eq!(verdicts.token, want.token, "{name}: tokens");
    assert_eq!(verdicts.top, want.top, "{name}: alternatives");
    assert!(!want.faulty.contains(&true), "{name}: rows without a token");
    let best = best::best_seconds(c, &name, || sample_into(&mut verdicts));
    if let Some(best) = best {
        let bound = (rows * VOCAB * 4) as f64 / bandwidth;
        println!(
            "{name}: {:.1} us, {:.1} us a row; memory bound {:.1} us ({:.0} % of it)",
            best * 1e6,
            best * 1e6 / rows as f64,
            bound * 1e6,
            bound / best * 100.0,
        );
    }
}

fn sample_rows(c: &mut Criterion) {
    let bandwidth = roof::bandwidth(THREADS);
    println!("memory reads: {:.1} GB/s on {THREADS} threads", bandwidth / 1e9);
    for (name, spec) in LAWS {
        for rows in ROWS {
            case(c, name, spec, rows, bandwidth);
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200));
    targets = sample_rows
}
criterion_main!(benches);
