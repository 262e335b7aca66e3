//! What tokens stand for.

use crate::id::Token;

/// What commit must know of a vocabulary: the bytes behind each token and which tokens end a text.
///
/// Tokens are byte strings that concatenate: the text of a sequence is the concatenation of its
/// tokens' bytes, whatever its parts (byte-level BPE has this property).
pub trait Vocab: Send + Sync {
    /// Number of tokens.
    fn len(&self) -> usize;

    /// Whether there is no token at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that `token` adds to a text; empty for control tokens and for ids out of range.
    fn bytes(&self, token: Token) -> &[u8];

    /// Whether `token` ends a text (end of sequence, end of turn).
    fn ends(&self, token: Token) -> bool;
}

const _: Option<&dyn Vocab> = None;
