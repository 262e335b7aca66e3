//! Files of at most 400 lines, lines of at most 100 columns.
//!
//! A file that cannot be split is put on the list below with its size and the reason; from then on
//! it may shrink but not grow.

use super::breach::Breach;
use super::source::{Source, Tree};

const LINES_MAX: usize = 400;
const COLUMNS_MAX: usize = 100;

/// A file that may be longer, and why.
struct Exception {
    path: &'static str,
    lines_max: usize,
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    check_against(tree, EXCEPTIONS)
}

fn check_against(tree: &Tree, exceptions: &[Exception]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in tree.code() {
        breaches.extend(too_long(source, exceptions));
        breaches.extend(too_wide(source));
    }
    for Exception { path, reason, .. } in exceptions {
        if tree.find(path).is_none() {
            let remedy = format!("take {path} ({reason}) off the list, there is no such file");
            breaches.push(Breach {
                path: "xtask/src/tidy/size.rs".to_owned(),
                line: 1,
                rule: "file-size",
                remedy,
            });
        }
    }
    breaches
}

fn too_long(source: &Source, exceptions: &[Exception]) -> Option<Breach> {
    let n_lines = source.text.lines().count();
    let exception = exceptions.iter().find(|e| e.path == source.path);
    let lines_max = exception.map_or(LINES_MAX, |e| e.lines_max);
    if n_lines > lines_max {
        let remedy = format!("{n_lines} lines, at most {lines_max}: give a part its own file");
        return Some(source.breach(lines_max + 1, "file-size", &remedy));
    }
    if exception.is_some() && n_lines <= LINES_MAX {
        let remedy = format!("{n_lines} lines are few enough: take it off the list in size.rs");
        return Some(source.breach(1, "file-size", &remedy));
    }
    None
}

/// Lines with a link are let through: a link cannot be broken.
fn too_wide(source: &Source) -> impl Iterator<Item = Breach> {
    source.text.lines().enumerate().filter_map(|(at, line)| {
        let columns = line.chars().count();
        let wide = columns > COLUMNS_MAX && !line.contains("://");
        wide.then(|| {
            let remedy = format!("{columns} columns, at most {COLUMNS_MAX}: break the line");
            source.breach(at + 1, "columns", &remedy)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "echo-core/src/long.rs";

    fn check_file(n_lines: usize, lines_max: Option<usize>) -> Vec<(usize, &'static str)> {
        let tree = Tree::of(&[(LONG, &"x\n".repeat(n_lines))]);
        let exceptions: Vec<Exception> = lines_max
            .map(|lines_max| Exception { path: LONG, lines_max, reason: "a table" })
            .into_iter()
            .collect();
        let breaches = check_against(&tree, &exceptions);
        breaches.iter().map(|b| (b.line, b.rule)).collect()
    }

    #[test]
    fn a_file_of_401_lines_is_too_long() {
        assert_eq!(check_file(400, None), []);
        assert_eq!(check_file(401, None), [(401, "file-size")]);
    }

    #[test]
    fn a_listed_file_may_not_grow_and_leaves_the_list_when_it_shrinks() {
        assert_eq!(check_file(450, Some(450)), []);
        assert_eq!(check_file(451, Some(450)), [(451, "file-size")]);
        assert_eq!(check_file(400, Some(450)), [(1, "file-size")]);
    }

    #[test]
    fn a_listed_file_must_exist() {
        let gone = [Exception { path: LONG, lines_max: 500, reason: "a table" }];
        let breaches = check_against(&Tree::of(&[]), &gone);
        assert!(breaches[0].remedy.contains(LONG), "{breaches:?}");
    }

    #[test]
    fn a_line_of_101_columns_is_too_wide() {
        let (fits, wide) = ("é".repeat(100), "é".repeat(101));
        let text = format!("{fits}\n{wide}\n// http://{wide}\n");
        let breaches = check(&Tree::of(&[("a/b.wgsl", &text), ("a/b.md", &wide)]));
        let found: Vec<_> = breaches.iter().map(|b| (b.line, b.rule)).collect();
        assert_eq!(found, [(2, "columns")]);
    }
}
