//! What the host sends to sample rows, and what comes back: one copy each way.

use crate::driver::{Driver, Entry, Geometry, Launch};
use crate::memory::{Rows, Scratch};
use bytemuck::{Pod, Zeroable};
use echo_core::sampling::{SampleSpec, SampleView};
use echo_core::{DeviceError, Limits, TokenEdit, Verdicts};

/// A [`SampleSpec`] as `cu/sample_rows.cu` reads it.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Spec {
    seed: [u32; 2],
    position: u32,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p_log: f32,
    edits: [u32; 2],
    path_edits: [u32; 2],
    alternatives: u32,
}

/// A [`TokenEdit`] likewise.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Edit {
    token: u32,
    bias: f32,
    repetition: f32,
    penalty: f32,
}

impl From<&SampleSpec> for Spec {
    fn from(spec: &SampleSpec) -> Self {
        Spec {
            seed: [spec.seed as u32, (spec.seed >> 32) as u32],
            position: spec.position,
            temperature: spec.temperature,
            top_k: spec.top_k,
            top_p: spec.top_p,
            // The host's logarithm, so that every backend has the same floor.
            min_p_log: if spec.min_p > 0.0 { spec.min_p.ln() } else { f32::NEG_INFINITY },
            edits: spec.edits.into(),
            path_edits: spec.path_edits.into(),
            alternatives: spec.logprobs.unwrap_or(u32::MAX),
        }
    }
}

impl From<&TokenEdit> for Edit {
    fn from(edit: &TokenEdit) -> Self {
        let TokenEdit { token, bias, repetition, penalty } = *edit;
        Edit { token, bias, repetition, penalty }
    }
}

/// Buffers of sampling on both sides.
#[derive(Default)]
pub(crate) struct Sampler {
    request: Scratch,
    answers: Scratch,
    request_host: Vec<u8>,
    answers_host: Vec<u32>,
}

impl Sampler {
    /// Room for every row of a forward, and for edits of every token of every sequence.
    pub(crate) fn reserve(
        &mut self,
        driver: &dyn Driver,
        limits: &Limits,
    ) -> Result<(), DeviceError> {
        let Limits { rows_max, seqs_max, context_max, logprobs_max, .. } = *limits;
        let edits = seqs_max.saturating_mul(context_max).min(1 << 22);
        let request = rows_max * size_of::<Spec>() + edits * size_of::<Edit>();
        self.request.reserve(driver, request, "sampling parameters")?;
        let answers = 4 * rows_max * (4 + 2 * logprobs_max);
        self.answers.reserve(driver, answers, "sampled tokens")?;
        Ok(())
    }

    /// Samples one row per spec and waits. Panics if an edit names a token outside the vocabulary.
    pub(crate) fn sample(
        &mut self,
        driver: &dyn Driver,
        logits: Rows,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let (rows, stride) = (sample.specs.len(), 4 + 2 * verdicts.top_stride);
        verdicts.reset(rows);
        if rows == 0 {
            return Ok(());
        }
        let vocab = logits.width;
        assert!(
            sample.edits.iter().all(|edit| (edit.token as usize) < vocab),
            "an edit names a token outside the vocabulary of {vocab}"
        );
        self.request_host.clear();
        for spec in sample.specs {
            self.request_host.extend_from_slice(bytemuck::bytes_of(&Spec::from(spec)));
        }
        for edit in sample.edits {
            self.request_host.extend_from_slice(bytemuck::bytes_of(&Edit::from(edit)));
        }
        let request =
            self.request.reserve(driver, self.request_host.len(), "sampling parameters")?;
        let answers = self.answers.reserve(driver, 4 * rows * stride, "sampled tokens")?;
        driver.write(request, &self.request_host)?;
        // The kernel's `Shared`: the histogram, scratch and peaks, the spec, two words; then listed
        // keys, and a bit per token.
        let words = 2 * (2048 + 40 + 32 + 2 * verdicts.top_stride)
            + size_of::<Spec>() / 4
            + 2
            + vocab.div_ceil(32);
        let args = [
            logits.address.into(),
            logits.stride.into(),
            vocab.into(),
            request.into(),
            (request + (rows * size_of::<Spec>()) as u64).into(),
            answers.into(),
            verdicts.top_stride.into(),
        ];
        let geometry =
            Geometry { grid: [rows as u32, 1, 1], threads: 1024, shared_bytes: 4 * words as u32 };
        let entry = Entry { stem: "sample_rows", name: "sample_rows" };
        driver.launch(&Launch { entry, geometry, args: args.into() })?;
        self.answers_host.resize(rows * stride, 0);
        driver.read(answers, bytemuck::cast_slice_mut(&mut self.answers_host))?;
        for (row, answer) in self.answers_host.chunks_exact(stride).enumerate() {
            fill(verdicts, row, answer);
        }
        Ok(())
    }
}

/// Takes the answer of one row apart.
fn fill(verdicts: &mut Verdicts, row: usize, answer: &[u32]) {
    verdicts.faulty[row] = answer[1] != 0;
    if verdicts.faulty[row] {
        return;
    }
    verdicts.token[row] = answer[0];
    verdicts.log_prob[row] = f32::from_bits(answer[2]);
    verdicts.top_len[row] = answer[3];
    let listed = answer[4..].chunks_exact(2).take(answer[3] as usize);
    for (i, pair) in listed.enumerate() {
        verdicts.top[row * verdicts.top_stride + i] = (pair[0], f32::from_bits(pair[1]));
    }
}
