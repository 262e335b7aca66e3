//! Graphs: a replayed tier leaves what launches for the rows there are leave, bit for bit, in the
//! whole memory. Bugs of padding rows are planted, and the same comparison must find them.

use crate::driver::{Emulated, Tally};
use crate::forward::{Forward, LIMITS, Rows};
use crate::library::Bug;
use echo_core::DeviceError;
use echo_kernels_cuda::graphs::TIERS;
use echo_kernels_cuda::{CudaKernels, Graphs};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Captured, replayed, launched by themselves.
fn counts(tally: &Tally) -> [usize; 3] {
    let Tally { captured, replayed, launched } = tally;
    [captured, replayed, launched].map(|count| count.load(Ordering::Relaxed))
}

/// The layer on a machine, and what the machine is asked to do.
fn forward(graphs: Graphs, bug: Option<Bug>) -> (Forward, Arc<Tally>) {
    let machine = bug.map_or(Emulated::new(0), |bug| Emulated::with_bug(0, bug));
    let tally = machine.tally();
    (Forward::new(CudaKernels::with_graphs(Box::new(machine), graphs)), tally)
}

/// The number of the first forward that a graph of a tier and launches of their own leave different
/// memory of.
fn first_difference(bug: Option<Bug>) -> Option<usize> {
    let (direct, launches) = forward(Graphs::Off, bug);
    let (tiers, replays) = forward(Graphs::From(1), bug);
    // A machine that refuses what a bug does has found it, too.
    let same =
        |rows: &Rows| matches!((direct.run(rows), tiers.run(rows)), (Ok(a), Ok(b)) if a == b);
    let found = Rows::samples().iter().position(|rows| !same(rows));
    if found.is_none() {
        assert_eq!(counts(&launches)[..2], [0, 0], "nothing is captured");
        assert_eq!(counts(&replays)[2], 0, "everything is replayed");
    }
    found
}

#[test]
fn a_replayed_tier_leaves_what_launches_leave() {
    assert_eq!(first_difference(None), None);
}

#[test]
fn what_padding_rows_write_is_found() {
    let pads = ("if (pads(live)) {", "if (false) {");
    let bugs = [
        ("embed", pads),
        ("rms_norm", pads),
        // Writes keys and values of a slot that is somebody's.
        ("rope_store", pads),
        ("linear", ("rows_live = *live", "rows_live = rows")),
        ("linear", ("if (pads(live) || col >= n)", "if (col >= n)")),
        ("add", pads),
        ("silu_mul", pads),
        ("gather_rows", pads),
    ];
    for (stem, (from, to)) in bugs {
        let found = first_difference(Some(Bug { stem, from, to }));
        assert!(found.is_some(), "{stem}: `{to}` for `{from}` is not found");
    }
}

#[test]
fn a_launch_that_does_half_of_two_operations_is_found() {
    let (stem, from, to) = ("rms_norm", "store_quad(stream, width, quad, sum);", "");
    assert_eq!(first_difference(Some(Bug { stem, from, to })), Some(0));
}

#[test]
fn a_split_that_no_block_takes_is_found() {
    let (stem, from, to) = ("tree_attention", "tile / unit + gridDim.z", "tile / unit + tiles");
    let last = Rows::samples().len() - 1;
    assert_eq!(first_difference(Some(Bug { stem, from, to })), Some(last));
}

#[test]
fn a_list_is_captured_once_for_all_tiers_and_lengths() {
    let (forward, tally) = forward(Graphs::default(), None);
    let all = Rows::samples();
    forward.run(&all[0]).expect("the machine does not fail");
    let first = counts(&tally);
    let tiers = TIERS.iter().filter(|&&tier| tier <= LIMITS.rows_max).count();
    // At most one for each way in which the rows of a tier can lie.
    assert!((tiers..=4 * tiers).contains(&first[0]), "{} graphs", first[0]);
    for rows in &all {
        forward.run(rows).expect("the machine does not fail");
    }
    assert_eq!(counts(&tally), [first[0], 1 + all.len(), 0]);
}

#[test]
fn after_the_start_a_missing_graph_loses_the_device_and_names_its_tier() {
    let refused = |done: Result<(), DeviceError>, tier: &str| match done {
        Err(DeviceError::Unsupported(why)) => assert!(why.contains(tier), "{why}"),
        done => panic!("{done:?}"),
    };
    let (forward, tally) = forward(Graphs::default(), None);
    forward.run(&Rows::new(&[(4, 0)])).expect("the start may capture");
    forward.kernels.seal();
    let captured = counts(&tally)[0];
    forward.run(&Rows::new(&[(4, 9), (0, 0)])).expect("all tiers of the list are there");
    // A list that was not met at the start.
    refused(forward.tail(5), "a tier of 8 rows");
    // Whoever asked for it may have been told that it was taken.
    let lost = forward.tail(4);
    assert!(matches!(lost, Err(DeviceError::Lost(why)) if why.contains("a tier of 8 rows")));
    assert_eq!(counts(&tally), [captured, 2, 0]);

    let (other, _) = self::forward(Graphs::default(), None);
    other.tail(2).expect("the start may capture");
    other.kernels.seal();
    other.tail(48).expect("the tier of the stage's rows is there");
    // More rows than any stage has.
    refused(other.tail(49), "a tier of 64 rows");
}

#[test]
fn more_rows_than_the_largest_tier_are_launched_as_they_are() {
    let (forward, tally) = forward(Graphs::default(), None);
    forward.kernels.seal();
    forward.tail(520).expect("no graph is wanted for it");
    assert_eq!(counts(&tally), [0, 0, 3]);
}
