//! The text files of the workspace, read once for all rules.

use std::fs;
use std::path::Path;

use super::blank::blank;
use super::breach::Breach;
use crate::Outcome;

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Path from the root of the workspace, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// `text` with comments and the insides of strings blanked; empty for anything but code.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut source =
            Source { path: path.to_owned(), text: text.to_owned(), code: String::new() };
        if source.is_code() {
            source.code = blank(text);
        }
        source
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }

    /// Rust, or the language of a device.
    pub(crate) fn is_code(&self) -> bool {
        matches!(self.extension(), "rs" | "cu" | "cuh" | "wgsl")
    }

    pub(crate) fn extension(&self) -> &str {
        self.file_name().rsplit_once('.').map_or("", |(_, end)| end)
    }

    pub(crate) fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The file's name without its extension.
    pub(crate) fn stem(&self) -> &str {
        let name = self.file_name();
        name.rsplit_once('.').map_or(name, |(stem, _)| stem)
    }

    /// Whether the file belongs to one of these crates.
    pub(crate) fn is_in(&self, crates: &[&str]) -> bool {
        let folder = self.path.split('/').next().unwrap_or_default();
        crates.contains(&folder)
    }

    /// A breach of `rule` on `line`, counted from one.
    pub(crate) fn breach(&self, line: usize, rule: &'static str, remedy: &str) -> Breach {
        Breach { path: self.path.clone(), line, rule, remedy: remedy.to_owned() }
    }
}

/// All text files, ordered by path.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    files: Vec<Source>,
}

impl Tree {
    /// A tree of just these files, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Tree { files: files.iter().map(|(p, t)| Source::new(p, t)).collect() }
    }

    /// Reads every UTF-8 file below `root`, but for build outputs, hidden folders that are not
    /// ours and the lock file.
    pub(crate) fn read(root: &Path) -> Outcome<Self> {
        let mut files = Vec::new();
        read_folder(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Tree { files })
    }

    pub(crate) fn files(&self) -> &[Source] {
        &self.files
    }

    pub(crate) fn code(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.is_code())
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }
}

const HIDDEN_BUT_OURS: [&str; 5] = [".cargo", ".ci", ".config", ".github", ".editorconfig"];

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<Source>) -> Outcome {
    let entries =
        fs::read_dir(folder).map_err(|error| format!("cannot list {prefix}/: {error}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let hidden = name.starts_with('.') && !HIDDEN_BUT_OURS.contains(&name.as_str());
        if hidden || name == "target" || name == "Cargo.lock" {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_folder(&entry.path(), &path, files)?;
        } else if kind.is_file() {
            // What is not UTF-8 is no text: a picture, a model.
            if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                files.push(Source::new(&path, &text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::root;

    #[test]
    fn knows_its_own_tree() {
        let tree = Tree::read(root()).expect("readable");
        let this = tree.find("xtask/src/tidy/source.rs").expect("itself");
        assert!(this.is_rust() && this.is_in(&["xtask"]) && !this.is_in(&["echo-core"]));
        assert_eq!((this.stem(), this.extension()), ("source", "rs"));
        let outside = |file: &Source| file.path.starts_with("target/") || file.path == "Cargo.lock";
        assert!(!tree.files.iter().any(outside));
    }

    #[test]
    fn only_code_has_a_code_view() {
        assert_eq!(Source::new("a.rs", "x // y").code, "x     ");
        assert_eq!(Source::new("a.md", "x // y").code, "");
    }
}
