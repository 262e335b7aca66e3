//! The backend against the suite, on whatever device there is.

mod support;

use echo_kernels_cpu::conformance::{boxed, run};
use echo_kernels_wgpu::WgpuOptions;

#[test]
fn every_operation_agrees_with_its_reference() {
    let Some(_) = support::open("every_operation_agrees_with_its_reference") else { return };
    for segments in [1, 8] {
        let options = WgpuOptions { segments: Some(segments), ..WgpuOptions::default() };
        let report = run(&[&|| boxed(support::device(&options))]);
        eprintln!("{segments} segments: {report}");
        report.assert_passed();
    }
}
