//! What the kernels reach on a device, beside what its memory allows: `figures [FOLDER]`, where
//! FOLDER holds compiled images.
//!
//! Forwards of the shape of Llama-3.1-8B with random BF16 weights, made of the port's operations
//! as a model makes them. Four layers have weights of their own and are run eight times each: far
//! more bytes than a cache holds. Then forwards of the shape of SmolLM2-135M, whose launches take
//! the host long, as graphs and launched one by one. `figures --check` runs a tiny shape on the
//! CPU, to see that the program is sound. `figures --once FOLDER` runs two layers of each shape
//! once for every number of rows, launched one by one and not timed: for a profiler.

mod forward;

use echo_core::port::{Data, Element, Kernels, Mat};
use echo_core::tensor::DType;
use echo_core::{DeviceError, Limits};
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_kernels_cuda::{Cuda, CudaKernels, CudaOptions, Graphs, OpenError};
use forward::{Forward, Shape};
use std::process::ExitCode;
use std::time::Instant;

const LLAMA_8B: Shape = Shape {
    hidden: 4096,
    n_q: 32,
    n_kv: 8,
    dim: 128,
    ffn: 14336,
    vocab: 128_256,
    layers: 32,
    distinct: 4,
    dtype: DType::BF16,
};
const SMOL_135M: Shape = Shape {
    hidden: 576,
    n_q: 9,
    n_kv: 3,
    dim: 64,
    ffn: 1536,
    vocab: 49_152,
    layers: 30,
    distinct: 30,
    dtype: DType::BF16,
};
const TINY: Shape = Shape {
    hidden: 64,
    n_q: 4,
    n_kv: 2,
    dim: 16,
    ffn: 96,
    vocab: 200,
    layers: 4,
    distinct: 2,
    dtype: DType::BF16,
};
/// Sequences, and rows of each.
const SIZES: [(usize, usize); 8] =
    [(1, 1), (1, 8), (1, 16), (1, 32), (1, 64), (16, 1), (64, 1), (64, 4)];
/// Committed positions of each sequence.
const CONTEXT: usize = 512;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).peekable();
    let flag = args.next_if(|arg| arg.starts_with("--"));
    let options = CudaOptions { ordinal: 0, cache: args.next().map(Into::into) };
    let open = |graphs| {
        let cuda = Cuda::open(&options, &mut |_| ())?;
        println!("device: {}", cuda.info());
        Ok::<_, OpenError>(CudaKernels::with_graphs(Box::new(cuda), graphs))
    };
    match flag.as_deref() {
        None => {}
        Some("--check") => {
            let cpu = CpuKernels::new(CpuOptions::default());
            return Ok(figures(&cpu, TINY, 1 << 10, 1)?);
        }
        Some("--once") => return Ok(once(&open(Graphs::Off)?)?),
        Some(other) => return Err(format!("{other}: not --check or --once").into()),
    }
    figures(&open(Graphs::default())?, LLAMA_8B, 1 << 16, 21)?;
    for (graphs, how) in [(Graphs::default(), "as graphs"), (Graphs::Off, "one by one")] {
        println!("135 M parameters, launched {how}:");
        let kernels = open(graphs)?;
        let mut forward = Forward::new(&kernels, SMOL_135M, &limits())?;
        forward.run(1, 1, CONTEXT)?;
        // What is timed is a replay, or an error.
        kernels.seal();
        forwards(&mut forward, 51, None)?;
    }
    Ok(())
}

/// Two layers of every shape, and of the small one with the default model's weights, for every
/// number of rows.
fn once(kernels: &dyn Kernels) -> Result<(), DeviceError> {
    for shape in [LLAMA_8B, SMOL_135M, Shape { dtype: DType::Q4_1, ..SMOL_135M }] {
        let shape = Shape { layers: 2, distinct: 2, ..shape };
        let mut forward = Forward::new(kernels, shape, &limits())?;
        SIZES.into_iter().try_for_each(|(seqs, rows)| forward.run(seqs, rows, CONTEXT))?;
    }
    Ok(())
}

fn limits() -> Limits {
    Limits {
        rows_max: 256,
        tree_max: 64,
        kv_slots: 64 * (CONTEXT + 64),
        context_max: CONTEXT + 64,
        ..Limits::usual(64, CONTEXT + 64)
    }
}

fn figures(
    kernels: &dyn Kernels,
    shape: Shape,
    copied: usize,
    repeats: usize,
) -> Result<(), DeviceError> {
    let bandwidth = copy_bandwidth(kernels, copied, shape.hidden, repeats)?;
    println!("copy bandwidth: {:.0} GB/s", bandwidth / 1e9);
    let start = Instant::now();
    let mut forward = Forward::new(kernels, shape, &limits())?;
    println!("weights made and copied in {:.1} s", start.elapsed().as_secs_f64());
    forwards(&mut forward, repeats, Some(shape.bytes() as f64 / bandwidth))?;
    let (rows, repeats) = (256, repeats.min(11));
    let taken = median(repeats, || forward.products(rows))?;
    let flops = 2.0 * rows as f64 * shape.products() as f64;
    println!(
        "products alone, {rows} rows: {:.3} ms, {:.0} TFLOP/s of useful work",
        taken * 1e3,
        flops / taken / 1e12
    );
    Ok(())
}

/// Times forwards of one row and more; `bound` are the seconds that copying the weights takes.
fn forwards(
    forward: &mut Forward<'_>,
    repeats: usize,
    bound: Option<f64>,
) -> Result<(), DeviceError> {
    let mut one = 0.0;
    for (seqs, rows) in SIZES {
        let taken = median(repeats, || forward.run(seqs, rows, CONTEXT))?;
        if one == 0.0 {
            one = taken;
        }
        let (ms, of_one) = (taken * 1e3, taken / one);
        let of_bound = bound.map_or(String::new(), |bound| {
            let percent = bound / taken * 100.0;
            format!(", {percent:.0} % of the bound by copying the weights' bytes")
        });
        println!(
            "{seqs:>3} sequences x {rows:>2} rows: {ms:8.3} ms a forward, {of_one:.2} of one \
             row{of_bound}"
        );
    }
    Ok(())
}

/// Bytes per second, read and written, of copying rows.
fn copy_bandwidth(
    kernels: &dyn Kernels,
    rows: usize,
    width: usize,
    repeats: usize,
) -> Result<f64, DeviceError> {
    let from = Mat::new(kernels.alloc(Element::F32, rows * width, "copied")?, width);
    let into = Mat::new(kernels.alloc(Element::F32, rows * width, "copied")?, width);
    let index = kernels.alloc(Element::U32, rows, "rows")?;
    let numbers: Vec<u32> = (0..rows as u32).collect();
    kernels.write(index, 0, Data::U32(&numbers))?;
    let taken = median(repeats, || {
        kernels.gather_rows(rows, index, from, into)?;
        kernels.read(into.buffer, 0, &mut [0.0])
    })?;
    Ok((2 * 4 * rows * width) as f64 / taken)
}

/// Seconds of the median of `repeats` runs, after two that do not count.
fn median(
    repeats: usize,
    mut run: impl FnMut() -> Result<(), DeviceError>,
) -> Result<f64, DeviceError> {
    let mut seconds = Vec::new();
    for i in 0..repeats + 2 {
        let start = Instant::now();
        run()?;
        if i >= 2 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}
