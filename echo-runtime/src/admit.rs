//! Who gets a place in the batch, who loses it, and who leaves for good.

use crate::batch::Batch;
use crate::commit::Ledger;
use crate::kv::Kv;
use crate::output::{FinishReason, Finished, Output};
use crate::request::Request;
use crate::sequence::Sequence;
use echo_core::{Drafter, PackedView};
use std::collections::VecDeque;

/// Sequences that wait for a place, oldest first.
pub(crate) type Queue = VecDeque<Box<Sequence>>;

/// Makes sure that every live sequence can get a slot, then seats those that wait, in fair order,
/// while places and slots last. Returns how many lost their places.
pub(crate) fn admit(
    queue: &mut Queue,
    batch: &mut Batch,
    kv: &mut Kv,
    drafter: &mut dyn Drafter,
) -> usize {
    let mut preempted = 0;
    while kv.n_available() < batch.n_live() {
        preempt_youngest(queue, batch, kv, drafter);
        preempted += 1;
    }
    // Slots are taken when rows run: those who were seated before still want theirs.
    let mut promised: usize = batch.places().map(|seq| batch.n_pending(seq)).sum();
    while let (Some(seq), Some(at)) = (batch.vacancy(), first(queue, batch)) {
        let next = &queue[at];
        // One slot for each token it has, and one for its next.
        let wanted = next.tokens.len() + 1;
        if batch.n_live() > 0 && kv.n_available() < promised + wanted {
            break;
        }
        let sequence = queue.remove(at).expect("it was just looked at");
        batch.seat(seq, sequence, kv);
        promised += batch.n_pending(seq);
    }
    preempted
}

/// Who of those that wait is next: of the party with the fewest places, the most urgent, and of
/// these the oldest.
fn first(queue: &Queue, batch: &Batch) -> Option<usize> {
    // Neighbours are mostly of one party, whose places are counted once.
    let mut counted: Option<(u16, usize)> = None;
    let mut rank = |sequence: &Sequence| {
        let Request { party, priority, .. } = sequence.request;
        let known = counted.filter(|&(of, _)| of == party);
        let (_, n_live) = *counted.insert(known.unwrap_or_else(|| (party, batch.n_live_of(party))));
        (n_live, priority, sequence.id)
    };
    (0..queue.len()).min_by_key(|&at| rank(&queue[at]))
}

/// Takes the youngest sequence from its place. The oldest fits alone (its request was checked for
/// that), so it always goes on.
fn preempt_youngest(queue: &mut Queue, batch: &mut Batch, kv: &mut Kv, drafter: &mut dyn Drafter) {
    let youngest = batch.places().max_by_key(|&seq| batch.sequence(seq).id);
    let seq = youngest.expect("somebody holds the slots");
    let mut sequence = leave(seq, batch, kv, drafter);
    sequence.usage.preemptions += 1;
    requeue(queue, sequence);
}

/// Lets a sequence that had a place wait again, before all that are younger.
pub(crate) fn requeue(queue: &mut Queue, sequence: Box<Sequence>) {
    let at = queue.iter().position(|waiting| waiting.id > sequence.id).unwrap_or(queue.len());
    queue.insert(at, sequence);
}

/// Publishes the prompts that were read in this step, and ends the sequences the ledger names.
pub(crate) fn retire(
    packed: PackedView<'_>,
    ledger: &mut Ledger,
    batch: &mut Batch,
    kv: &mut Kv,
    drafter: &mut dyn Drafter,
    out: &mut Output,
) {
    for (s, &seq) in packed.seqs.iter().enumerate() {
        if packed.drafted_start[s] > packed.row_start[s] + 1 && !ledger.is_faulty(seq) {
            batch.publish(seq, kv);
        }
    }
    for (seq, reason) in ledger.ended() {
        let is_faulty = reason == FinishReason::Faulty;
        let parting = if is_faulty { discard } else { leave };
        end(parting(seq, batch, kv, drafter), reason, out);
    }
}

/// Takes a sequence from its place: its committed blocks go to the prefix cache, its other slots to
/// the pool.
pub(crate) fn leave(
    seq: u32,
    batch: &mut Batch,
    kv: &mut Kv,
    drafter: &mut dyn Drafter,
) -> Box<Sequence> {
    batch.publish(seq, kv);
    drafter.forget(seq);
    batch.unseat(seq, kv)
}

/// Takes a sequence whose numbers are none from its place. Nobody else is to begin with what it has
/// read: what it stands on alone leaves the prefix cache.
fn discard(seq: u32, batch: &mut Batch, kv: &mut Kv, drafter: &mut dyn Drafter) -> Box<Sequence> {
    let held = batch.sequence(seq).held;
    drafter.forget(seq);
    let sequence = batch.unseat(seq, kv);
    kv.cache.evict_chain(held, &mut kv.pool);
    sequence
}

/// Reports the end of a sequence, with the text that was still held back.
pub(crate) fn end(mut sequence: Box<Sequence>, reason: FinishReason, out: &mut Output) {
    let start = out.text.len();
    sequence.text.finish(&mut out.text);
    let text = start..out.text.len();
    out.finished.push(Finished { id: sequence.id, reason, text, usage: sequence.usage });
}
