//! A sequence's logit edits: bias, penalties and the ban on early ends, kept up token by token.

use crate::request::Request;
use echo_core::{Sampling, Token, TokenEdit};
use std::collections::TryReserveError;

/// The edits that hold for a sequence's committed text, and what a drafted path adds to them.
///
/// A value of its own, advanced once per committed token; a drafted path reads it and never changes
/// it.
#[derive(Clone, Debug)]
pub(crate) struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// Ascending by token.
    seen: Vec<(Token, Seen)>,
    /// Tokens that may not be sampled before `min_tokens` are out.
    banned: Vec<Token>,
    min_tokens: usize,
}

/// What is known of one token.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    bias: f32,
    in_text: bool,
    n_out: u32,
}

impl Penalties {
    /// The state before the first committed token. `end` are the model's end tokens. Fails if there
    /// is no memory for what `n_max` tokens may bring.
    pub(crate) fn new(
        request: &Request,
        prompt: &[Token],
        n_max: usize,
        end: &[Token],
    ) -> Result<Self, TryReserveError> {
        let Sampling { repetition_penalty, presence_penalty, frequency_penalty, .. } =
            request.sampling;
        let stops = &request.stops;
        let mut banned = stops.tokens.clone();
        if !stops.ignore_eos {
            banned.extend_from_slice(end);
        }
        banned.sort_unstable();
        banned.dedup();
        let mut penalties = Penalties {
            repetition: repetition_penalty,
            presence: presence_penalty,
            frequency: frequency_penalty,
            seen: Vec::new(),
            banned,
            min_tokens: stops.min_tokens,
        };
        let biases = &request.sampling.logit_bias;
        if penalties.counts() {
            penalties.seen.try_reserve(n_max + biases.len())?;
            // All at once: one by one, each would move those behind it.
            let in_text = Seen { in_text: true, ..Seen::default() };
            penalties.seen.extend(prompt.iter().map(|&token| (token, in_text)));
            penalties.seen.sort_unstable_by_key(|&(token, _)| token);
            penalties.seen.dedup_by_key(|&mut (token, _)| token);
        }
        for &(token, bias) in biases {
            penalties.entry(token).bias += bias;
        }
        Ok(penalties)
    }

    /// Whether the edits depend on the text.
    fn counts(&self) -> bool {
        self.repetition != 1.0 || self.presence != 0.0 || self.frequency != 0.0
    }

    /// Takes note of a committed token.
    pub(crate) fn commit(&mut self, token: Token) {
        if self.counts() {
            let seen = self.entry(token);
            seen.in_text = true;
            seen.n_out += 1;
        }
    }

    /// Most edits of the text, and most of one path of `depth_max` nodes.
    pub(crate) fn edits_max(&self, depth_max: usize) -> (usize, usize) {
        (self.seen.capacity(), self.banned.len() + depth_max)
    }

    /// Appends the edits of the committed text.
    pub(crate) fn text_edits(&self, edits: &mut Vec<TokenEdit>) {
        edits.extend(self.seen.iter().map(|&(token, seen)| self.edit(token, seen)));
    }

    /// Appends the edits that replace those of the text for a row whose drafted path is `path`
    /// (root excluded) and whose verdict is the sequence's output token number `n_out`.
    pub(crate) fn path_edits(&self, path: &[Token], n_out: usize, edits: &mut Vec<TokenEdit>) {
        let start = edits.len();
        if self.counts() {
            for (i, &token) in path.iter().enumerate() {
                if path[..i].contains(&token) {
                    continue;
                }
                let known = self.find(token).map(|at| self.seen[at].1);
                let mut seen = known.unwrap_or_default();
                seen.in_text = true;
                seen.n_out += path[i..].iter().filter(|&&t| t == token).count() as u32;
                edits.push(self.edit(token, seen));
            }
        }
        if n_out < self.min_tokens {
            for &token in &self.banned {
                let ban =
                    TokenEdit { token, bias: f32::NEG_INFINITY, repetition: 1.0, penalty: 0.0 };
                match edits[start..].iter_mut().find(|e| e.token == token) {
                    Some(edit) => *edit = ban,
                    None => edits.push(ban),
                }
            }
        }
    }

    fn find(&self, token: Token) -> Result<usize, usize> {
        self.seen.binary_search_by_key(&token, |&(token, _)| token)
    }

    fn entry(&mut self, token: Token) -> &mut Seen {
        let at = self.find(token).unwrap_or_else(|at| {
            self.seen.insert(at, (token, Seen::default()));
            at
        });
        &mut self.seen[at].1
    }

    fn edit(&self, token: Token, seen: Seen) -> TokenEdit {
        let present = if seen.n_out > 0 { self.presence } else { 0.0 };
        TokenEdit {
            token,
            bias: seen.bias,
            repetition: if seen.in_text { self.repetition } else { 1.0 },
            penalty: self.frequency * seen.n_out as f32 + present,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Stops;

    fn penalties() -> Penalties {
        let sampling = Sampling {
            repetition_penalty: 1.5,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            logit_bias: vec![(9, 2.0)],
            ..Sampling::default()
        };
        let stops = Stops { min_tokens: 2, ..Stops::default() };
        let request = Request { sampling, stops, ..Request::new(vec![1]) };
        Penalties::new(&request, &[1], 32, &[0]).expect("there is memory")
    }

    fn path(penalties: &Penalties, path: &[Token], n_out: usize) -> Vec<TokenEdit> {
        let mut edits = Vec::new();
        penalties.path_edits(path, n_out, &mut edits);
        edits
    }

    /// A path's edits are what committing the path would have made the text's.
    #[test]
    fn a_path_edits_as_if_it_were_committed() {
        let mut committed = penalties();
        committed.commit(5);
        let drafted = [5, 7, 5, 9, 1];
        let from_path = path(&committed, &drafted, 9);
        for token in drafted {
            committed.commit(token);
        }
        let mut text = Vec::new();
        committed.text_edits(&mut text);
        assert_eq!(from_path.len(), 4);
        for edit in from_path {
            assert!(text.contains(&edit), "{edit:?} in {text:?}");
        }
    }

    #[test]
    fn prompt_tokens_are_repeated_but_not_counted() {
        let mut edits = Vec::new();
        penalties().text_edits(&mut edits);
        let expected = [(1, 0.0, 1.5, 0.0), (9, 2.0, 1.0, 0.0)];
        let got: Vec<_> =
            edits.iter().map(|e| (e.token, e.bias, e.repetition, e.penalty)).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn ends_are_banned_until_min_tokens() {
        let banned = |n_out| path(&penalties(), &[], n_out).iter().any(|e| e.token == 0);
        assert_eq!([0, 1, 2].map(banned), [true, true, false]);
        // On the path already and banned: one edit, the ban.
        let edits = path(&penalties(), &[0], 1);
        assert_eq!(edits.iter().map(|e| e.bias).collect::<Vec<_>>(), [f32::NEG_INFINITY]);
    }
}
