//! A vocabulary of 32 tokens that makes text handling hard: characters split over tokens, invalid
//! bytes, tokens without bytes, and letters few enough that stop strings happen.

use echo_core::{Token, Vocab};

const BYTES: [&[u8]; 32] = [
    b"", // the end token
    b"", // a control token
    b"a",
    b"b",
    b"ab",
    b"ba",
    b"aab",
    b" ",
    b"\n",
    b"c",
    b"ca",
    b"abc",
    b"bb",
    b"cc",
    b"x",
    b"y",
    "é".as_bytes(),
    "語".as_bytes(),
    b"\xE8",
    b"\xAA\x9E",
    b"\xF0\x9F",
    b"\x98\x80",
    b"\xFF",
    "e\u{301}".as_bytes(),
    b"a\xE8",
    b"\x80",
    b"A",
    b"B",
    b"AB",
    b".",
    b"..",
    b"\n\n",
];

/// The end token.
pub(crate) const END: Token = 0;

pub(crate) struct SmallVocab;

impl Vocab for SmallVocab {
    fn len(&self) -> usize {
        BYTES.len()
    }

    fn bytes(&self, token: Token) -> &[u8] {
        BYTES.get(token as usize).copied().unwrap_or_default()
    }

    fn ends(&self, token: Token) -> bool {
        token == END
    }
}
