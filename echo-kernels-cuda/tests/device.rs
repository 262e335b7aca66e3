//! The conformance suite on a real device. Without one the test says so and is skipped, unless
//! `ECHO_REQUIRE` names cuda; a device that is there and does not open always fails.

#[macro_use]
mod stems;

use echo_kernels_cpu::conformance;
use echo_kernels_cuda::{Cuda, CudaKernels, CudaOptions};
use std::path::PathBuf;

/// Where images are kept between test processes.
fn options() -> CudaOptions {
    let beside = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.join("cubins")));
    CudaOptions { ordinal: 0, cache: Some(beside.unwrap_or_else(|| PathBuf::from("cubins"))) }
}

fn check(stem: &str) {
    match Cuda::open(&options(), &mut |_| ()) {
        Ok(cuda) => println!("{:?}", cuda.info()),
        Err(error) => {
            let required = std::env::var("ECHO_REQUIRE").is_ok_and(|names| names.contains("cuda"));
            assert!(error.is_absent() && !required, "{error}");
            return eprintln!("skipped: {error}");
        }
    }
    let open = || {
        let cuda = Cuda::open(&options(), &mut |_| ()).unwrap_or_else(|error| panic!("{error}"));
        conformance::boxed(CudaKernels::new(Box::new(cuda)))
    };
    let report = conformance::run_stem(stem, &[&open]);
    eprintln!("{stem}: {report}");
    report.assert_passed();
}

each_stem!(check);
