//! Bytes of tokens → text, a piece at a time.

/// Joins the bytes of successive tokens into text and holds back what is not yet a whole character.
///
/// However a stream of bytes is cut into pushes, the text that comes out is what
/// [`String::from_utf8_lossy`] gives for the whole: valid text never shows U+FFFD, and each broken
/// part shows exactly one. At most three bytes are held back.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    /// The beginning of a character whose end has not come yet; longer only inside `push`.
    held: Vec<u8>,
}

impl Detokenizer {
    /// Appends to `text` all characters that `bytes` completes.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.held.extend_from_slice(bytes);
        let mut done = 0;
        while done < self.held.len() {
            match std::str::from_utf8(&self.held[done..]) {
                Ok(rest) => {
                    text.push_str(rest);
                    done = self.held.len();
                }
                Err(error) => {
                    let valid = done + error.valid_up_to();
                    text.push_str(std::str::from_utf8(&self.held[done..valid]).unwrap_or_default());
                    done = valid;
                    // Without a length the sequence may still become valid.
                    let Some(broken) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    done += broken;
                }
            }
        }
        self.held.drain(..done);
    }

    /// Ends the stream: a character still held back will never be whole.
    pub fn finish(&mut self, text: &mut String) {
        if !self.held.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.held.clear();
        }
    }

    /// Bytes held back, at most three.
    pub fn n_held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_waits_for_its_last_byte() {
        let mut detokenizer = Detokenizer::default();
        let mut text = String::new();
        for &byte in "é".as_bytes() {
            assert_eq!(text, "");
            detokenizer.push(&[byte], &mut text);
        }
        assert_eq!((text.as_str(), detokenizer.n_held()), ("é", 0));
    }

    #[test]
    fn what_never_became_a_character_is_replaced_once() {
        let mut detokenizer = Detokenizer::default();
        let mut text = String::new();
        detokenizer.push(b"a\xf0\x9f\x98", &mut text);
        assert_eq!((text.as_str(), detokenizer.n_held()), ("a", 3));
        detokenizer.finish(&mut text);
        detokenizer.finish(&mut text);
        assert_eq!(text, "a\u{fffd}");
    }
}
