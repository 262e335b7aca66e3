//! How each sampled row is sampled: the request's parameters as they stand at that row.

use crate::batch::Batch;
use crate::penalties::Penalties;
use echo_core::{Limits, SampleSpec, SampleView, SuperTreeView, Token, TokenEdit};
use echo_tree::Packed;
use std::collections::TryReserveError;

/// The sampling specs of one forward.
#[derive(Debug)]
pub(crate) struct Specs {
    rows: Vec<SampleSpec>,
    edits: Vec<TokenEdit>,
    path: Vec<Token>,
    /// The most edits of a text, and of a row on top, of all sequences that room was made for.
    edits_max: (usize, usize),
}

impl Specs {
    pub(crate) fn new(limits: &Limits) -> Self {
        Specs {
            rows: Vec::with_capacity(limits.rows_max),
            edits: Vec::new(),
            path: Vec::with_capacity(limits.depth_max),
            // A scored prompt row needs one edit.
            edits_max: (0, 1),
        }
    }

    pub(crate) fn view(&self) -> SampleView<'_> {
        SampleView { specs: &self.rows, edits: &self.edits }
    }

    /// Makes room for batches full of sequences like this one and those before, in any mixture, so
    /// that filling never has to.
    pub(crate) fn reserve(
        &mut self,
        penalties: &Penalties,
        limits: &Limits,
    ) -> Result<(), TryReserveError> {
        let (text, path) = penalties.edits_max(limits.depth_max);
        let (text, path) = (text.max(self.edits_max.0), path.max(self.edits_max.1));
        // Between steps the edits are stale.
        self.edits.clear();
        self.edits.try_reserve(limits.seqs_max * text + limits.rows_max * path)?;
        self.edits_max = (text, path);
        Ok(())
    }

    /// Fills one spec per sampled row. Each row's edits are what its own path would have made them,
    /// had it been committed.
    pub(crate) fn fill(&mut self, tree: SuperTreeView<'_>, batch: &Batch, packed: &Packed) {
        self.rows.clear();
        self.edits.clear();
        let view = packed.view();
        let mut sampled = view.sampled.iter().map(|&row| row as usize).peekable();
        for (s, &seq) in view.seqs.iter().enumerate() {
            let sequence = batch.sequence(seq);
            let sampling = &sequence.request.sampling;
            let mut edits = None;
            let context =
                |row: &usize| view.rows_of(s).contains(row) && packed.node_of(*row).is_none();
            while let Some(row) = sampled.next_if(context) {
                let position = view.position[row] + 1;
                let next = batch.view().tokens(seq)[position as usize];
                let logprobs = sequence.request.prompt_logprobs;
                let edits = self.range(|edits| edits.push(certain(next)));
                self.rows.push(SampleSpec { position, edits, logprobs, ..SampleSpec::GREEDY });
            }
            while let Some(row) = sampled.next_if(|row| view.rows_of(s).contains(row)) {
                let edits = *edits.get_or_insert_with(|| {
                    self.range(|edits| sequence.penalties.text_edits(edits))
                });
                self.trace(tree, packed.node_of(row).expect("sampled rows are nodes"));
                let n_out = batch.n_out(seq) + self.path.len();
                let path = std::mem::take(&mut self.path);
                let path_edits =
                    self.range(|edits| sequence.penalties.path_edits(&path, n_out, edits));
                self.path = path;
                self.rows.push(SampleSpec {
                    seed: sampling.seed,
                    position: view.position[row] + 1,
                    temperature: sampling.temperature,
                    top_k: sampling.top_k,
                    top_p: sampling.top_p,
                    min_p: sampling.min_p,
                    edits,
                    path_edits,
                    logprobs: sampling.logprobs,
                });
            }
        }
    }

    /// Lets `add` append edits and returns their range.
    fn range(&mut self, add: impl FnOnce(&mut Vec<TokenEdit>)) -> (u32, u32) {
        let start = self.edits.len() as u32;
        add(&mut self.edits);
        (start, self.edits.len() as u32)
    }

    /// Puts the drafted tokens from below the root down to `node` into `path`.
    fn trace(&mut self, tree: SuperTreeView<'_>, mut node: usize) {
        self.path.clear();
        while tree.parent[node] as usize != node {
            self.path.push(tree.token[node]);
            node = tree.parent[node] as usize;
        }
        self.path.reverse();
    }
}

/// The edit by which the likeliest token is `token`: its log-probability, which is that of the
/// unedited law, is then the one listed.
fn certain(token: Token) -> TokenEdit {
    TokenEdit { token, bias: f32::MAX, repetition: 1.0, penalty: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Request, Stops};
    use echo_core::Sampling;

    #[test]
    fn there_is_room_for_any_mixture_of_the_sequences_that_came() {
        let limits = Limits { depth_max: 5, ..Limits::usual(4, 64) };
        let mut specs = Specs::new(&limits);
        let mut reserve = |request: Request| {
            let penalties = Penalties::new(&request, &request.prompt, 1000, &[]).expect("memory");
            specs.reserve(&penalties, &limits).expect("memory");
            let (text, path) = penalties.edits_max(limits.depth_max);
            (text, path, specs.edits.capacity())
        };
        // One with many edits of each row, and one with many of its text.
        let stops = Stops { tokens: (0..60).collect(), ..Stops::default() };
        let (_, path, _) = reserve(Request { stops, ..Request::new(vec![1]) });
        let sampling = Sampling { frequency_penalty: 0.5, ..Sampling::default() };
        let (text, _, room) = reserve(Request { sampling, ..Request::new(vec![1]) });
        assert!(text >= 1000 && path >= 60, "{text} {path}");
        assert!(room >= limits.seqs_max * text + limits.rows_max * path, "{room}");
    }
}
