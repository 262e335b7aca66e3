//! A device for tests, or the reason why there is none.
#![allow(dead_code, reason = "every test takes what it needs")]

use echo_kernels_wgpu::{WgpuKernels, WgpuOptions, adapters};

/// Opens the best device for the test `name`. Without one the test is skipped, which is printed;
/// with `wgpu` in the variable `ECHO_REQUIRE` that is a failure. A device that is there and can't
/// be opened always is.
pub(crate) fn open(name: &str) -> Option<WgpuKernels> {
    if adapters().iter().all(|found| found.refusal.is_some()) {
        let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
        let required = required.split(',').any(|word| word.trim() == "wgpu");
        assert!(!required, "{name}: ECHO_REQUIRE names wgpu, and there is no device");
        eprintln!("skipped: {name}: no device that wgpu reaches");
        return None;
    }
    Some(device(&WgpuOptions::default()))
}

/// Opens a device that must be there.
pub(crate) fn device(options: &WgpuOptions) -> WgpuKernels {
    WgpuKernels::open(options).unwrap_or_else(|error| panic!("{error}"))
}
