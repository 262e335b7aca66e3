//! The linear layer at the shapes of the default model (`SmolLM2-135M`, `Q4_1` with a `Q8_0` head).
//!
//! Each case is checked against a plain f64 product before it is timed. A shape is applied to as
//! many copies of its weight as exceed the last-level cache, in turn, as a forward does. `pass` is
//! all linear layers of one forward; `format-q4_k` and its like are one matrix in every format, at
//! a few numbers of rows. The lines of this bench add up the best time of each weight,
//! so that other work on the machine distorts them less than it does the medians above them; beside
//! them stand GB/s of packed weights read, GMAC/s, and the ratio to one row. The first line is what
//! plain reads of memory reach.
//!
//! `cargo bench -p echo-kernels-cpu --bench linear -- FILTER`, where names are
//! `isa/activations/shape/rows`.

mod roof;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use echo_core::{DType, TensorView};
use echo_kernels_cpu::linear::{Activations, Isa, PackedWeight, Scratch};
use echo_kernels_cpu::pool::Pool;
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

const THREADS: usize = 2;
const ROWS: [usize; 9] = [1, 2, 3, 4, 6, 8, 16, 32, 64];
/// Bytes of weights that one round over the copies of a shape reads at least.
const COLD_BYTES: usize = 96 << 20;
const LAYERS: usize = 30;

struct Shape {
    name: &'static str,
    dtype: DType,
    rows: usize,
    cols: usize,
    /// Times in one forward.
    count: usize,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "qkv", dtype: DType::Q4_1, rows: 960, cols: 576, count: LAYERS },
    Shape { name: "o", dtype: DType::Q4_1, rows: 576, cols: 576, count: LAYERS },
    Shape { name: "gate_up", dtype: DType::Q4_1, rows: 3072, cols: 576, count: LAYERS },
    Shape { name: "down", dtype: DType::Q4_1, rows: 576, cols: 1536, count: LAYERS },
    Shape { name: "head", dtype: DType::Q8_0, rows: 49152, cols: 576, count: 1 },
];

/// One matrix in the formats there are kernels for.
const FORMATS: [(&str, DType); 6] = [
    ("format-q4_0", DType::Q4_0),
    ("format-q4_1", DType::Q4_1),
    ("format-q4_k", DType::Q4K),
    ("format-q6_k", DType::Q6K),
    ("format-q8_0", DType::Q8_0),
    ("format-f16", DType::F16),
];
const ROWS_OF_FORMATS: [usize; 3] = [1, 8, 64];

/// Random bits whose f16 scales are small and finite: bytes of a scale are replaced.
fn tensor(shape: &Shape, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let bytes = shape.rows * shape.dtype.row_bytes(shape.cols).expect("whole blocks");
    let mut bytes: Vec<u8> = (0..bytes).map(|_| next()).collect();
    for block in bytes.chunks_exact_mut(shape.dtype.block_bytes()) {
        match shape.dtype {
            DType::Q4_1 | DType::Q4K => (block[1], block[3]) = (0x20, 0xac),
            DType::Q6K => block[209] = 0x20,
            _ => block[1] = 0x20,
        }
    }
    bytes
}

fn pack(shape: &Shape, bytes: &[u8], isa: Isa, activations: Activations) -> PackedWeight {
    let Shape { name, dtype, rows, cols, .. } = *shape;
    let view = TensorView { name, dtype, rows, cols, bytes };
    PackedWeight::new(&[view], isa).expect("a sound tensor").with_activations(activations)
}

fn inputs(rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| ((i * 7919 % 1009) as f32 / 504.5) - 1.0).collect()
}

/// Compares some outputs with an f64 product of the dequantised weights.
fn check(weight: &PackedWeight, pool: &Pool, scratch: &mut Scratch, rows: usize) {
    let (n, k) = (weight.rows(), weight.cols());
    let (x, mut out) = (inputs(rows, k), vec![f32::NAN; rows * n]);
    weight.apply(pool, scratch, rows, &x, k, 0, &mut out, n, 0);
    let mut w = vec![0.0; k];
    let (mut error, mut power) = (0.0, 0.0);
    for col in (0..n).step_by(n / 61 + 1) {
        weight.dequantize_row(col, &mut w);
        for row in 0..rows {
            let x = &x[row * k..][..k];
            let want: f64 = w.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            error += (f64::from(out[row * n + col]) - want).powi(2);
            power += want * want;
        }
    }
    assert!(error <= 1e-3 * power, "wrong outputs: error {error} of {power}");
}

/// One forward's weights, or enough copies of one shape; applied in turn.
struct Layers {
    weights: Vec<PackedWeight>,
    bytes: usize,
    macs: usize,
}

impl Layers {
    fn new(shapes: &[(&Shape, usize)], isa: Isa, activations: Activations) -> Self {
        let mut weights = Vec::new();
        for (shape, count) in shapes {
            let bytes = tensor(shape, 99);
            weights.extend((0..*count).map(|_| pack(shape, &bytes, isa, activations)));
        }
        Layers {
            bytes: weights.iter().map(PackedWeight::bytes).sum(),
            macs: weights.iter().map(|w| w.rows() * w.cols()).sum(),
            weights,
        }
    }
}

fn time(c: &mut Criterion, name: &str, layers: &Layers, one_row: &Cell<f64>, rows: usize) {
    let pool = Pool::new(THREADS);
    let mut scratch = Scratch::default();
    let mut seen = (0, 0);
    for weight in &layers.weights {
        if seen != (weight.rows(), weight.cols()) {
            check(weight, &pool, &mut scratch, rows);
            seen = (weight.rows(), weight.cols());
        }
    }
    let widest = layers.weights.iter().map(PackedWeight::rows).max().unwrap_or(0);
    let deepest = layers.weights.iter().map(PackedWeight::cols).max().unwrap_or(0);
    let (x, mut out) = (inputs(rows, deepest), vec![0.0; rows * widest]);
    let mut best = vec![f64::INFINITY; layers.weights.len()];
    c.bench_with_input(BenchmarkId::new(name, rows), &rows, |b, &rows| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                for (w, best) in layers.weights.iter().zip(&mut best) {
                    let start = Instant::now();
                    w.apply(&pool, &mut scratch, rows, &x, w.cols(), 0, &mut out, w.rows(), 0);
                    black_box(&mut out);
                    *best = best.min(start.elapsed().as_secs_f64());
                }
            }
            start.elapsed()
        });
    });
    let best: f64 = best.iter().sum();
    if best.is_infinite() {
        return;
    }
    if rows == 1 {
        one_row.set(best);
    }
    println!(
        "{name}/{rows}: {:.3} ms for {} weights, {:.1} GB/s, {:.0} GMAC/s, {:.2} x one row",
        best * 1e3,
        layers.weights.len(),
        layers.bytes as f64 / best / 1e9,
        (layers.macs * rows) as f64 / best / 1e9,
        best / one_row.get(),
    );
}

fn linear(c: &mut Criterion) {
    println!("memory reads: {:.1} GB/s on {THREADS} threads", roof::bandwidth(THREADS) / 1e9);
    for &isa in Isa::available() {
        for activations in [Activations::Int8, Activations::Float] {
            let mut sets: Vec<_> = SHAPES.iter().map(|s| (s.name, vec![(s, copies(s))])).collect();
            sets.push(("pass", SHAPES.iter().map(|s| (s, s.count)).collect()));
            let format = |(name, dtype)| Shape { name, dtype, rows: 1536, cols: 1536, count: 0 };
            let formats = FORMATS.map(format);
            sets.extend(formats.iter().map(|s| (s.name, vec![(s, copies(s))])));
            for (name, shapes) in sets {
                let rows = match (isa, name.starts_with("format")) {
                    // Plain Rust is timed to know it, not to compare it: a few rows will do.
                    (Isa::Portable, _) => &ROWS[..2],
                    (_, true) => &ROWS_OF_FORMATS[..],
                    (_, false) => &ROWS[..],
                };
                let name = format!("{isa}/{activations:?}/{name}").to_lowercase();
                let layers = Layers::new(&shapes, isa, activations);
                let one_row = Cell::new(f64::NAN);
                for &rows in rows {
                    time(c, &name, &layers, &one_row, rows);
                }
            }
        }
    }
}

/// As many copies of a weight as no cache holds.
fn copies(shape: &Shape) -> usize {
    let bytes = shape.rows * shape.dtype.row_bytes(shape.cols).unwrap_or(1);
    COLD_BYTES / bytes + 1
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200));
    targets = linear
}
criterion_main!(benches);
