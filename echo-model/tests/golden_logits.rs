//! The default model against log-probabilities of an independent implementation.
//!
//! `golden/logits.py` says how they were made: from dequantised weights, without rounding of
//! activations. The reference path must be as close as the four decimals and single precision
//! allow, and so must float activations on the fast path; by default that path rounds activations
//! to 8 bits and has a bound twice what was measured.

#[path = "golden/law.rs"]
mod law;
#[path = "files/support.rs"]
mod support;

use echo_core::Token;
use echo_kernels_cpu::{Activations, CpuKernels, CpuOptions, Isa, Path};
use echo_model::{Checkpoint, LlamaTarget};
use std::sync::Arc;

#[derive(serde::Deserialize)]
struct Golden {
    tokens: Vec<Token>,
    rows: Vec<GoldenRow>,
}

#[derive(serde::Deserialize)]
struct GoldenRow {
    position: usize,
    top: Vec<(Token, f32)>,
}

/// How far the target is from the golden rows.
struct Distance {
    agreements: usize,
    mean: f64,
    worst: f32,
}

fn distance(golden: &Golden, answers: &[Vec<f32>]) -> Distance {
    let (mut agreements, mut sum, mut n, mut worst) = (0, 0.0, 0, 0f32);
    for row in &golden.rows {
        let answer = &answers[row.position];
        let likeliest = |a: &usize, b: &usize| answer[*a].total_cmp(&answer[*b]).then(b.cmp(a));
        let best = (0..answer.len()).max_by(likeliest).expect("a vocabulary");
        // Two tokens that the reference holds for nearly alike may change places.
        let near = |&&(_, p): &&(Token, f32)| row.top[0].1 - p < 0.1;
        let agrees = row.top.iter().take_while(near).any(|top| top.0 as usize == best);
        agreements += usize::from(agrees);
        for &(token, p) in &row.top {
            let difference = (answer[token as usize] - p).abs();
            sum += f64::from(difference);
            n += 1;
            worst = if difference > worst || difference.is_nan() { difference } else { worst };
        }
    }
    Distance { agreements, mean: sum / f64::from(n), worst }
}

fn golden() -> Golden {
    let golden: Golden =
        serde_json::from_str(include_str!("golden/logits.json")).expect("committed golden values");
    assert!(golden.rows.len() == 64 && golden.rows.iter().all(|row| row.top.len() == 8));
    golden
}

fn target(path: Path, activations: Activations) -> Option<LlamaTarget> {
    let checkpoint =
        Checkpoint::open(&support::default_model("golden_logits")?).expect("the default model");
    let kernels =
        Arc::new(CpuKernels::new(CpuOptions { path, activations, ..CpuOptions::default() }));
    Some(LlamaTarget::new(kernels, &checkpoint, &law::LIMITS).expect("a sound model"))
}

#[test]
fn the_reference_says_what_another_implementation_says() {
    let mut golden = golden();
    // As many positions as the slow path does in seconds.
    golden.tokens.truncate(24);
    golden.rows.truncate(6);
    let Some(mut target) = target(Path::Reference, Activations::Float) else { return };
    let Distance { agreements, mean, worst } =
        distance(&golden, &law::log_probs(&mut target, &golden.tokens));
    let measured = format!("{agreements} of 6 agree, mean {mean:.6}, worst {worst:.6}");
    eprintln!("reference: {measured}");
    assert!(agreements == 6 && mean < 1e-4 && worst < 5e-4, "{measured}");
}

#[test]
fn float_activations_say_it_at_every_position() {
    let golden = golden();
    for &isa in Isa::available().iter().filter(|&&isa| isa != Isa::Portable) {
        let Some(mut target) = target(Path::With(isa), Activations::Float) else { return };
        let Distance { agreements, mean, worst } =
            distance(&golden, &law::log_probs(&mut target, &golden.tokens));
        let measured = format!("{agreements} of 64 agree, mean {mean:.6}, worst {worst:.6}");
        eprintln!("float, {isa}: {measured}");
        assert!(agreements == 64 && mean < 1e-4 && worst < 5e-4, "{measured}");
    }
}

#[test]
fn the_fast_path_stays_near() {
    let golden = golden();
    let Some(mut target) = target(Path::Fast, Activations::Int8) else { return };
    let answers = law::log_probs(&mut target, &golden.tokens);
    let Distance { agreements, mean, worst } = distance(&golden, &answers);
    let measured = format!("{agreements} of 64 agree, mean {mean:.4}, worst {worst:.4}");
    eprintln!("fast: {measured}");
    assert!(agreements >= 62 && mean < 0.16 && worst < 1.0, "{measured}");
    // The comparison has teeth: the answers of the positions before are far away.
    let mut shifted = answers;
    shifted.rotate_right(1);
    let wrong = distance(&golden, &shifted);
    assert!(wrong.agreements < 32 && wrong.mean > 1.0, "{} agree", wrong.agreements);
}
