//! The operations that wait: what the device finds, the host finishes.

use crate::device::{Launch, State};
use crate::gpu::{Array, Gpu};
use crate::ops::{check, words};
use crate::pipelines::NONE;
use echo_core::port::Mat;
use echo_core::sampling::{SampleSpec, SampleView, gumbel, sample_row};
use echo_core::{DeviceError, Token, TopK, Verdicts};
use std::cmp::Ordering;

/// Tokens that the device names for a row, at most, and the words of its answer.
const FOUND_MAX: usize = 8;
const FOUND_WORDS: usize = 2 + 2 * FOUND_MAX;

impl State {
    /// The device names the tokens that may win, the host decides among them. Of rows that ask for
    /// more, and of those where too many may win, the logits are read, and the law is applied here.
    pub(crate) fn sample_rows(
        &mut self,
        logits: Mat,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let rows = sample.specs.len();
        verdicts.reset(rows);
        check(logits, rows, self.memory.floats(logits.buffer), "sample_rows: logits");
        let mut open: Vec<bool> = sample.specs.iter().map(|spec| !is_plain(spec)).collect();
        if open.contains(&false) {
            self.screen(logits, sample.specs, |row, found| {
                verdicts.faulty[row] = found[0] != 0;
                let count = found[1] as usize;
                // None came near the best if quotients of its logits overflow.
                open[row] |= found[0] == 0 && count == 0 || count > FOUND_MAX;
                if !open[row] && found[0] == 0 {
                    let tokens = &found[2..][..count];
                    let logits = &found[2 + FOUND_MAX..][..count];
                    verdicts.token[row] = decide(&sample.specs[row], tokens, logits);
                }
            })?;
        }
        let Some(first) = open.iter().position(|&open| open) else { return Ok(()) };
        let last = open.iter().rposition(|&open| open).unwrap_or(first);
        let Mat { stride, col, width, .. } = logits;
        let len = (last - first) * stride + width;
        self.logits.resize(len.max(self.logits.len()), 0.0);
        let array = self.memory.floats(logits.buffer);
        let into = &mut self.logits[..len];
        let start = 4 * (first * stride + col);
        self.stream.read(&self.gpu, &array.buffer, start, 4 * len, |bytes| {
            bytemuck::cast_slice_mut(into).copy_from_slice(bytes);
        })?;
        for row in (first..=last).filter(|&row| open[row]) {
            verdicts.faulty[row] = false;
            let logits = &self.logits[(row - first) * stride..][..width];
            sample_row(logits, sample, row, &mut self.sampling, verdicts);
        }
        Ok(())
    }

    /// Hands on what the device says of each row.
    fn screen(
        &mut self,
        logits: Mat,
        specs: &[SampleSpec],
        hand: impl FnMut(usize, &[u32]),
    ) -> Result<(), DeviceError> {
        let spec = |spec: &SampleSpec| {
            let (low, high) = (spec.seed as u32, (spec.seed >> 32) as u32);
            [spec.temperature.to_bits(), low, high, spec.position]
        };
        let words: Vec<[u32; 4]> = specs.iter().map(spec).collect();
        let State { gpu, stream, specs, .. } = self;
        let array = room(specs, gpu, 4 * words.len())?;
        stream.write(gpu, &array.buffer, 0, bytemuck::cast_slice(&words));
        let sizes = crate::ops::words([logits.width, logits.stride, logits.col]);
        self.ask("sample_rows", words.len(), logits, true, &sizes, FOUND_WORDS, hand)
    }

    /// The device finds columns, values and the sum; the logarithm is taken here.
    pub(crate) fn topk_logprob(
        &mut self,
        rows: usize,
        x: Mat,
        k: usize,
        best: &mut TopK,
    ) -> Result<(), DeviceError> {
        assert!((1..=x.width).contains(&k), "topk_logprob: k is {k} of {} columns", x.width);
        check(x, rows, self.memory.floats(x.buffer), "topk_logprob: x");
        best.reset(rows, k);
        let sizes = words([x.width, x.stride, x.col, k]);
        self.ask("topk_logprob", rows, x, false, &sizes, 2 * k + 1, |row, found| {
            let value = |i: usize| f64::from(f32::from_bits(found[k + i]));
            let sum = f64::from(f32::from_bits(found[2 * k]));
            best.column[row * k..][..k].copy_from_slice(&found[..k]);
            for i in 0..k {
                let log_prob = (value(i) - value(0) - sum.ln()) as f32;
                let sound = if log_prob.is_nan() { f32::NEG_INFINITY } else { log_prob };
                best.log_prob[row * k + i] = sound;
            }
        })
    }

    /// Runs a kernel of one workgroup a row that answers `width` words a row, and hands them on.
    fn ask(
        &mut self,
        stem: &'static str,
        rows: usize,
        x: Mat,
        with_specs: bool,
        immediates: &[u32],
        width: usize,
        mut hand: impl FnMut(usize, &[u32]),
    ) -> Result<(), DeviceError> {
        if rows == 0 {
            return self.gpu.check();
        }
        let State { gpu, memory, stream, pipelines, answers, specs, .. } = self;
        let found = room(answers, gpu, rows * width)?;
        let x = memory.floats(x.buffer);
        let bound: &[&Array] = match specs {
            Some(specs) if with_specs => &[x, specs, found],
            _ => &[x, found],
        };
        Launch { stem, constants: NONE, bound, immediates, groups: [rows as u32, 1] }
            .record(gpu, pipelines, stream);
        stream.read(gpu, &found.buffer, 0, 4 * rows * width, |bytes| {
            let found: &[u32] = bytemuck::cast_slice(bytes);
            for (row, found) in found.chunks_exact(width).enumerate() {
                hand(row, found);
            }
        })
    }
}

/// Whether the device can say which tokens may win.
fn is_plain(spec: &SampleSpec) -> bool {
    let edited = spec.edits.0 < spec.edits.1 || spec.path_edits.0 < spec.path_edits.1;
    let drawn = spec.temperature > 0.0;
    let truncated = spec.top_k > 0 || spec.top_p < 1.0 || spec.min_p > 0.0;
    !(edited || drawn && truncated || spec.logprobs.is_some())
}

/// The law among `tokens` whose logits have these bits; the rest is known to lose.
fn decide(spec: &SampleSpec, tokens: &[u32], logits: &[u32]) -> Token {
    let noisy = |&(token, bits): &(u32, u32)| {
        let logit = f32::from_bits(bits);
        if spec.temperature == 0.0 {
            return logit;
        }
        logit / spec.temperature + gumbel(spec.seed, spec.position, token)
    };
    let mut pairs: Vec<(u32, u32)> = tokens.iter().copied().zip(logits.iter().copied()).collect();
    pairs.sort_unstable();
    let first = |a: &(u32, u32), b: &(u32, u32)| {
        noisy(a).partial_cmp(&noisy(b)).unwrap_or(Ordering::Equal).then(b.0.cmp(&a.0))
    };
    pairs.into_iter().max_by(first).map_or(0, |(token, _)| token)
}

/// An array of at least `len` words, made anew if the last one was smaller.
fn room<'a>(
    array: &'a mut Option<Array>,
    gpu: &mut Gpu,
    len: usize,
) -> Result<&'a Array, DeviceError> {
    if array.as_ref().is_none_or(|array| array.len < len) {
        *array = Some(gpu.array(len.next_power_of_two(), "answers")?);
    }
    Ok(array.as_ref().expect("it was made above"))
}
