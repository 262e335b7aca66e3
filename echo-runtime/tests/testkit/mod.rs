//! What the tests of the engine share: a vocabulary, an oracle, and random episodes.
// Each test binary uses its own part of the kit.
#![allow(dead_code)]

pub(crate) mod bent;
pub(crate) mod episode;
#[path = "../../../echo-model/tests/files/support.rs"]
pub(crate) mod model;
pub(crate) mod oracle;
pub(crate) mod policies;
pub(crate) mod sabotage;
pub(crate) mod solvers;
pub(crate) mod tiny;
pub(crate) mod vocab;

use echo_core::Limits;

/// Small limits that make pressure cheap: few slots, few rows, small trees.
pub(crate) fn small_limits() -> Limits {
    Limits {
        seqs_max: 4,
        rows_max: 24,
        depth_max: 4,
        width_max: 3,
        beam_max: 2,
        tree_max: 12,
        context_max: 96,
        kv_slots: 160,
        logprobs_max: 3,
    }
}
