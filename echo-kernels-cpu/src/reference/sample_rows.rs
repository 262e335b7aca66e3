//! `sample_rows` — the token each row commits, by the law of `echo_core::sampling`.
//! also: `echo-kernels-cuda/cu/sample_rows.cu`, `echo-kernels-wgpu/wgsl/sample_rows.wgsl`
//!
//! ```text
//! in   logits    f32[rows, vocab]   rows = number of specs
//! in   specs     one per row; edits, seed, position, temperature, truncation
//! out  token     u32[rows]
//! out  faulty    bool[rows]         a NaN, a +inf, or nothing finite after the edits
//! out  log_prob  f32[rows]          NaN where not asked for
//! out  top       (u32, f32)[rows, top_stride], of which top_len[row] are meant
//! numerics: token, faulty and the listed tokens exact; log-probabilities 1e-5 absolute.
//! panics: if an area leaves its buffer or an edit names a token outside the vocabulary.
//! source: Gumbel-max (Gumbel 1954) over Philox noise; truncation order of vLLM.
//! ```

use crate::Area;
use echo_core::Verdicts;
use echo_core::sampling::{SampleView, Scratch, sample_row};

/// Answers every row, one after another.
pub fn sample_rows(
    logits: &[f32],
    area: Area,
    sample: SampleView<'_>,
    scratch: &mut Scratch,
    verdicts: &mut Verdicts,
) {
    verdicts.reset(sample.specs.len());
    for row in 0..sample.specs.len() {
        let row_logits = &logits[area.at(row, 0)..area.at(row, area.width)];
        sample_row(row_logits, sample, row, scratch, verdicts);
    }
}
