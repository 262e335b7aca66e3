//! Bugs planted in the sources: what the suite and the software machine are worth.

use super::run;
use crate::library::Bug;

/// Runs the suite of `stem` on kernels with the bug; one failure must say `symptom`.
fn caught(stem: &'static str, from: &'static str, to: &'static str, symptom: &str) {
    let report = run(stem, Some(Bug { stem, from, to }));
    let found = report.failures.iter().any(|failure| failure.contains(symptom));
    assert!(found, "`{to}` for `{from}` is not caught as `{symptom}`: {report}");
}

#[test]
fn a_missing_barrier_is_caught() {
    // Under some order a warp multiplies by rows that nobody has stored yet.
    let barrier = "may be overwritten.\n        __syncthreads();";
    caught("linear", barrier, "may be overwritten.\n", "linear");
}

#[test]
fn a_copy_nobody_waits_for_is_caught() {
    caught("linear", "wait_copies<(int)LENGTH - 2>()", "wait_copies<(int)LENGTH - 1>()", "linear");
}

#[test]
fn slices_that_a_block_does_not_tell_apart_are_caught() {
    let (from, to) = ("if (step + 1 < slice_end)", "if (step + 1 < end && slice_end)");
    caught("linear", from, to, "is not what it is alone");
}

#[test]
fn a_sum_that_knows_the_number_of_rows_is_caught() {
    caught("rms_norm", "squares = 0.0f", "squares = 1e-6f * gridDim.x", "purity");
}

#[test]
fn a_barrier_for_some_threads_is_caught() {
    let from = "float *to = out + (u64)blockIdx.x * out_stride;";
    let to =
        "float *to = out + (u64)blockIdx.x * out_stride; if (threadIdx.x < 99) __syncthreads();";
    caught("silu_mul", from, to, "threads wait for ever");
}

#[test]
fn a_launch_that_does_not_wait_for_the_one_before_is_caught() {
    caught("silu_mul", "begin();", "", "without waiting");
}

#[test]
fn lanes_that_part_before_a_shuffle_are_caught() {
    let from = "float squares = 0.0f;";
    let to = "float squares = 0.0f; if (lane() < 7) { __syncwarp(); }";
    caught("rms_norm", from, to, "different operations");
}

#[test]
fn a_write_beside_shared_memory_is_caught() {
    caught(
        "rms_norm",
        "scratch = (float *)shared_memory()",
        "scratch = (float *)shared_memory() + 8",
        "beside the shared memory",
    );
}

#[test]
fn a_write_beside_a_matrix_is_caught() {
    caught("embed", "col + i < width;", "col + i <= width;", "guard");
}

#[test]
fn answers_that_are_merged_too_early_are_caught() {
    caught("tree_attention", "before + 1 == blocks;", "before == 0;", "NMSE");
}

#[test]
fn tickets_that_are_not_put_back_are_caught() {
    caught("tree_attention", "*ticket = 0;", "", "tree_attention");
}

#[test]
fn a_carry_that_is_lost_is_caught() {
    caught(
        "sample_rows",
        "high += atomicAdd(halves, low) > ~low;",
        "atomicAdd(halves, low);",
        "element",
    );
}

#[test]
fn a_visible_sibling_is_caught() {
    caught("tree_attention", "set >> column % 64 & 1", "set >> column % 64 & 3", "NMSE");
}
