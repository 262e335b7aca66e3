//! The suite every backend must pass: each operation against its reference, bits against bits
//! where the contract says so.
//!
//! A backend's whole test file is a call of [`run`]:
//!
//! ```
//! use echo_kernels_cpu::{CpuKernels, CpuOptions, conformance};
//!
//! let open = || conformance::boxed(CpuKernels::new(CpuOptions { threads: 1,
//! ..CpuOptions::default() })); conformance::run_stem("add", &[&open]).assert_passed();
//! ```
//!
//! Three kinds of check:
//!
//! - *Cases*: an operation on the backend against the reference, at sizes 0, 1, odd, and those of
//!   real models, with a stated tolerance or exactly. Operands are columns inside larger matrices
//!   full of NaN with a payload, so a read outside poisons the answer, and a write outside is seen.
//! - *Wrong variants*: each case also computes what a likely bug would answer (a position off by
//!   one, a visible sibling, a missing minimum). The check must reject it, else the case has
//!   failed.
//! - *Row purity*: the same row alone, among 1 to 64 others, at other places, in other trees, in
//!   other slots and in every configuration of the backend, must have the same bits. The checker is
//!   first shown a form whose sums are split by the number of rows, which it must reject.
//!
//! Reading order: `suite` (what a stem file talks to), `compare`, `purity`, `sheet` and `scene`
//! (the operands), `stored` (weights), then one file per operation.

mod add;
mod compare;
mod embed;
mod gather_rows;
mod linear;
mod purity;
mod random;
mod rms_norm;
mod rope_store;
mod sample_rows;
mod scene;
mod sheet;
mod silu_mul;
mod stored;
mod suite;
mod topk_logprob;
mod tree_attention;

pub use suite::{Open, Report};

use echo_core::port::Kernels;
use suite::Suite;

/// A check of one operation.
type Stem = (&'static str, fn(&mut Suite<'_>));

const STEMS: [Stem; 10] = [
    ("add", add::check),
    ("embed", embed::check),
    ("gather_rows", gather_rows::check),
    ("linear", linear::check),
    ("rms_norm", rms_norm::check),
    ("rope_store", rope_store::check),
    ("sample_rows", sample_rows::check),
    ("silu_mul", silu_mul::check),
    ("topk_logprob", topk_logprob::check),
    ("tree_attention", tree_attention::check),
];

/// The operations the suite knows, in the order it runs them.
pub fn stems() -> impl Iterator<Item = &'static str> {
    STEMS.iter().map(|stem| stem.0)
}

/// Runs the whole suite.
///
/// `configurations` are ways to open one backend that must give the same bits, such as numbers of
/// threads; at least one. Each is opened anew for each operation. Panics only if there is none.
pub fn run(configurations: &[Open<'_>]) -> Report {
    run_where(configurations, |_| true)
}

/// Runs the checks of one operation; the report is empty if there is none of that name.
pub fn run_stem(stem: &str, configurations: &[Open<'_>]) -> Report {
    run_where(configurations, |name| name == stem)
}

/// A device behind the port, as [`run`] wants it.
pub fn boxed(kernels: impl Kernels + 'static) -> Box<dyn Kernels> {
    Box::new(kernels)
}

fn run_where(configurations: &[Open<'_>], wanted: impl Fn(&str) -> bool) -> Report {
    assert!(!configurations.is_empty(), "a backend to run");
    let mut report = Report::default();
    for (name, check) in STEMS {
        if wanted(name) {
            check(&mut Suite::new(name, configurations, &mut report));
        }
    }
    report
}
