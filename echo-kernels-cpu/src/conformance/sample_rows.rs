//! Conformance of [`sample_rows`](crate::reference::sample_rows()): the same tokens and the same
//! bits as the law of `echo_core::sampling`.

use super::compare::Class;
use super::purity::{ROWS_MAX, Rows};
use super::random::Random;
use super::sheet::{Sheet, upload};
use super::suite::Suite;
use crate::reference;
use echo_core::port::{Data, Kernels};
use echo_core::sampling::{SampleSpec, SampleView, Scratch};
use echo_core::{DeviceError, TokenEdit, Verdicts};

/// Alternatives listed at most.
const TOP: usize = 3;
/// Tokens that the edits of a text, or of a path, name.
const TOKENS_EDITED: usize = 8;

pub(super) fn check(suite: &mut Suite<'_>) {
    let kernels = suite.open();
    for (rows, vocab) in [(0, 5), (1, 1), (7, 17), (40, 1000), (64, 333), (3, 49152)] {
        let mut random = Random::new(vocab as u64);
        let mut logits = Sheet::random(rows, vocab, &mut random);
        for row in 0..rows {
            spice(logits.row_mut(row), row, &mut random);
        }
        let edits = edits(vocab, &mut random);
        let specs: Vec<SampleSpec> = (0..rows).map(|row| spec(row, vocab, &mut random)).collect();
        let sample = SampleView { specs: &specs, edits: &edits };
        let actual = run(&*kernels, &logits, sample);
        let expected = law(&logits, sample);
        let name = format!("{rows} rows of {vocab}");
        // The bugs: the noise of another position; the edits of the path forgotten; the second
        // best token. Few rows may agree by chance under the first two.
        let bend = |bend: fn(&mut SampleSpec)| {
            let mut specs = specs.clone();
            specs.iter_mut().for_each(bend);
            law(&logits, SampleView { specs: &specs, edits: &edits })
        };
        let late = bend(|spec| spec.position += 1);
        let pathless = bend(|spec| spec.path_edits = (0, 0));
        let second = second_best(&logits, sample);
        for (wrong, rows_min) in [(late, 20), (pathless, 20), (second, 1)] {
            let wrong = (rows >= rows_min).then_some(&wrong[..]);
            suite.buffer(&name, Class::Exact, actual.clone(), &expected, &|_| true, wrong);
        }
    }
    overflow(suite, &*kernels);
    suite.pure("rows of 333", ROWS_MAX, &prepare);
}

/// A repetition penalty so small that the logits of some tokens overflow: they are infinite, all
/// alike, and the lowest of them wins, whatever is cut.
fn overflow(suite: &mut Suite<'_>, kernels: &dyn Kernels) {
    let mut logits = Sheet::random(4, 333, &mut Random::new(9));
    let tokens = [40, 77, 300, 301];
    for row in 0..logits.rows {
        for token in tokens {
            logits.row_mut(row)[token] = 5.0 + row as f32;
        }
    }
    let edit = |&token: &usize| {
        let repetition = if token == 77 { 1.0 } else { 1e-38 };
        TokenEdit { token: token as u32, bias: 0.0, repetition, penalty: 0.0 }
    };
    let edits: Vec<TokenEdit> = tokens.iter().map(edit).collect();
    // Two tokens overflow, or three; then the same, once others are cut.
    let spec = |first: u32, top_k: u32, min_p: f32| {
        let (seed, temperature, top_p) = (7, 1.0, 0.9);
        let edits = (first, tokens.len() as u32);
        SampleSpec { seed, temperature, top_p, top_k, min_p, edits, ..SampleSpec::GREEDY }
    };
    let specs = [spec(1, 0, 0.0), spec(0, 0, 0.0), spec(0, 2, 0.0), spec(1, 0, 0.1)];
    let sample = SampleView { specs: &specs, edits: &edits };
    let (actual, expected) = (run(kernels, &logits, sample), law(&logits, sample));
    let wrong = second_best(&logits, sample);
    suite.buffer("overflow", Class::Exact, actual, &expected, &|_| true, Some(&wrong));
}

/// Ties, zeros of both signs, −∞ and, in some rows, what makes them faulty, what swallows the noise
/// so that noisy values tie too, or (see [`is_flat`]) a mass that lies far below the best token.
fn spice(logits: &mut [f32], row: usize, random: &mut Random) {
    for l in logits.iter_mut() {
        *l *= 3.0;
        match random.below(24) {
            0 => *l = f32::NEG_INFINITY,
            1 => *l = 0.0,
            2 => *l = -0.0,
            3 => *l = 9.5,
            _ => {}
        }
    }
    let last = logits.len() - 1;
    match row % 13 {
        5 => logits[last] = f32::NAN,
        6 => logits[last / 2] = f32::INFINITY,
        7 => logits.fill(f32::NEG_INFINITY),
        8 => logits.fill(-1.0),
        9 => logits.fill(1e9),
        _ => {}
    }
    if is_flat(row, logits.len()) {
        logits.fill(-8.5);
        logits[7] = 0.0;
    }
    if is_even(row, logits.len()) {
        logits.iter_mut().enumerate().for_each(|(token, l)| *l = -8.0 - 1e-3 * token as f32);
    }
}

/// Whether the row is nearly even, and min-p leaves its first four tokens: fewer than top-k asks
/// for, which must not bring the others back.
fn is_even(row: usize, vocab: usize) -> bool {
    row % 13 == 10 && vocab > 100
}

/// Whether the row has one likely token and, in thousands of unlikely ones, ten times its mass:
/// top-p has to look far.
fn is_flat(row: usize, vocab: usize) -> bool {
    row == 1 && vocab > 10_000
}

fn edits(vocab: usize, random: &mut Random) -> Vec<TokenEdit> {
    let edit = |token: usize, random: &mut Random| TokenEdit {
        token: token as u32,
        bias: if random.below(3) == 0 { f32::NEG_INFINITY } else { random.activation() },
        repetition: 1.0 + random.unit().abs(),
        penalty: random.unit(),
    };
    // The first half edits the text, the second the path; within each, a token stands once.
    let half = vocab.min(TOKENS_EDITED);
    let mut all: Vec<TokenEdit> = (0..2 * half).map(|i| edit(i % half, random)).collect();
    // The path makes its first token likely, so that forgetting it shows.
    all[half].bias = 40.0;
    all
}

fn spec(row: usize, vocab: usize, random: &mut Random) -> SampleSpec {
    if is_even(row, vocab) {
        let (temperature, top_k, min_p) = (1.0, 50, 0.9965);
        return SampleSpec { seed: 5, temperature, top_k, min_p, ..SampleSpec::GREEDY };
    }
    if is_flat(row, vocab) {
        return SampleSpec { seed: 3, temperature: 1.0, top_p: 0.9, ..SampleSpec::GREEDY };
    }
    let mut pick = |from: &[f32]| from[random.below(from.len())];
    let half = vocab.min(TOKENS_EDITED) as u32;
    SampleSpec {
        seed: 0x1234_5678_9ABC_DEF0 ^ row as u64,
        position: row as u32 * 3,
        temperature: pick(&[0.0, 0.4, 1.0, 3.0]),
        top_k: pick(&[0.0, 0.0, 1.0, 7.0, 5000.0]) as u32,
        top_p: pick(&[1.0, 1.0, 0.9, 0.3]),
        min_p: pick(&[0.0, 0.0, 0.1, 1.0]),
        edits: (0, half * pick(&[0.0, 1.0]) as u32),
        path_edits: (half, half + half * pick(&[0.0, 1.0]) as u32),
        logprobs: [None, Some(0), Some(3)][row % 3],
    }
}

/// Everything a verdict says, as numbers whose bits can be compared.
fn flat(verdicts: &Verdicts, i: usize) -> Vec<f32> {
    let count = |n: u32| f32::from_bits(n);
    let mut all = vec![count(u32::from(verdicts.faulty[i]))];
    if !verdicts.faulty[i] {
        all.extend([count(verdicts.token[i]), verdicts.log_prob[i], count(verdicts.top_len[i])]);
        all.extend(verdicts.top_of(i).iter().flat_map(|&(token, lp)| [count(token), lp]));
    }
    all
}

fn law(logits: &Sheet, sample: SampleView<'_>) -> Vec<f32> {
    let mut verdicts = Verdicts::with_capacity(logits.rows, TOP);
    let mut scratch = Scratch::default();
    reference::sample_rows(&logits.data, logits.area, sample, &mut scratch, &mut verdicts);
    (0..logits.rows).flat_map(|row| flat(&verdicts, row)).collect()
}

/// The law where each row's winner is not to be had.
fn second_best(logits: &Sheet, sample: SampleView<'_>) -> Vec<f32> {
    let mut verdicts = Verdicts::with_capacity(logits.rows, TOP);
    let mut scratch = Scratch::default();
    reference::sample_rows(&logits.data, logits.area, sample, &mut scratch, &mut verdicts);
    let mut without = logits.clone();
    for (row, &token) in verdicts.token.iter().enumerate() {
        if !verdicts.faulty[row] {
            without.row_mut(row)[token as usize] = f32::NEG_INFINITY;
        }
    }
    law(&without, sample)
}

fn run(
    kernels: &dyn Kernels,
    logits: &Sheet,
    sample: SampleView<'_>,
) -> Result<Vec<f32>, DeviceError> {
    let buffer = logits.upload(kernels)?;
    let mut verdicts = Verdicts::with_capacity(logits.rows, TOP);
    kernels.sample_rows(logits.mat(buffer), sample, &mut verdicts)?;
    Ok((0..logits.rows).flat_map(|row| flat(&verdicts, row)).collect())
}

fn prepare(kernels: &dyn Kernels) -> Result<Rows<'_>, DeviceError> {
    let mut random = Random::new(8);
    let mut logits = Sheet::random(ROWS_MAX, 333, &mut random);
    for row in 0..ROWS_MAX {
        spice(logits.row_mut(row), row, &mut random);
    }
    let edits = edits(333, &mut random);
    let specs: Vec<SampleSpec> = (0..ROWS_MAX).map(|row| spec(row, 333, &mut random)).collect();
    let buffer = upload(kernels, &logits.data)?;
    Ok(Box::new(move |choice| {
        let mut chosen = logits.clone();
        for (i, &row) in choice.iter().enumerate() {
            chosen.row_mut(i).copy_from_slice(logits.row(row));
        }
        let specs: Vec<SampleSpec> = choice.iter().map(|&row| specs[row]).collect();
        kernels.write(buffer, 0, Data::F32(&chosen.data))?;
        let mut verdicts = Verdicts::with_capacity(choice.len(), TOP);
        let sample = SampleView { specs: &specs, edits: &edits };
        kernels.sample_rows(chosen.mat(buffer), sample, &mut verdicts)?;
        Ok((0..choice.len()).map(|i| flat(&verdicts, i)).collect())
    }))
}
