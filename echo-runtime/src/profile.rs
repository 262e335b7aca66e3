//! What a forward costs, measured on the shapes the engine really runs.

use echo_core::{
    Children, DeviceError, Keep, Limits, Plan, SampleSpec, SampleView, Slot, Target, Token,
    Verdicts,
};
use echo_tree::{Packed, SeqRows, SuperTree};
use std::time::{Duration, Instant};

/// One measured forward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Rows of the forward, each with a verdict.
    pub rows: usize,
    /// Cached tokens that each row sees.
    pub kv_len: usize,
    /// Its time.
    pub time: Duration,
}

/// Times `repeats` forwards for each of `rows` and `kv_lens`, after one that is not counted. Shapes
/// beyond the limits are left out. Repeats are interleaved, so that a slow moment of the machine
/// does not fall on one shape alone.
///
/// Overwrites free KV slots, so no sequence may be live.
pub fn profile(
    target: &mut dyn Target,
    limits: &Limits,
    rows: &[usize],
    kv_lens: &[usize],
    repeats: usize,
) -> Result<Vec<Profile>, DeviceError> {
    let fits = |rows: usize, kv_len: usize| {
        rows > 0
            && rows <= limits.rows_max.min(limits.seqs_max * (1 + limits.tree_max))
            && kv_len + rows <= limits.kv_slots
            && kv_len + 2 <= limits.context_max
    };
    let mut profiles = Vec::new();
    let mut verdicts = Verdicts::with_capacity(limits.rows_max, limits.logprobs_max);
    for repeat in 0..=repeats {
        for &kv_len in kv_lens {
            for &rows in rows.iter().filter(|&&rows| fits(rows, kv_len)) {
                let packed = lay_out(rows, kv_len, limits);
                let specs = vec![SampleSpec::GREEDY; rows];
                let sample = SampleView { specs: &specs, edits: &[] };
                let start = Instant::now();
                target.verify(packed.view(), sample, &mut verdicts)?;
                if repeat > 0 {
                    profiles.push(Profile { rows, kv_len, time: start.elapsed() });
                }
            }
        }
    }
    Ok(profiles)
}

/// A forward of `rows` rows over as many sequences as may live; rows beyond one for each hang below
/// the roots as drafted rows. Each sequence has a prefix of its own where slots suffice, in slots
/// that alternate with the others', as they do when sequences grow side by side.
fn lay_out(rows: usize, kv_len: usize, limits: &Limits) -> Packed {
    let n_seqs = rows.min(limits.seqs_max);
    let width = rows.div_ceil(n_seqs) - 1;
    let limits = Limits { depth_max: 1, width_max: width, beam_max: 1, tree_max: width, ..*limits };
    let mut tree = SuperTree::new(&limits);
    tree.plant((0..n_seqs as u32).map(|seq| (seq, 0)));
    let (mut keep, mut children) = (Keep::default(), Children::default());
    keep.reset(n_seqs);
    for child in 0..rows - n_seqs {
        let (root, token) = (child % n_seqs, child / n_seqs);
        keep.open(root, width as u32);
        children.push(root, token as Token, -1.0);
    }
    tree.push_level(&keep, &children);
    let mut plan = Plan::default();
    plan.reset(tree.view().len(), tree.view().len());
    let mut packed = Packed::new(&limits);
    packed.begin(tree.view());
    let n_prefixes = ((limits.kv_slots - rows) / kv_len.max(1)).clamp(1, n_seqs);
    let first = n_prefixes * kv_len;
    let slots: Vec<Slot> = (first as Slot..(first + rows) as Slot).collect();
    let mut free = slots.as_slice();
    for seq in 0..n_seqs {
        let slot = |position| (position * n_prefixes + seq % n_prefixes) as Slot;
        let cached: Vec<Slot> = (0..kv_len).map(slot).collect();
        let (seq, cached) = (seq as u32, cached.as_slice());
        let rows = SeqRows { seq, cached, context: &[], root: true, scored: false, slots: free };
        free = &free[packed.push_seq(tree.view(), &plan, rows)..];
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_a_profiled_forward_is_sampled() {
        let limits = Limits::usual(4, 256);
        for rows in [1, 3, 4, 5, 64, 132] {
            let packed = lay_out(rows, 100, &limits);
            let view = packed.view();
            assert_eq!((view.rows(), view.sampled.len()), (rows, rows));
            assert_eq!(view.n_seqs(), rows.min(4));
            assert!(view.prefix_len.iter().all(|&prefix| prefix == 101));
        }
    }
}
