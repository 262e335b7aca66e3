//! A vocabulary for simulated models: token `t` is byte `t`.

use echo_core::{Token, Vocab};

/// The 256 bytes as tokens. No token ends a text.
#[derive(Clone, Debug)]
pub struct ByteVocab {
    bytes: Vec<u8>,
}

impl Default for ByteVocab {
    fn default() -> Self {
        ByteVocab { bytes: (0..=255).collect() }
    }
}

impl Vocab for ByteVocab {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn bytes(&self, token: Token) -> &[u8] {
        let at = token as usize;
        self.bytes.get(at..=at).unwrap_or_default()
    }

    fn ends(&self, _token: Token) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_byte() {
        let vocab = ByteVocab::default();
        assert_eq!(vocab.bytes(65), b"A");
        assert_eq!(vocab.bytes(256), b"");
    }
}
