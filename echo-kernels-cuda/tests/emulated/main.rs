//! Every kernel, from the source a device would get, against the conformance suite on a machine in
//! software: three orders of threads, launched for the rows there are or replayed from graphs of
//! whole tiers, which must give the same bits. Then bugs are planted, and the same checks must find
//! them.

mod driver;
#[path = "../forward/mod.rs"]
mod forward;
mod graphs;
mod latch;
mod library;
mod planted;
#[macro_use]
#[path = "../stems/mod.rs"]
mod stems;

use driver::Emulated;
use echo_kernels_cpu::conformance::{self, Open, Report};
use echo_kernels_cuda::{CudaKernels, Graphs};
use library::Bug;

/// Orders of threads, ascending, descending, at random, and what is captured: every operation, or
/// nothing.
const MACHINES: [(u64, Graphs); 3] = [(0, Graphs::From(1)), (1, Graphs::Off), (7, Graphs::From(1))];

fn run(stem: &str, bug: Option<Bug>) -> Report {
    let open = |(seed, graphs)| {
        move || {
            let driver = match bug {
                Some(bug) => Emulated::with_bug(seed, bug),
                None => Emulated::new(seed),
            };
            conformance::boxed(CudaKernels::with_graphs(Box::new(driver), graphs))
        }
    };
    let opens = MACHINES.map(open);
    let configurations: Vec<Open<'_>> = opens.iter().map(|open| open as Open<'_>).collect();
    conformance::run_stem(stem, &configurations)
}

fn check(stem: &str) {
    let report = run(stem, None);
    eprintln!("{stem}: {report}");
    report.assert_passed();
}

each_stem!(check);
