//! One stem per kernel: each method of the port `Kernels` has a reference and a conformance case of
//! that name, and a source in each device backend.

use super::breach::Breach;
use super::source::Tree;
use crate::kernels::{BACKENDS, PORT, Stem, stems};

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let stems = stems(tree);
    let mut breaches = Vec::new();
    if stems.is_empty() {
        breaches.push(breach(1, "no method of the trait `Kernels` found".to_owned()));
    }
    for backend in &BACKENDS {
        for Stem { name, line, .. } in &stems {
            let path = backend.file(name);
            if tree.find(&path).is_none() {
                breaches.push(breach(*line, format!("`{name}` has no {path}: write it")));
            }
        }
        breaches.extend(strays(tree, backend.folder, &stems));
    }
    breaches
}

/// Device sources and references that no method of the port calls for are dead or misnamed. A
/// `mod.rs` or a file in a deeper folder belongs to the backend itself.
fn strays(tree: &Tree, folder: &str, stems: &[Stem]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if !folder.ends_with("/cu") && !folder.ends_with("/wgsl") {
        return breaches;
    }
    for source in tree.code() {
        let parent = source.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let known = stems.iter().any(|stem| stem.name == source.stem());
        if parent == folder && source.extension() != "cuh" && !known {
            let remedy = "no method of `Kernels` has this name: rename it or take it out";
            breaches.push(source.breach(1, "kernel-stem", remedy));
        }
    }
    breaches
}

fn breach(line: usize, remedy: String) -> Breach {
    Breach { path: PORT.to_owned(), line, rule: "kernel-stem", remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIT: &str = "//! Port.\npub trait Kernels: Device {\n    /// Adds.\n    \
                         fn plus_one(&self);\n}\n";

    const REFERENCE: &str = "echo-kernels-cpu/src/reference/plus_one.rs";
    const CASE: &str = "echo-kernels-cpu/src/conformance/plus_one.rs";
    const CUDA: &str = "echo-kernels-cuda/cu/plus_one.cu";
    const WGPU: &str = "echo-kernels-wgpu/wgsl/plus_one.wgsl";

    fn check_files(paths: &[&str]) -> Vec<String> {
        let mut files = vec![(PORT, TRAIT)];
        files.extend(paths.iter().map(|path| (*path, "//! x\n")));
        let breaches = check(&Tree::of(&files));
        breaches.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_kernel_without_reference_or_case_is_found() {
        assert_eq!(check_files(&[REFERENCE, CASE, CUDA, WGPU]), [""; 0]);
        assert_eq!(check_files(&[]).len(), 4);
        let wrong_stem = "echo-kernels-cpu/src/reference/add_one.rs";
        let found = check_files(&[wrong_stem, CASE, CUDA, WGPU]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with(&format!("{PORT}:4: kernel-stem: ")), "{found:?}");
        assert!(found[0].contains(REFERENCE), "{found:?}");
    }

    #[test]
    fn a_source_that_is_misnamed_is_found() {
        let found = check_files(&[REFERENCE, CASE, CUDA, "echo-kernels-wgpu/wgsl/plus_two.wgsl"]);
        assert_eq!(found.len(), 2);
        assert!(found[0].contains(WGPU), "{found:?}");
        assert!(found[1].starts_with("echo-kernels-wgpu/wgsl/plus_two.wgsl:1: "), "{found:?}");
    }

    #[test]
    fn a_port_without_methods_is_found() {
        let breaches = check(&Tree::of(&[(PORT, "//! x\n")]));
        assert_eq!(breaches.len(), 1);
    }
}
