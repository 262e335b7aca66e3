//! `cargo xtask kernels`: writes KERNELS.md, the table of kernels and backends.
//!
//! Rows are the methods of the port `Kernels`, columns the places where each must have a file of
//! its name; `tidy` refuses gaps.

use std::fmt::Write;
use std::fs;

use crate::Outcome;
use crate::cargo::{cargo, root, run as run_command};
use crate::flags::Kernels;
use crate::nvrtc;
use crate::tidy::Tree;

/// Where the port is declared.
pub(crate) const PORT: &str = "echo-core/src/port/kernels.rs";
const TABLE: &str = "KERNELS.md";

/// A place where every kernel has one file, named after it.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) folder: &'static str,
    extension: &'static str,
}

impl Backend {
    /// The file that holds the kernel `stem`.
    pub(crate) fn file(&self, stem: &str) -> String {
        format!("{}/{stem}.{}", self.folder, self.extension)
    }
}

pub(crate) const BACKENDS: [Backend; 4] = [
    Backend { name: "reference", folder: "echo-kernels-cpu/src/reference", extension: "rs" },
    Backend { name: "conformance", folder: "echo-kernels-cpu/src/conformance", extension: "rs" },
    Backend { name: "cuda", folder: "echo-kernels-cuda/cu", extension: "cu" },
    Backend { name: "wgpu", folder: "echo-kernels-wgpu/wgsl", extension: "wgsl" },
];

/// A method of the port.
pub(crate) struct Stem {
    pub(crate) name: String,
    /// First sentence of its documentation.
    purpose: String,
    /// Line in [`PORT`], counted from one.
    pub(crate) line: usize,
}

pub(crate) fn run(flags: &Kernels) -> Outcome {
    if flags.check {
        return verify();
    }
    if flags.cuda {
        return compile();
    }
    let table = render(&Tree::read(root())?);
    fs::write(root().join(TABLE), table).map_err(|e| format!("cannot write {TABLE}: {e}"))?;
    println!("kernels: wrote {TABLE}");
    Ok(())
}

/// Compiles the CUDA sources for every architecture they are written for; needs no device.
fn compile() -> Outcome {
    let mut test = cargo(&["test", "--package", "echo-kernels-cuda", "--test", "compile"]);
    test.args(["--", "--nocapture"]).envs(nvrtc::environment()?);
    run_command(&mut test)
}

/// Fails if KERNELS.md is not what [`run`] would write.
pub(crate) fn verify() -> Outcome {
    let tree = Tree::read(root())?;
    let written = tree.find(TABLE).map(|table| table.text.as_str());
    if written == Some(render(&tree).as_str()) {
        println!("kernels: {TABLE} is up to date");
        return Ok(());
    }
    Err(format!("{TABLE} is not up to date: run `cargo xtask kernels`").into())
}

/// The methods of the port, in order.
pub(crate) fn stems(tree: &Tree) -> Vec<Stem> {
    let Some(port) = tree.find(PORT) else {
        return Vec::new();
    };
    let mut stems = Vec::new();
    let mut inside = false;
    let mut docs = String::new();
    for (at, (code, text)) in port.code.lines().zip(port.text.lines()).enumerate() {
        let text = text.trim();
        if code.starts_with("pub trait Kernels") {
            inside = true;
        } else if code.starts_with('}') {
            inside = false;
        } else if let Some(line) = text.strip_prefix("///") {
            docs.push_str(line);
            continue;
        } else if inside && let Some(rest) = code.trim().strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or_default();
            stems.push(Stem {
                name: name.to_owned(),
                purpose: first_sentence(&docs),
                line: at + 1,
            });
        }
        docs.clear();
    }
    stems
}

/// Up to the first full stop that ends a word. Links keep their text alone: where they lead means
/// nothing in the table.
fn first_sentence(docs: &str) -> String {
    let docs = docs.trim();
    let end = docs.find(". ").unwrap_or(docs.len());
    let mut sentence = docs[..end].trim_end_matches('.').replace("[`", "`");
    while let Some(at) = sentence.find("`]") {
        let link = sentence[at + 2..].starts_with('(');
        let end = sentence[at..].find(')').filter(|_| link).map_or(at + 2, |n| at + n + 1);
        sentence.replace_range(at + 1..end, "");
    }
    sentence
}

fn render(tree: &Tree) -> String {
    let mut table = String::from(
        "# Kernels and backends\n\n\
         Written by `cargo xtask kernels`; `cargo xtask check` holds it to the tree.\n\
         Rows are the methods of the port `Kernels` in `echo-core`; the file of a kernel bears its \
         name in every backend.\n\
         The meaning of a kernel is the header of its reference; `conformance` is the case every \
         backend must pass.\n\n| kernel | purpose |",
    );
    for backend in &BACKENDS {
        let _ = write!(table, " {} |", backend.name);
    }
    table.push_str("\n|---|---|");
    table.push_str(&"---|".repeat(BACKENDS.len()));
    table.push('\n');
    for Stem { name, purpose, .. } in stems(tree) {
        let _ = write!(table, "| `{name}` | {} |", purpose.replace('|', "\\|"));
        for backend in &BACKENDS {
            let there = tree.find(&backend.file(&name)).is_some();
            table.push_str(if there { " yes |" } else { " – |" });
        }
        table.push('\n');
    }
    table.push_str("\nWhere the files are:\n\n");
    for backend in &BACKENDS {
        let _ = writeln!(table, "- {}: `{}`", backend.name, backend.file("KERNEL"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIT: &str = "//! Port.\n\
        /// Not one of them. Really.\npub trait Other {\n    fn other(&self);\n}\n\
        pub trait Kernels: Device {\n    \
        /// `out = a | b`\n    /// per [`Row`](a::Row) of [`M`] (m). Waits.\n    \
        fn either(\n        &self,\n    );\n\n    fn plain(&self);\n}\nfn loose() {}\n";

    #[test]
    fn stems_are_the_methods_of_the_port() {
        let found: Vec<_> = stems(&Tree::of(&[(PORT, TRAIT)]))
            .into_iter()
            .map(|stem| (stem.name, stem.purpose, stem.line))
            .collect();
        let expected = [
            ("either".to_owned(), "`out = a | b` per `Row` of `M` (m)".to_owned(), 9),
            ("plain".to_owned(), String::new(), 13),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_table_tells_what_is_there() {
        let reference = "echo-kernels-cpu/src/reference/plain.rs";
        let table = render(&Tree::of(&[(PORT, TRAIT), (reference, "//! x\n")]));
        assert!(table.contains("| `plain` |  | yes | – | – | – |\n"), "{table}");
        assert!(
            table.contains("| `either` | `out = a \\| b` per `Row` of `M` (m) | – |"),
            "{table}"
        );
    }
}
