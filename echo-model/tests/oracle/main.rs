//! The forward against its plain recomputation: every kind of model and weight, cached prefixes,
//! chunks, trees and neighbours; and wrong recomputations, which must be told apart.

mod dequant;
mod plain;

use echo_core::port::Device;
use echo_core::sampling::{SampleSpec, SampleView};
use echo_core::{DType, Limits, PackedView, Target, Token, Verdicts};
use echo_kernels_cpu::{Activations, CpuKernels, CpuOptions, Path};
use echo_model::testkit::{Rows, TinyModel, TinyShape};
use echo_model::{Family, LlamaTarget, Taps, Weights};
use plain::{Plain, Wrong};
use std::sync::Arc;

const LIMITS: Limits = Limits {
    seqs_max: 4,
    rows_max: 32,
    depth_max: 4,
    width_max: 4,
    beam_max: 4,
    tree_max: 16,
    context_max: 64,
    kv_slots: 128,
    logprobs_max: 0,
};

struct Model {
    weights: TinyModel,
    kernels: Arc<CpuKernels>,
    target: LlamaTarget,
}

fn model(shape: TinyShape, path: Path) -> Model {
    model_with(shape, path, Activations::default())
}

fn model_with(shape: TinyShape, path: Path, activations: Activations) -> Model {
    let weights = TinyModel::new(shape, 7);
    let kernels = Arc::new(CpuKernels::new(CpuOptions { threads: 1, path, activations }));
    let target = LlamaTarget::new(kernels.clone(), &weights, &LIMITS).expect("a sound tiny model");
    Model { weights, kernels, target }
}

fn shapes() -> Vec<TinyShape> {
    let usual = TinyShape::usual(DType::F32);
    let wide = TinyShape { hidden: 256, ffn: 256, head_dim: 64, ..usual };
    let mut all = vec![
        usual,
        TinyShape { n_kv: 4, tied: false, ..usual },
        TinyShape { n_kv: 1, n_layers: 3, ..usual },
        TinyShape { family: Family::Qwen3, head_dim: 32, ..usual },
        TinyShape { family: Family::Qwen3, n_q: 6, n_kv: 3, tied: false, ..usual },
    ];
    let small = [DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0];
    all.extend(small.map(|dtype| TinyShape { dtype, ..usual }));
    all.extend([DType::Q4K, DType::Q6K].map(|dtype| TinyShape { dtype, ..wide }));
    all
}

/// The log-probabilities of all tokens at each sampled row, by token.
fn forward(target: &mut LlamaTarget, packed: PackedView<'_>) -> Vec<Vec<f32>> {
    let vocab = target.shape().vocab;
    let spec = SampleSpec { logprobs: Some(vocab as u32), ..SampleSpec::GREEDY };
    let specs = vec![spec; packed.sampled.len()];
    let mut verdicts = Verdicts::with_capacity(specs.len(), vocab);
    let sample = SampleView { specs: &specs, edits: &[] };
    target.verify(packed, sample, &mut verdicts).expect("the host does not fail");
    let row = |i: usize| {
        let mut by_token = vec![f32::NAN; vocab];
        verdicts.top_of(i).iter().for_each(|&(token, p)| by_token[token as usize] = p);
        assert!(!verdicts.faulty[i]);
        by_token
    };
    (0..verdicts.len()).map(row).collect()
}

/// Two sequences in two forwards, the first one in chunks; the text behind each sampled row of the
/// second forward, and what the target says there.
fn scenario(target: &mut LlamaTarget) -> (Vec<Vec<Token>>, Vec<Vec<f32>>) {
    let first: Vec<Token> = vec![3, 17, 5, 5, 60, 2, 41];
    let second: Vec<Token> = vec![9, 1];
    let slot = |at: usize| (at * 37 % 128) as u32;
    let mut rows = Rows::new(1);
    rows.sequence(1, &[]);
    (0..4).for_each(|i| rows.context(first[i], slot(i)));
    assert!(forward(target, rows.view()).is_empty());
    let mut rows = Rows::new(1);
    rows.sequence(0, &[]);
    rows.context(second[0], slot(50));
    rows.root(second[1], slot(51));
    rows.sequence(1, &[0, 1, 2, 3].map(slot));
    (4..6).for_each(|i| rows.context(first[i], slot(i)));
    rows.root(first[6], slot(6));
    let a = rows.drafted(70, slot(7), None);
    let b = rows.drafted(11, slot(8), None);
    let aa = rows.drafted(12, slot(9), Some(a));
    rows.drafted(13, slot(10), Some(b));
    rows.drafted(14, slot(11), Some(aa));
    let after = |path: &[Token]| [&first, path].concat();
    let texts = vec![
        second,
        after(&[]),
        after(&[70]),
        after(&[11]),
        after(&[70, 12]),
        after(&[11, 13]),
        after(&[70, 12, 14]),
    ];
    (texts, forward(target, rows.view()))
}

fn worst(plain: &Plain<'_>, texts: &[Vec<Token>], answers: &[Vec<f32>]) -> f64 {
    let row = |(text, answer): (&Vec<Token>, &Vec<f32>)| {
        let differences = plain.log_probs(text);
        let differences = differences.iter().zip(answer).map(|(a, b)| (a - f64::from(*b)).abs());
        differences.fold(0.0, |worst: f64, d| if d.is_nan() { d } else { worst.max(d) })
    };
    texts.iter().zip(answers).map(row).fold(0.0, f64::max)
}

#[test]
fn the_forward_is_its_plain_recomputation() {
    for shape in shapes() {
        let mut model = model(shape, Path::Reference);
        let (texts, answers) = scenario(&mut model.target);
        let worst = worst(&Plain::new(&model.weights), &texts, &answers);
        assert!(worst < 2e-5, "{shape:?}: {worst:e}");
    }
}

#[test]
fn the_fast_path_says_the_same() {
    // Quantised weights meet activations of 8 bits there, in widths too small to average out, and
    // keys and values are kept in halves; with float activations neither is so.
    let float = |dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    for shape in shapes() {
        let rounded = if float(shape.dtype) { 2e-2 } else { 0.5 };
        for (activations, bound) in [(Activations::Float, 2e-4), (Activations::Int8, rounded)] {
            let mut model = model_with(shape, Path::Fast, activations);
            let (texts, answers) = scenario(&mut model.target);
            let worst = worst(&Plain::new(&model.weights), &texts, &answers);
            assert!(worst < bound, "{shape:?}, {activations:?}: {worst:e}");
        }
    }
}

#[test]
fn wrong_recomputations_are_told_apart() {
    use Wrong::{Gate, Groups, HeadNorms, Mask, Pairs, Positions};
    let shape = TinyShape { family: Family::Qwen3, ..TinyShape::usual(DType::F32) };
    let mut model = model(shape, Path::Reference);
    let (texts, answers) = scenario(&mut model.target);
    for wrong in [Pairs, Positions, Groups, Gate, HeadNorms, Mask] {
        let mut plain = Plain::new(&model.weights);
        plain.wrong = Some(wrong);
        let worst = worst(&plain, &texts, &answers);
        assert!(worst > 0.02, "{wrong:?} differs by {worst:e} only");
    }
}

#[test]
fn taps_hold_the_stream_after_their_layers() {
    let shape = TinyShape { n_layers: 4, ..TinyShape::usual(DType::F32) };
    let mut model = model(shape, Path::Reference);
    let before = scenario(&mut model.target).1;
    let [first, second] = [[2, 0, 3], [1, 1, 0]];
    let mut tap = |layers| model.target.tap(layers).expect("room for taps");
    let taps = [tap(first), tap(second)];
    assert_eq!(tap(first), taps[0], "who asks again is told the same place");
    let (texts, after) = scenario(&mut model.target);
    assert_eq!(before, after, "tapping changes nothing");
    let hidden = model.weights.config().hidden;
    // Rows of the last forward that were sampled, in its order.
    for (text, row) in texts.iter().zip([1, 4, 5, 6, 7, 8, 9]) {
        let streams = Plain::new(&model.weights).streams(text);
        for (Taps { buffer, width }, layers) in taps.into_iter().zip([first, second]) {
            assert_eq!(width, 3 * hidden);
            let mut tapped = vec![0.0; width];
            model.kernels.read(buffer, row * width, &mut tapped).expect("in the host's memory");
            for (own, layer) in tapped.chunks(hidden).zip(layers) {
                let expected = streams[layer].last().expect("a token");
                let near = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() < 1e-4;
                assert!(own.iter().zip(expected).all(near), "layer {layer} of row {row}");
            }
        }
    }
}
