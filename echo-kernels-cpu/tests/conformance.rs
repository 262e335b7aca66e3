//! The CPU backend against the suite: the references against themselves, and the fast forms on
//! every instruction set of this machine, on one to three threads.

use echo_kernels_cpu::conformance::{Open, boxed, run};
use echo_kernels_cpu::{Activations, CpuKernels, CpuOptions, Isa, Path};

fn check(path: Path, activations: Activations) {
    let open = |threads| move || boxed(CpuKernels::new(CpuOptions { threads, path, activations }));
    let opens = [open(1), open(2), open(3)];
    let configurations: Vec<Open<'_>> = opens.iter().map(|open| open as Open<'_>).collect();
    let report = run(&configurations);
    eprintln!("{path:?}, {activations:?}: {report}");
    report.assert_passed();
}

#[test]
fn the_references_agree_with_themselves() {
    check(Path::Reference, Activations::Float);
}

#[test]
fn the_chosen_forms_agree_with_their_references() {
    check(Path::With(Isa::detect()), Activations::Int8);
}

#[test]
fn other_forms_agree_with_their_references() {
    for &isa in Isa::available().iter().filter(|&&isa| isa != Isa::detect()) {
        check(Path::With(isa), Activations::Int8);
    }
}

#[test]
fn float_activations_agree_with_the_references() {
    for &isa in Isa::available() {
        check(Path::With(isa), Activations::Float);
    }
}
