//! Control tokens by name: finding them in template text and hiding them in a user's.

use std::collections::HashMap;

use echo_core::Token;

/// Longest name of a control token, in bytes.
const NAME_MAX: usize = 255;

/// The names of all control tokens.
#[derive(Default)]
pub(super) struct SpecialSet {
    ids: HashMap<String, Token>,
    names: HashMap<Token, String>,
    /// Lengths of names, longest first, by first byte.
    lengths: HashMap<u8, Vec<usize>>,
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Text(&'t str),
    Special(Token),
}

impl SpecialSet {
    pub(super) fn add(&mut self, name: &str, id: Token) -> Result<(), String> {
        let Some(&first) = name.as_bytes().first() else {
            return Err(format!("control token {id} has no name"));
        };
        if name.len() > NAME_MAX {
            return Err(format!("the name of control token {id} exceeds {NAME_MAX} bytes"));
        }
        if let Some(other) = self.ids.insert(name.to_owned(), id) {
            return Err(format!("control tokens {other} and {id} are both called `{name}`"));
        }
        self.names.insert(id, name.to_owned());
        let lengths = self.lengths.entry(first).or_default();
        if let Err(at) = lengths.binary_search_by(|len| name.len().cmp(len)) {
            lengths.insert(at, name.len());
        }
        Ok(())
    }

    pub(super) fn id(&self, name: &str) -> Option<Token> {
        self.ids.get(name).copied()
    }

    pub(super) fn name(&self, id: Token) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// Names in `text` from left to right, the longest where several begin at one place. A name
    /// whose first character is followed by `marker` is none.
    pub(super) fn split<'t>(&self, text: &'t str, marker: Option<char>) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        let (mut done, mut at) = (0, 0);
        while at < text.len() {
            let found = self.find(text, at).filter(|_| {
                let mut characters = text[at..].chars();
                characters.next();
                marker.is_none() || characters.next() != marker
            });
            let Some((len, id)) = found else {
                at += 1;
                continue;
            };
            if done < at {
                pieces.push(Piece::Text(&text[done..at]));
            }
            pieces.push(Piece::Special(id));
            at += len;
            done = at;
        }
        if done < text.len() {
            pieces.push(Piece::Text(&text[done..]));
        }
        pieces
    }

    /// `text` with `marker` after the first character of every name in it, overlapping ones
    /// included.
    pub(super) fn shield(&self, text: &str, marker: char) -> String {
        let mut out = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            out.push(character);
            if self.find(text, at).is_some() {
                out.push(marker);
            }
        }
        out
    }

    /// The longest name that begins at byte `at`; none does inside a character.
    fn find(&self, text: &str, at: usize) -> Option<(usize, Token)> {
        let lengths = self.lengths.get(&text.as_bytes()[at])?;
        lengths.iter().find_map(|&len| {
            let id = self.ids.get(text.get(at..at + len)?)?;
            Some((len, *id))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> SpecialSet {
        let mut set = SpecialSet::default();
        for (id, name) in ["<|a|>", "<|a|>b", "é!", "<"].into_iter().enumerate() {
            set.add(name, id as Token).unwrap();
        }
        set
    }

    #[test]
    fn the_longest_name_wins_and_text_between_stays_whole() {
        use Piece::{Special, Text};
        assert_eq!(
            set().split("x<|a|>bé<|a|>é!ü", None),
            [Text("x"), Special(1), Text("é"), Special(0), Special(2), Text("ü")]
        );
        assert_eq!(set().split("", None), []);
    }

    #[test]
    fn shielded_text_has_no_names_and_loses_nothing() {
        let marker = '\u{fdd0}';
        let is_text = |pieces: &[Piece<'_>]| pieces.iter().all(|p| matches!(p, Piece::Text(_)));
        for text in ["<|a|>", "<<|a|>b", "é!é!<", "plain", "<|<|a|>a|>"] {
            let shielded = set().shield(text, marker);
            assert_eq!(shielded.replace(marker, ""), text);
            assert!(is_text(&set().split(&shielded, Some(marker))), "{text}");
            // Without the shield the same texts are not safe.
            assert_eq!(is_text(&set().split(text, Some(marker))), text == "plain");
        }
    }

    #[test]
    fn two_tokens_with_one_name_are_refused() {
        assert!(set().add("<", 9).unwrap_err().contains("both called"));
        assert!(set().add("", 9).is_err());
        assert!(set().add(&"x".repeat(256), 9).is_err());
    }
}
