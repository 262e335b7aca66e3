//! What an engine does about a device that fails: it tries again, has the device opened anew, and
//! finds the request for which a forward fails.

use crate::admit::requeue;
use crate::engine::Engine;
use crate::guarded::words;
use crate::kv::Kv;
use crate::no_draft::NoDraft;
use crate::output::{Committed, FinishReason, Finished, Output};
use echo_core::port::TargetShape;
use echo_core::{DeviceError, Drafter, PackedView, SampleView, SeqId, Target, Verdicts};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Steps that fail before it is asked for whom they fail.
const TRIES_MAX: usize = 3;
/// Tries that a sequence gets alone.
const ALONE_MAX: usize = 2;
/// Times in a row that opening a device may fail before it counts as gone.
const OPENINGS_MAX: usize = 3;

/// What lives on a device.
pub struct Pair {
    /// The model whose text is wanted, with the sizes and weights of the one before.
    pub target: Box<dyn Target>,
    /// Who proposes tokens.
    pub drafter: Box<dyn Drafter>,
}

/// Opens a device that was lost anew. Called on the engine's thread when the old pair has been
/// dropped; it may take its time, since nothing can go on before it returns.
pub type Reopen = Box<dyn FnMut() -> Result<Pair, DeviceError> + Send>;

/// The engine's account of failures.
#[derive(Default)]
pub(crate) struct Recovery {
    reopen: Option<Reopen>,
    /// Steps that failed since there were no suspects.
    failures: usize,
    /// Sequences that were there when a step failed and have said nothing since.
    suspects: Vec<SeqId>,
    /// Suspects that the next steps run alone, and the tries that each has left.
    alone: VecDeque<(SeqId, usize)>,
    /// Times that a device was opened anew.
    pub(crate) reopened: usize,
}

impl Recovery {
    /// Forgets a sequence that ended between two steps.
    pub(crate) fn forget(&mut self, id: SeqId) {
        self.alone.retain(|&(suspect, _)| suspect != id);
        self.suspects.retain(|&suspect| suspect != id);
        if self.suspects.is_empty() {
            self.failures = 0;
        }
    }

    /// Has each suspect run alone by the next steps, oldest first.
    fn try_alone(&mut self) {
        self.failures = 0;
        self.suspects.sort_unstable();
        self.alone.extend(self.suspects.drain(..).map(|id| (id, ALONE_MAX)));
    }

    /// Takes who said something or ended off the suspects; with the last of them all failures are
    /// forgotten.
    fn clear(&mut self, committed: &[Committed], finished: &[Finished]) {
        if self.failures > 0 {
            let said = |id: SeqId| committed.iter().any(|c| c.id == id);
            let ended = |id: SeqId| finished.iter().any(|f| f.id == id);
            self.suspects.retain(|&suspect| !said(suspect) && !ended(suspect));
            if self.suspects.is_empty() {
                self.failures = 0;
            }
        }
    }
}

/// Stands where a target was whose device is gone.
struct Gone(TargetShape);

impl Target for Gone {
    fn shape(&self) -> TargetShape {
        self.0
    }

    fn verify(
        &mut self,
        _packed: PackedView<'_>,
        _sample: SampleView<'_>,
        _verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        Err(DeviceError::Lost("it could not be opened again".into()))
    }
}

impl Engine {
    /// Tells how the device is opened anew should it be lost. Without, a lost device is the end of
    /// every request.
    pub fn on_loss(&mut self, reopen: Reopen) {
        self.recovery.reopen = Some(reopen);
    }

    /// Times that the device was opened anew.
    pub fn n_reopened(&self) -> usize {
        self.recovery.reopened
    }

    /// One step, and what is to be done should it fail; appends to `out` like
    /// [`step`](Self::step).
    ///
    /// - A failed step is tried again by the next call.
    /// - A lost device is opened anew; sequences keep what they have committed, are read again from
    ///   there and end as they would have.
    /// - When steps fail again and again, the next calls run each sequence alone until it has said
    ///   a token; those that can't end with the error, the others go on.
    ///
    /// An error means that the device is gone for good: every sequence has ended with it, and the
    /// engine is of no more use.
    pub fn advance(&mut self, out: &mut Output) -> Result<(), DeviceError> {
        if let Some(&(id, _)) = self.recovery.alone.front() {
            return self.advance_alone(id, out);
        }
        let (n_committed, n_finished) = (out.committed.len(), out.finished.len());
        let Err(error) = self.step(out) else {
            self.recovery.clear(&out.committed[n_committed..], &out.finished[n_finished..]);
            return Ok(());
        };
        self.recovery.failures += 1;
        self.recovery.suspects = self.live();
        let failures = self.recovery.failures;
        let is_lost = is_lost(&error);
        // A device that fails and fails may be sick without saying so.
        let seems_sick = failures == TRIES_MAX && self.recovery.reopen.is_some();
        if is_lost || seems_sick {
            self.reopen(error, out)?;
        }
        if failures >= TRIES_MAX && (is_lost || !seems_sick) {
            self.recovery.try_alone();
        }
        Ok(())
    }

    /// One step of the first of those that are tried alone. It has come through when it has said a
    /// token or has no place; one that fails too often ends. The others have come on by it, so this
    /// does not go on for ever.
    fn advance_alone(&mut self, id: SeqId, out: &mut Output) -> Result<(), DeviceError> {
        let n_committed = out.committed.len();
        self.buffers.schedule.only = Some(id);
        let stepped = self.step(out);
        self.buffers.schedule.only = None;
        let Err(error) = stepped else {
            if out.committed.len() > n_committed || !self.live().contains(&id) {
                self.recovery.alone.pop_front();
            }
            return Ok(());
        };
        if let Some((_, tries)) = self.recovery.alone.front_mut() {
            *tries -= 1;
            if *tries == 0 {
                self.remove(id, FinishReason::Device(error.clone()), out);
            }
        }
        if is_lost(&error) {
            self.reopen(error, out)?;
        }
        Ok(())
    }

    /// Sequences that hold a place.
    fn live(&self) -> Vec<SeqId> {
        self.batch.places().map(|seq| self.batch.sequence(seq).id).collect()
    }

    /// Opens the device anew, or ends every sequence with `error`.
    fn reopen(&mut self, mut error: DeviceError, out: &mut Output) -> Result<(), DeviceError> {
        self.unseat_all();
        let shape = self.ports.target.shape();
        // Its memory has to be free before there is room for another.
        self.ports.set_pair(Box::new(Gone(shape)), Box::new(NoDraft), &self.options);
        for _ in 0..OPENINGS_MAX {
            let Some(reopen) = &mut self.recovery.reopen else { break };
            match catch_unwind(AssertUnwindSafe(reopen)) {
                Ok(Ok(Pair { target, drafter })) if target.shape() == shape => {
                    self.ports.set_pair(target, drafter, &self.options);
                    self.recovery.reopened += 1;
                    return Ok(());
                }
                Ok(Ok(_)) => {
                    let why = "the target was opened again in another shape";
                    error = DeviceError::Unsupported(why.into());
                }
                Ok(Err(failed)) => error = failed,
                Err(panic) => {
                    let why = format!("opening it again panicked: {}", words(&*panic));
                    error = DeviceError::Lost(why);
                }
            }
        }
        self.abort(&error, out);
        Err(error)
    }

    /// Sends every live sequence back to the queue with what it has committed, and forgets all
    /// keys and values: they were the device's.
    fn unseat_all(&mut self) {
        let places: Vec<u32> = self.batch.places().collect();
        for seq in places {
            let mut sequence = self.batch.unseat(seq, &mut self.kv);
            sequence.usage.preemptions += 1;
            requeue(&mut self.queue, sequence);
        }
        self.kv = Kv::new(self.limits.kv_slots, self.options.prefix_cache);
    }
}

fn is_lost(error: &DeviceError) -> bool {
    matches!(error, DeviceError::Lost(_))
}
