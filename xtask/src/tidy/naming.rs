//! One noun per file: every Rust file says in its first line what it is, and its name means
//! something.

use super::breach::Breach;
use super::source::{Source, Tree};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 10] =
    ["utils", "util", "common", "helpers", "helper", "misc", "manager", "shared", "stuff", "tools"];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    tree.code().flat_map(|source| [header(source), name(source)]).flatten().collect()
}

fn header(source: &Source) -> Option<Breach> {
    let comment = if source.is_rust() { "//!" } else { "//" };
    let first = source.text.lines().next().unwrap_or_default();
    let missing = !first.starts_with(comment) || first.trim_end() == comment;
    let remedy = format!("begin with `{comment}` and a sentence on what the file is");
    missing.then(|| source.breach(1, "header", &remedy))
}

fn name(source: &Source) -> Option<Breach> {
    let segments = source.path.split(['/', '.']);
    let empty = segments.flat_map(|segment| {
        let suffix = segment.rsplit_once('_').map(|(_, suffix)| suffix);
        [Some(segment), suffix].into_iter().flatten()
    });
    let name = empty.into_iter().find(|word| EMPTY_NAMES.contains(word) || is_version(word))?;
    let remedy = format!("`{name}` names no thing: call the file after the noun it holds");
    Some(source.breach(1, "file-name", &remedy))
}

/// `v2`, `v10`.
fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_file(path: &str, text: &str) -> Vec<&'static str> {
        let breaches = check(&Tree::of(&[(path, text)]));
        breaches.iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn a_file_without_header_is_found() {
        assert_eq!(check_file("a/plan.rs", "//! A plan.\n"), [""; 0]);
        assert_eq!(check_file("a/plan.rs", "use x;\n//! A plan.\n"), ["header"]);
        assert_eq!(check_file("a/plan.rs", "//!\n"), ["header"]);
        assert_eq!(check_file("a/plan.rs", ""), ["header"]);
        assert_eq!(check_file("a/add.cu", "// add: a sum.\n"), [""; 0]);
        assert_eq!(check_file("a/add.wgsl", "fn add() {}\n"), ["header"]);
    }

    #[test]
    fn empty_names_are_found() {
        for path in [
            "a/utils.rs",
            "a/tree_utils.rs",
            "a/common/tree.rs",
            "a/slot_manager.rs",
            "a/step_v2.rs",
            "a/v3.cu",
        ] {
            assert_eq!(check_file(path, "//! A file.\n"), ["file-name"], "{path}");
        }
        for path in ["a/commons.rs", "a/rev2.rs", "a/vocab.rs", "a/toolbox.rs"] {
            assert_eq!(check_file(path, "//! A file.\n"), [""; 0], "{path}");
        }
    }
}
