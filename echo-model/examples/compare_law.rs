//! How far the fast kernels' next-token law is from an independent implementation's, over a text.
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
        let (agreed, kl) = compare(&mut target, &tokens, BufReader::new(reference))?;
        let n = tokens.len();
        println!("{activations:?}: top-1 agrees at {agreed} of {n}, mean KL {:.2e}", kl / n as f64);
    }
    Ok(())
}

/// Positions where both sides hold the same token for the likeliest, and the sum of
/// `KL(reference || ours)`.
fn compare(
    target: &mut LlamaTarget,
    tokens: &[Token],
    mut reference: impl Read,
) -> Result<(usize, f64), Box<dyn Error>> {
    let (mut agreed, mut sum) = (0, 0.0);
    for window in tokens.chunks(WINDOW) {
        for ours in law::log_probs(target, window) {
            let mut bytes = vec![0; 4 * ours.len()];
            reference.read_exact(&mut bytes)?;
            let theirs =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            let theirs: Vec<f32> = theirs.collect();
            let best = |law: &[f32]| {
                law.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|best| best.0)
            };
            agreed += usize::from(best(&ours) == best(&theirs));
            let term = |(&p, &q): (&f32, &f32)| f64::from(p).exp() * (f64::from(p) - f64::from(q));
            sum += theirs.iter().zip(&ours).map(term).sum::<f64>();
        }
    }
    Ok((agreed, sum))
}
