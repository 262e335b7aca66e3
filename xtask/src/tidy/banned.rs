//! What must not stand in a source: left-overs, silenced tests, the environment below the edge,
//! and paths of one machine.

use super::breach::Breach;
use super::source::{Source, Tree};

/// Words of Rust code that never stay, each with what to do instead.
const WORDS: [(&str, &str); 5] = [
    ("todo!", "finish it, or leave it out"),
    ("unimplemented!", "finish it, or leave it out"),
    ("dbg!", "take it out"),
    ("#[ignore", "make it fast or sound; a test that never runs proves nothing"),
    ("#[should_panic", "assert the panic's message, or return an error"),
];

/// Crates at the edge, which may read the environment.
const EDGE_CRATES: [&str; 2] = ["echo-cli", "xtask"];

/// What tests may ask the environment for: where the model is, and what may not be skipped.
const TEST_VARIABLES: [&str; 4] =
    ["\"ECHO_REQUIRE\"", "\"ECHO_MODEL_DIR\"", "\"XDG_CACHE_HOME\"", "\"HOME\""];

/// Folders of tests.
const TEST_FOLDERS: [&str; 3] = ["/tests/", "/benches/", "/conformance/"];

/// First folders of absolute paths that exist on one machine only.
const MACHINE_FOLDERS: [&str; 7] = ["home", "root", "work", "tmp", "Users", "mnt", "workspace"];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in tree.files() {
        if source.is_rust() {
            breaches.extend(words(source));
            breaches.extend(environment(source));
        }
        breaches.extend(machine_paths(source));
    }
    breaches
}

fn words(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, line) in source.code.lines().enumerate() {
        for (word, advice) in WORDS {
            if has_word(line, word) {
                let remedy = format!("`{word}`: {advice}");
                breaches.push(source.breach(at + 1, "left-over", &remedy));
            }
        }
    }
    breaches
}

/// Configuration is a value that is passed down, so that a test can set it and a reader can see it.
fn environment(source: &Source) -> Vec<Breach> {
    if source.is_in(&EDGE_CRATES) {
        return Vec::new();
    }
    let is_test = TEST_FOLDERS.iter().any(|folder| source.path.contains(folder));
    let mut breaches = Vec::new();
    for (at, (code, text)) in source.code.lines().zip(source.text.lines()).enumerate() {
        let reads = ["env::var", "env::set_var", "env::remove_var", "option_env!"]
            .iter()
            .any(|call| code.contains(call));
        let names_one = TEST_VARIABLES.iter().any(|name| text.contains(name));
        if reads && !(is_test && names_one) {
            let remedy = "take the value as an argument: only echo-cli and xtask read the \
                          environment, and tests where the model is (variable named on the line)";
            breaches.push(source.breach(at + 1, "environment", remedy));
        }
    }
    breaches
}

fn machine_paths(source: &Source) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        if MACHINE_FOLDERS.iter().any(|folder| has_path(line, folder)) {
            let remedy = "a path of one machine: take it from an argument or the environment";
            breaches.push(source.breach(at + 1, "machine-path", remedy));
        }
    }
    breaches
}

/// Whether `line` has the absolute path `/folder/..`. A slash after a letter, a dot, a brace or
/// another slash goes on with a relative path or a link.
fn has_path(line: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~/}]>)*".contains(c))
    })
}

/// Whether `line` has `word` where it is not the end of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_file(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let breaches = check(&Tree::of(&[(path, text)]));
        breaches.iter().map(|b| (b.line, b.rule)).collect()
    }

    #[test]
    fn left_overs_are_found_in_code_alone() {
        let rule = "left-over";
        assert_eq!(check_file("a.rs", "fn f() {\n todo!()\n}\n"), [(2, rule)]);
        assert_eq!(check_file("a.rs", "let x = dbg!(y);\n"), [(1, rule)]);
        assert_eq!(check_file("a.rs", "unimplemented!(\"x\")\n"), [(1, rule)]);
        assert_eq!(check_file("a.rs", "#[test]\n#[ignore = \"x\"]\n"), [(2, rule)]);
        assert_eq!(check_file("a.rs", "#[should_panic]\n"), [(1, rule)]);
        assert_eq!(check_file("a.rs", "// todo!()\n\"dbg!\"; my_dbg!()\n"), []);
    }

    #[test]
    fn the_environment_is_read_at_the_edge_alone() {
        let read = "let x = std::env::var(\"X\");\n";
        assert_eq!(check_file("echo-gate/src/a.rs", read), [(1, "environment")]);
        assert_eq!(check_file("echo-cli/src/a.rs", read), []);
        let test = "let x = std::env::var_os(\"ECHO_REQUIRE\");\n";
        assert_eq!(check_file("echo-gate/tests/a.rs", test), []);
        assert_eq!(check_file("echo-gate/src/a.rs", test), [(1, "environment")]);
        let set = "unsafe { env::set_var(name, value) }\n";
        assert_eq!(check_file("echo-gate/tests/a.rs", set), [(1, "environment")]);
    }

    #[test]
    fn machine_paths_are_found_anywhere() {
        for folder in MACHINE_FOLDERS {
            let text = format!("fine\nsee \"/{folder}/x\"\n");
            assert_eq!(check_file("a.md", &text), [(2, "machine-path")]);
            assert_eq!(check_file(".ci/run", &text), [(2, "machine-path")]);
            let start = format!("/{folder}/x\n");
            assert_eq!(check_file("a.rs", &start), [(1, "machine-path")]);
            let relative = format!("a/{folder}/x https://y.org/{folder}/z $HOME/{folder}/\n");
            assert_eq!(check_file("a.md", &relative), []);
        }
    }
}
