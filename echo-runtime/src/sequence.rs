//! One sequence's own state: what it was asked, what it has said, how its next tokens are sampled.

use crate::output::Usage;
use crate::penalties::Penalties;
use crate::prefix::{BlockId, ROOT};
use crate::request::Request;
use crate::text::Text;
use echo_core::{SeqId, Token};
use std::collections::TryReserveError;

/// A sequence, waiting or live.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SeqId,
    pub(crate) request: Request,
    /// Prompt and, after a preemption, what was committed before it. Stale while live: the batch
    /// has the tokens then.
    pub(crate) tokens: Vec<Token>,
    pub(crate) n_prompt: usize,
    /// Prompt tokens whose scores were given out; the first has none.
    pub(crate) n_scored: usize,
    /// Tokens it may have in all.
    pub(crate) n_max: usize,
    pub(crate) text: Text,
    pub(crate) penalties: Penalties,
    pub(crate) usage: Usage,
    /// The prefix-cache block it stands on while live.
    pub(crate) held: BlockId,
    /// Leading positions whose slots belong to the prefix cache.
    pub(crate) n_borrowed: usize,
}

impl Sequence {
    /// A checked request on its way into the queue. All memory that its length can ask for is taken
    /// here, where the lack of it is the request's own affair.
    pub(crate) fn new(
        id: SeqId,
        mut request: Request,
        context_max: usize,
        end: &[Token],
    ) -> Result<Self, TryReserveError> {
        let n_prompt = request.prompt.len();
        let n_max = request
            .stops
            .max_tokens
            .map_or(context_max, |max| context_max.min(n_prompt.saturating_add(max)));
        let mut tokens = std::mem::take(&mut request.prompt);
        tokens.try_reserve_exact(n_max - n_prompt)?;
        let penalties = Penalties::new(&request, &tokens, n_max, end)?;
        let usage = Usage { prompt_tokens: n_prompt, ..Usage::default() };
        Ok(Sequence {
            id,
            request,
            tokens,
            n_prompt,
            n_scored: 1,
            n_max,
            text: Text::new(),
            penalties,
            usage,
            held: ROOT,
            n_borrowed: 0,
        })
    }

    /// Whether its prompt is to be scored, and was not yet to its end.
    pub(crate) fn scores(&self) -> bool {
        self.request.prompt_logprobs.is_some() && self.n_scored < self.n_prompt
    }
}
