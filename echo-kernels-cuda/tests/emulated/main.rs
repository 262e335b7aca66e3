//! Every kernel, from the source a device would get, against the conformance suite on a machine in
//! software: three orders of threads, which must give the same bits. Then bugs are planted, and the
//! same checks must find them.

mod driver;
mod library;
mod planted;
#[macro_use]
#[path = "../stems/mod.rs"]
mod stems;

use driver::Emulated;
use echo_kernels_cpu::conformance::{self, Open, Report};
use echo_kernels_cuda::CudaKernels;
use library::Bug;

/// Orders of threads: ascending, descending, at random.
const SEEDS: [u64; 3] = [0, 1, 7];

fn run(stem: &str, bug: Option<Bug>) -> Report {
    let open = |seed| {
        move || {
            let driver = match bug {
                Some(bug) => Emulated::with_bug(seed, bug),
                None => Emulated::new(seed),
            };
            conformance::boxed(CudaKernels::new(Box::new(driver)))
        }
    };
    let opens = SEEDS.map(open);
    let configurations: Vec<Open<'_>> = opens.iter().map(|open| open as Open<'_>).collect();
    conformance::run_stem(stem, &configurations)
}

fn check(stem: &str) {
    let report = run(stem, None);
    eprintln!("{stem}: {report}");
    report.assert_passed();
}

each_stem!(check);
