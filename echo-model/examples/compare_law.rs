//! How far the fast kernels' next-token law is from an independent implementation's, over a text,
//! and how well either foretells it.
//!
//! `tests/golden/logits.py MODEL.gguf DIR` writes the other side; then
//! `cargo run --release -p echo-model --example compare_law -- MODEL.gguf DIR`.

#[path = "../tests/golden/law.rs"]
mod law;

use echo_core::Token;
use echo_kernels_cpu::{Activations, CpuKernels, CpuOptions};
use echo_model::{Checkpoint, LlamaTarget};
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// Tokens that are evaluated apart from others, as in the script.
const WINDOW: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model, folder] = arguments.as_slice() else {
        return Err("usage: compare_law MODEL.gguf DIR".into());
    };
    let tokens = std::fs::read_to_string(Path::new(folder).join("tokens.txt"))?;
    let tokens = tokens.split_whitespace().map(str::parse).collect::<Result<Vec<Token>, _>>()?;
    for activations in [Activations::Float, Activations::Int8] {
        let checkpoint = Checkpoint::open(Path::new(model))?;
        let kernels = CpuKernels::new(CpuOptions { activations, ..CpuOptions::default() });
        let mut target = LlamaTarget::new(Arc::new(kernels), &checkpoint, &law::LIMITS)?;
        let reference = File::open(Path::new(folder).join("reference.f32"))?;
        let sums = compare(&mut target, &tokens, BufReader::new(reference))?;
        let n = tokens.len();
        println!(
            "{activations:?}: top-1 agrees at {} of {n}, mean KL {:.2e}, perplexity {:.3}, the \
             reference's {:.3}",
            sums.agreed,
            sums.kl / n as f64,
            (sums.surprise / sums.foretold as f64).exp(),
            (sums.reference_surprise / sums.foretold as f64).exp(),
        );
    }
    Ok(())
}

#[derive(Default)]
struct Sums {
    /// Positions where both sides hold the same token for the likeliest.
    agreed: usize,
    /// `KL(reference || ours)`.
    kl: f64,
    /// Tokens that a position before them foretells.
    foretold: usize,
    /// Negative log-probabilities of those, ours and the reference's.
    surprise: f64,
    reference_surprise: f64,
}

fn compare(
    target: &mut LlamaTarget,
    tokens: &[Token],
    mut reference: impl Read,
) -> Result<Sums, Box<dyn Error>> {
    let mut sums = Sums::default();
    for window in tokens.chunks(WINDOW) {
        for (i, ours) in law::log_probs(target, window).into_iter().enumerate() {
            let mut bytes = vec![0; 4 * ours.len()];
            reference.read_exact(&mut bytes)?;
            let theirs =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let theirs: Vec<f32> = theirs.collect();
            let best = |law: &[f32]| {
                law.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|best| best.0)
            };
            sums.agreed += usize::from(best(&ours) == best(&theirs));
            if let Some(&next) = window.get(i + 1) {
                sums.foretold += 1;
                sums.surprise -= f64::from(ours[next as usize]);
                sums.reference_surprise -= f64::from(theirs[next as usize]);
            }
            let term = |(&p, &q): (&f32, &f32)| f64::from(p).exp() * (f64::from(p) - f64::from(q));
            sums.kl += theirs.iter().zip(&ours).map(term).sum::<f64>();
        }
    }
    Ok(sums)
}
