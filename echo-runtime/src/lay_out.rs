//! From a plan to packed rows: every sequence brings its pending tokens and its kept nodes.

use crate::batch::Batch;
use crate::schedule::Schedule;
use echo_core::{Plan, Slot, SuperTreeView};
use echo_tree::{Packed, SeqRows};

/// Packs the rows of all sequences, in ascending order of place. Row `r` gets `slots[r]`.
pub(crate) fn lay_out(
    tree: SuperTreeView<'_>,
    plan: &Plan,
    batch: &Batch,
    schedule: &Schedule,
    slots: &[Slot],
    packed: &mut Packed,
) {
    let view = batch.view();
    packed.begin(tree);
    let mut used = 0;
    for seq in batch.places().filter(|&seq| schedule.chunk(seq) > 0) {
        let root = schedule.is_rooted(seq);
        let cached = view.slots(seq);
        let context = schedule.chunk(seq) - usize::from(root);
        let context = &view.tokens(seq)[cached.len()..cached.len() + context];
        let scored = batch.sequence(seq).scores();
        let rows = SeqRows { seq, cached, context, root, scored, slots: &slots[used..] };
        used += packed.push_seq(tree, plan, rows);
    }
    debug_assert_eq!(used, slots.len(), "the lease is exactly the rows");
}
