//! GPT-2's alphabet: a printable character for each of the 256 bytes.
//!
//! Byte-level vocabularies write tokens in it: a space is `Ġ`, a newline `Ċ`. Printable bytes of
//! Latin-1 stand for themselves; the other 68, in order, are U+0100 to U+0143.

/// The byte a character of the alphabet stands for; `None` outside the alphabet.
pub(crate) fn byte(character: char) -> Option<u8> {
    match character as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x143 => {
            let nth = (code - 0x100) as u8;
            // The bytes without a printable form: 0..=32, 127..=160, 173.
            Some(match nth {
                0..=32 => nth,
                33..=66 => 127 + (nth - 33),
                _ => 173,
            })
        }
        _ => None,
    }
}

/// Bytes of a token written in the alphabet; `None` if one of its characters is not.
pub(crate) fn bytes(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut seen = [false; 256];
        for code in 0..0x400 {
            if let Some(byte) = byte(char::from_u32(code).unwrap()) {
                assert!(!seen[byte as usize], "byte {byte} twice");
                seen[byte as usize] = true;
            }
        }
        assert!(seen.into_iter().all(|seen| seen));
    }

    #[test]
    fn known_tokens() {
        assert_eq!(bytes("Ġhello").as_deref(), Some(&b" hello"[..]));
        assert_eq!(bytes("ĊĊ").as_deref(), Some(&b"\n\n"[..]));
        assert_eq!(bytes("Ã©").as_deref(), Some("é".as_bytes()));
        assert_eq!(bytes("â\u{80}"), None);
        assert_eq!(bytes("日"), None);
    }
}
