//! The whole next-token law of a target after each token of a text.

use echo_core::sampling::{SampleSpec, SampleView};
use echo_core::{Limits, Target, Token, Verdicts};
use echo_model::LlamaTarget;
use echo_model::testkit::Rows;

/// Limits for a window of 512 tokens, 64 rows a forward.
pub(crate) const LIMITS: Limits = Limits {
    seqs_max: 1,
    rows_max: 64,
    depth_max: 1,
    width_max: 1,
    beam_max: 1,
    tree_max: 63,
    context_max: 512,
    kv_slots: 512,
    logprobs_max: 0,
};

/// The log-probabilities of all tokens after each of `tokens`, by token.
pub(crate) fn log_probs(target: &mut LlamaTarget, tokens: &[Token]) -> Vec<Vec<f32>> {
    let vocab = target.shape().vocab;
    let spec = SampleSpec { logprobs: Some(vocab as u32), ..SampleSpec::GREEDY };
    let mut verdicts = Verdicts::with_capacity(LIMITS.rows_max, vocab);
    let mut all = Vec::new();
    for start in (0..tokens.len()).step_by(LIMITS.rows_max) {
        let chunk = &tokens[start..tokens.len().min(start + LIMITS.rows_max)];
        let cached: Vec<u32> = (0..start as u32).collect();
        let mut rows = Rows::new(1);
        rows.sequence(0, &cached);
        rows.root(chunk[0], start as u32);
        // The rest of the chunk as a chain of drafted rows, so that each is answered.
        let mut parent = None;
        for (slot, &token) in (start as u32 + 1..).zip(&chunk[1..]) {
            parent = Some(rows.drafted(token, slot, parent));
        }
        let specs = vec![spec; chunk.len()];
        let sample = SampleView { specs: &specs, edits: &[] };
        target.verify(rows.view(), sample, &mut verdicts).expect("the host does not fail");
        for i in 0..chunk.len() {
            let mut by_token = vec![f32::NAN; vocab];
            verdicts.top_of(i).iter().for_each(|&(token, p)| by_token[token as usize] = p);
            all.push(by_token);
        }
    }
    all
}
