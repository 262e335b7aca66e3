//! Functions of at most 70 lines, from `fn` to the closing brace.

use super::breach::Breach;
use super::source::{Source, Tree};

const LINES_MAX: usize = 70;

/// A function that may be longer, and why: path, name, lines, reason.
const EXCEPTIONS: &[(&str, &str, usize, &str)] = &[];

/// A function's place in a file.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    name: String,
    /// Counted from one.
    line: usize,
    n_lines: usize,
}

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in tree.code() {
        for span in spans(source) {
            let lines_max = EXCEPTIONS
                .iter()
                .find(|(path, name, ..)| *path == source.path && *name == span.name)
                .map_or(LINES_MAX, |(_, _, lines_max, _)| *lines_max);
            if span.n_lines > lines_max {
                let Span { name, n_lines, .. } = &span;
                let remedy = format!("`{name}` has {n_lines} lines, at most {lines_max}: split it");
                breaches.push(source.breach(span.line, "function-size", &remedy));
            }
        }
    }
    breaches
}

fn spans(source: &Source) -> Vec<Span> {
    if source.extension().starts_with("cu") {
        c_functions(&source.code)
    } else {
        fn_functions(&source.code)
    }
}

/// Functions of a language with the word `fn`; those inside others too. A declaration without a
/// body and the type `fn(..)` are none.
fn fn_functions(code: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
        let Some(open) = body_start(&code[at..]) else {
            continue;
        };
        let end = at + open + block_len(&code[at + open..]);
        spans.push(span(code, name, at, end));
    }
    spans
}

/// Offset of the brace that opens the body; `None` if a semicolon comes first. Semicolons in
/// brackets are array lengths.
fn body_start(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(at),
            ';' | '}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Functions of C++: outermost blocks after a closing parenthesis. `namespace` and `extern "C"` do
/// not end in one, so what they hold is seen.
fn c_functions(code: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(open) = code[from..].find('{').map(|at| from + at) {
        let head = code[..open].trim_end();
        if head.ends_with(')') {
            let end = open + block_len(&code[open..]);
            let start = head.rfind(['}', ';', '{']).map_or(0, |at| at + 1);
            let start = start + head[start..].len() - head[start..].trim_start().len();
            spans.push(span(code, c_name(&head[start..]), start, end));
            from = end;
        } else {
            from = open + 1;
        }
    }
    spans
}

/// The word before the parenthesis that the head's last one closes.
fn c_name(head: &str) -> String {
    let mut depth = 0_i32;
    for (at, c) in head.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' if depth == 1 => {
                let before = head[..at].trim_end();
                let word = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
                return before[word..].to_owned();
            }
            '(' => depth -= 1,
            _ => {}
        }
    }
    String::new()
}

/// Length of the block that `code` begins with, braces included.
fn block_len(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn span(code: &str, name: String, start: usize, end: usize) -> Span {
    let newlines = |text: &str| text.matches('\n').count();
    Span { name, line: newlines(&code[..start]) + 1, n_lines: newlines(&code[start..end]) + 1 }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_spans(path: &str, text: &str, expected: &[(&str, usize, usize)]) {
        let spans = spans(&Source::new(path, text));
        let found: Vec<_> = spans.iter().map(|s| (s.name.as_str(), s.line, s.n_lines)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rust_functions_are_measured_to_the_closing_brace() {
        let text = "// fn no()\nfn a(x: [u8; 2]) -> [u8; 2] {\n  \"}\";\n  x\n}\n\
                    trait T { fn b();\n fn c() { fn d() {}\n } }\nconst F: fn () = a;\n";
        check_spans("a.rs", text, &[("a", 2, 4), ("c", 7, 2), ("d", 7, 1)]);
    }

    #[test]
    fn device_functions_are_measured() {
        let wgsl = "@compute\nfn add(@builtin(x) i: u32) {\n if (i > 1) {\n }\n}\n";
        check_spans("a.wgsl", wgsl, &[("add", 2, 4)]);
        let cuda = "struct S {\n int a;\n};\nextern \"C\" {\n__global__ void __launch_bounds__(8)\n\
                    add(int n) {\n if (n) {\n }\n}\n}\n";
        check_spans("a.cu", cuda, &[("add", 5, 5)]);
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        let function = |n: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(n - 2));
        let text = format!("{}{}", function(70), function(71));
        let breaches = check(&Tree::of(&[("a.rs", &text)]));
        let found: Vec<_> = breaches.iter().map(|b| (b.line, b.rule)).collect();
        assert_eq!(found, [(71, "function-size")]);
    }
}
