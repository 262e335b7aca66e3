//! The conformance suite on a real device, and graphs against launches. Without a device a test
//! says so and is skipped, unless `ECHO_REQUIRE` names cuda; one that is there and does not open
//! always fails.

mod forward;
#[macro_use]
mod stems;

use echo_kernels_cpu::conformance;
use echo_kernels_cuda::{Cuda, CudaKernels, CudaOptions, Graphs};
use forward::{Forward, LIMITS, Rows};
use std::path::PathBuf;

/// Where images are kept between test processes.
fn options() -> CudaOptions {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("cubins")));
    CudaOptions { ordinal: 0, cache: Some(beside.unwrap_or_else(|| PathBuf::from("cubins"))) }
}

/// Whether there is a device.
fn is_there() -> bool {
    match Cuda::open(&options(), &mut |_| ()) {
        Ok(cuda) => println!("{:?}", cuda.info()),
        Err(error) => {
            let required = std::env::var("ECHO_REQUIRE").is_ok_and(|names| names.contains("cuda"));
            assert!(error.is_absent() && !required, "{error}");
            eprintln!("skipped: {error}");
            return false;
        }
    }
    true
}

fn open(graphs: Graphs) -> CudaKernels {
    let cuda = Cuda::open(&options(), &mut |_| ()).unwrap_or_else(|error| panic!("{error}"));
    CudaKernels::with_graphs(Box::new(cuda), graphs)
}

fn check(stem: &str) {
    if !is_there() {
        return;
    }
    let open = || conformance::boxed(open(Graphs::default()));
    let report = conformance::run_stem(stem, &[&open]);
    eprintln!("{stem}: {report}");
    report.assert_passed();
}

each_stem!(check);

#[test]
fn a_replayed_tier_leaves_what_launches_leave() {
    if !is_there() {
        return;
    }
    let (direct, tiers) = (Forward::new(open(Graphs::Off)), Forward::new(open(Graphs::From(1))));
    for (i, rows) in Rows::samples().iter().enumerate() {
        let (launched, replayed) = (direct.run(rows).unwrap(), tiers.run(rows).unwrap());
        assert!(launched == replayed, "forward {i} of at most {} rows", LIMITS.rows_max);
    }
    tiers.tail(2).unwrap();
    tiers.kernels.seal();
    tiers.tail(48).unwrap();
    assert!(tiers.tail(49).is_err(), "no graph was captured for 64 rows");
}
