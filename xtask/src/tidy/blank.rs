//! Source text with comments, strings and characters blanked out, so that rules about code do not
//! stumble over prose. Good for Rust, CUDA C++ and WGSL.

/// The same number of lines and columns as `text`, with a space for every character that is no
/// code.
pub(super) fn blank(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let prose = prose_len(rest, after_word);
        if prose == 0 {
            blanked.push(first);
            after_word = first.is_alphanumeric() || first == '_';
            rest = &rest[first.len_utf8()..];
        } else {
            let (piece, tail) = rest.split_at(prose);
            let spaces = piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' });
            blanked.extend(spaces);
            after_word = false;
            rest = tail;
        }
    }
    blanked
}

/// Bytes of the comment, string or character that `rest` begins with (0: none).
/// `after_word`: whether the character before belongs to a name or number.
fn prose_len(rest: &str, after_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_len(rest);
    }
    if rest.starts_with('"') {
        return quoted_len(rest, '"');
    }
    if rest.starts_with('\'') {
        return character_len(rest);
    }
    if !after_word {
        let bare = rest.trim_start_matches(['b', 'c']);
        let prefix = rest.len() - bare.len();
        if prefix <= 1 {
            let len = raw_string_len(bare);
            return if len == 0 { 0 } else { prefix + len };
        }
    }
    0
}

/// Block comments nest in Rust and WGSL; in C++ nobody nests them.
fn block_comment_len(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// A character such as `'x'` or `'\n'`; 0 for a lifetime.
fn character_len(rest: &str) -> usize {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted_len(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// A raw string from its `r` on; 0 where there is none.
fn raw_string_len(rest: &str) -> usize {
    let Some(fence) = rest.strip_prefix('r') else {
        return 0;
    };
    let hashes = fence.len() - fence.trim_start_matches('#').len();
    let Some(body) = fence[hashes..].strip_prefix('"') else {
        return 0;
    };
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = 1 + hashes + 1;
    body.find(&end).map_or(rest.len(), |at| opening + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(blank(text), expected, "blanked from {text:?}");
    }

    #[test]
    fn comments_vanish_and_lines_stay() {
        check("a // b\nc", "a     \nc");
        check("a /* b /* c */ d\n*/ e", "a               \n   e");
        check("/* open", "       ");
    }

    #[test]
    fn strings_vanish() {
        check(r#"f("a\"b")"#, "f(      )");
        check("\"// no comment\" x", "                x");
        check("x(r#\"a\"b\"#, y)", "x(        , y)");
        check("br\"\\\" z", "      z");
    }

    #[test]
    fn a_raw_name_is_no_raw_string() {
        check("r#fn = bar\"x\"", "r#fn = bar   ");
    }

    #[test]
    fn characters_are_not_lifetimes() {
        check("'\"' + '\\'' + 'é'", "    +      +    ");
        check("&'a str, 'x', 'static", "&'a str,    , 'static");
    }
}
