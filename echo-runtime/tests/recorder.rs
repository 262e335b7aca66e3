//! The recorder in an engine: every text with the states that the target has beside it when it
//! reads the whole text at once, whoever was decoded in between.

mod testkit;

use echo_budget::Uniform;
use echo_core::port::Device;
use echo_core::{DType, Limits, SampleView, Sampling, Target, Token, Verdicts};
use echo_gate::Always;
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_model::LlamaTarget;
use echo_model::eagle::{Recorder, Recording};
use echo_model::llama::Taps;
use echo_model::testkit::{Rows, TinyModel, TinyShape};
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use std::sync::{Arc, Mutex};
use testkit::vocab::SmallVocab;

const LIMITS: fn() -> Limits = || Limits { rows_max: 24, ..Limits::usual(3, 64) };

fn target() -> (Arc<CpuKernels>, LlamaTarget, Taps) {
    let kernels = Arc::new(CpuKernels::new(CpuOptions { threads: 1, ..CpuOptions::default() }));
    let model = TinyModel::new(TinyShape::usual(DType::F32), 3);
    let mut target =
        LlamaTarget::new(Arc::clone(&kernels) as _, &model, &LIMITS()).expect("a tiny model loads");
    let taps = target.tap([0, 1, 1]).expect("it has two layers");
    (kernels, target, taps)
}

/// What is recorded while prompts of these lengths are answered, three at a time.
fn recorded(prompts: &[usize]) -> Vec<Recording> {
    let (kernels, target, taps) = target();
    let sink = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&sink);
    let keep = Box::new(move |recording| into.lock().expect("nobody panicked").push(recording));
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(Recorder::new(kernels, taps, &LIMITS(), keep)),
        gate: Box::new(Always),
        solver: Box::new(Uniform::default()),
        vocab: Arc::new(SmallVocab),
    };
    let options = Options { prefix_cache: false, ..Options::default() };
    let mut engine = Engine::new(parts, LIMITS(), options).expect("the limits are legal");
    for (seed, &n) in (0_u64..).zip(prompts) {
        let prompt = (0..n as Token).map(|i| 2 + (7 * i + seed as Token) % 30).collect();
        let sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
        let stops = Stops { max_tokens: Some(4 + n / 2), ..Stops::default() };
        engine.submit(Request { sampling, stops, ..Request::new(prompt) }).expect("it fits");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("the CPU does not fail");
        out.clear();
    }
    std::mem::take(&mut *sink.lock().expect("nobody panicked"))
}

/// The states of a text that the target reads by itself, in chunks.
fn states(tokens: &[Token]) -> Vec<f32> {
    let (kernels, mut target, taps) = target();
    let mut all = Vec::new();
    for (chunk, read) in tokens.chunks(24).zip((0..).step_by(24)) {
        let mut rows = Rows::new(1);
        rows.sequence(0, &(0..read).collect::<Vec<_>>());
        chunk.iter().zip(read..).for_each(|(&token, slot)| rows.context(token, slot));
        let sample = SampleView { specs: &[], edits: &[] };
        target.verify(rows.view(), sample, &mut Verdicts::default()).expect("it does not fail");
        let mut read = vec![0.0; chunk.len() * taps.width];
        kernels.read(taps.buffer, 0, &mut read).expect("it does not fail");
        all.append(&mut read);
    }
    all
}

#[test]
fn a_text_has_the_states_it_would_have_alone() {
    let prompts = [1, 30, 7, 2, 19];
    let recordings = recorded(&prompts);
    assert_eq!(recordings.len(), prompts.len());
    for Recording { tokens, hidden } in recordings {
        // The last token ended the text: no forward has read it.
        let known = states(&tokens[..tokens.len() - 1]);
        assert!(known.iter().any(|&x| x != known[0]));
        assert_eq!(hidden.len(), known.len(), "a text of {} tokens", tokens.len());
        // They are kept in sixteen bits.
        let is_close = |(kept, state): (f32, &f32)| (kept - state).abs() <= 1e-3 * state.abs();
        let kept = hidden.iter().map(|state| state.to_f32());
        assert!(kept.zip(&known).all(is_close), "a text of {} tokens", tokens.len());
    }
}

#[test]
fn a_text_that_begins_inside_its_prompt_is_not_handed_over() {
    let (kernels, mut target, taps) = target();
    let sink = Arc::new(Mutex::new(0));
    let count = Arc::clone(&sink);
    let keep = Box::new(move |_| *count.lock().expect("nobody panicked") += 1);
    let mut recorder = Recorder::new(kernels, taps, &LIMITS(), keep);
    for first in [0, 3] {
        let tokens = [5, 6, 7, 8, 9, 10];
        let mut rows = Rows::new(1);
        rows.sequence(0, &(0..first).collect::<Vec<_>>());
        (first..5).for_each(|slot| rows.context(tokens[slot as usize], slot));
        let sample = SampleView { specs: &[], edits: &[] };
        target.verify(rows.view(), sample, &mut Verdicts::default()).expect("it does not fail");
        let batch = echo_core::BatchView {
            tokens: &tokens,
            slots: &[0, 1, 2, 3, 4, 5],
            stride: 6,
            n_tokens: &[6],
            n_cached: &[5],
            seed: &[0],
            temperature: &[0.0],
        };
        let kept = vec![true; rows.len()];
        let drafter: &mut dyn echo_core::Drafter = &mut recorder;
        drafter.settle(echo_core::Settled { batch, packed: rows.view(), kept: &kept });
        drafter.forget(0);
    }
    assert_eq!(*sink.lock().expect("nobody panicked"), 1);
}
