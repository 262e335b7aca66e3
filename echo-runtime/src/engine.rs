//! The engine: owns the parts and all buffers, and runs steps.

use crate::admit::{Queue, end, leave};
use crate::batch::Batch;
use crate::buffers::Buffers;
use crate::kv::{Kv, KvUse};
use crate::learning::Learning;
use crate::meter::{Meter, StepStats};
use crate::options::Options;
use crate::output::{FinishReason, Output};
use crate::ports::{Parts, Ports};
use crate::recovery::Recovery;
use crate::request::{RejectReason, Request};
use crate::round::Round;
use crate::sequence::Sequence;
use crate::step::step;
use echo_core::{
    Correction, DeviceError, Gate, Learner, Limits, LimitsError, SeqId, Solver, Token,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Decodes many sequences at once. Single-threaded: the caller steps it; see
/// [`Handle`](crate::Handle) for one that runs on a thread of its own.
pub struct Engine {
    pub(crate) ports: Ports,
    pub(crate) limits: Limits,
    pub(crate) options: Options,
    pub(crate) queue: Queue,
    pub(crate) batch: Batch,
    pub(crate) kv: Kv,
    pub(crate) buffers: Buffers,
    pub(crate) meter: Meter,
    pub(crate) recovery: Recovery,
    learning: Option<Learning>,
    /// What was learnt up to the last step.
    pub(crate) learnt: Correction,
    next_id: u64,
    end_tokens: Vec<Token>,
}

impl Engine {
    /// Puts an engine together. All of its memory is taken here.
    ///
    /// Fails if the limits contradict each other or ask more than the target has.
    pub fn new(parts: Parts, limits: Limits, options: Options) -> Result<Self, LimitsError> {
        limits.check()?;
        let shape = parts.target.shape();
        let has = [
            ("rows_max", limits.rows_max, shape.rows_max),
            ("seqs_max", limits.seqs_max, shape.seqs_max),
            ("kv_slots", limits.kv_slots, shape.kv_slots),
            ("context_max", limits.context_max, shape.context_max),
        ];
        for (field, asked, most) in has {
            if asked > most {
                let why = format!("is {asked}, but the target was made for {most}; lower it");
                return Err(LimitsError { field, why });
            }
        }
        if parts.vocab.len() > shape.vocab {
            let (vocab, rows) = (parts.vocab.len(), shape.vocab);
            let why = format!("has {vocab} tokens, but the target only {rows}; they don't match");
            return Err(LimitsError { field: "vocab", why });
        }
        if options.prompt_rows_max == 0 {
            let why = "must be at least 1, or no prompt is ever read".into();
            return Err(LimitsError { field: "prompt_rows_max", why });
        }
        let end_tokens = (0..parts.vocab.len() as Token).filter(|&t| parts.vocab.ends(t)).collect();
        let mut buffers = Buffers::new(&limits);
        let mut ports = Ports::new(parts, &limits, &options);
        buffers.prime(&mut ports.solver, &limits);
        Ok(Engine {
            ports,
            limits,
            options,
            queue: Queue::with_capacity(options.queue_max + limits.seqs_max),
            batch: Batch::new(&limits),
            kv: Kv::new(limits.kv_slots, options.prefix_cache),
            buffers,
            meter: Meter::default(),
            recovery: Recovery::default(),
            learning: None,
            learnt: Correction::NONE,
            next_id: 0,
            end_tokens,
        })
    }

    /// Takes a request into the queue, or says why not.
    pub fn submit(&mut self, mut request: Request) -> Result<SeqId, RejectReason> {
        request.check(self.ports.vocab.as_ref(), &self.limits)?;
        request.sampling.settle();
        let open_max = self.limits.seqs_max + self.options.queue_max;
        if self.batch.n_live() + self.queue.len() >= open_max {
            return Err(RejectReason::QueueFull { waiting: self.options.queue_max });
        }
        let id = SeqId(self.next_id);
        let context_max = self.limits.context_max.min(self.limits.kv_slots);
        let no_memory = |_| RejectReason::NoMemory;
        let sequence =
            Sequence::new(id, request, context_max, &self.end_tokens).map_err(no_memory)?;
        self.buffers.specs.reserve(&sequence.penalties, &self.limits).map_err(no_memory)?;
        if !(self.options.has_memory)() {
            return Err(RejectReason::NoMemory);
        }
        self.next_id += 1;
        self.queue.push_back(Box::new(sequence));
        Ok(id)
    }

    /// Ends a sequence at once and frees what it holds. An id that is not known (any more) is
    /// ignored: its end was reported already.
    pub fn cancel(&mut self, id: SeqId, out: &mut Output) {
        self.remove(id, FinishReason::Cancelled, out);
    }

    /// Ends every sequence because the device is of no more use.
    pub fn abort(&mut self, error: &DeviceError, out: &mut Output) {
        for id in self.known().collect::<Vec<_>>() {
            self.remove(id, FinishReason::Device(error.clone()), out);
        }
    }

    /// All sequences, waiting or live.
    pub(crate) fn known(&self) -> impl Iterator<Item = SeqId> {
        let waiting = self.queue.iter().map(|sequence| sequence.id);
        waiting.chain(self.batch.places().map(|seq| self.batch.sequence(seq).id))
    }

    /// Ends the sequence `id`, if there is one.
    pub(crate) fn remove(&mut self, id: SeqId, reason: FinishReason, out: &mut Output) {
        self.recovery.forget(id);
        if let Some(at) = self.queue.iter().position(|waiting| waiting.id == id) {
            let sequence = self.queue.remove(at).expect("it was just found");
            end(sequence, reason, out);
            return;
        }
        let place = self.batch.places().find(|&seq| self.batch.sequence(seq).id == id);
        if let Some(seq) = place {
            let drafter = &mut self.ports.drafter;
            let sequence = leave(seq, &mut self.batch, &mut self.kv, drafter);
            end(sequence, reason, out);
        }
    }

    /// Runs one step and appends what it committed to `out`.
    ///
    /// On an error nothing was committed and no slot is lost; the step may be tried again, which
    /// [`advance`](Self::advance) does.
    pub fn step(&mut self, out: &mut Output) -> Result<(), DeviceError> {
        // A drafter may have failed since the last step, as somebody left; this one is not to do
        // without it.
        let before = self.ports.faults.take();
        let stepped = step(self, out);
        self.meter.policy_faults(before + self.ports.faults.take());
        match &stepped {
            Ok(()) => self.learn(),
            Err(_) => self.buffers.forget_round(),
        }
        stepped
    }

    /// Shows the last step to the learner. One that panics is not asked any more.
    fn learn(&mut self) {
        let Buffers { tree, plan, packed, paths, .. } = &self.buffers;
        let round = Round::new(tree.view(), plan, packed, paths);
        let Some(learning) = &mut self.learning else { return };
        let learnt = catch_unwind(AssertUnwindSafe(|| learning.learn(round, &self.meter)));
        if let Ok(learnt) = learnt {
            self.learnt = learnt.unwrap_or(self.learnt);
        } else {
            (self.learning, self.learnt) = (None, Correction::NONE);
        }
    }

    /// What the policies are told of times and chances in the next step.
    pub fn learnt(&self) -> Correction {
        self.learnt
    }

    /// Whether nobody lives or waits.
    pub fn is_idle(&self) -> bool {
        self.batch.n_live() == 0 && self.queue.is_empty()
    }

    /// Sequences that hold a place.
    pub fn n_live(&self) -> usize {
        self.batch.n_live()
    }

    /// Requests that wait for a place.
    pub fn n_waiting(&self) -> usize {
        self.queue.len()
    }

    /// How its KV slots are used.
    pub fn kv_use(&self) -> KvUse {
        self.kv.usage()
    }

    /// The limits it was made with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts and times of the last step.
    pub fn last_step(&self) -> &StepStats {
        &self.meter.last
    }

    /// What the last step drafted, verified and accepted. Before the first step, after one that
    /// failed and after a change of policies, nothing.
    pub fn last_round(&self) -> Round<'_> {
        let Buffers { tree, plan, packed, paths, .. } = &self.buffers;
        Round::new(tree.view(), plan, packed, paths)
    }

    /// Counts and times of all steps.
    pub fn totals(&self) -> &StepStats {
        &self.meter.total
    }

    /// Takes an idle engine apart, so that its target can serve another.
    pub fn into_parts(self) -> Parts {
        self.ports.into_parts()
    }

    /// Changes the policies between two steps. No text changes by it.
    pub fn set_policies(&mut self, gate: Box<dyn Gate>, solver: Box<dyn Solver>) {
        self.ports.set_policies(gate, solver, &self.limits, &self.options);
        self.buffers.prime(&mut self.ports.solver, &self.limits);
    }

    /// Whether a gate, solver or drafter failed so often that it is not asked any more. Requests
    /// are then decoded plainly, until [`set_policies`](Self::set_policies) puts others in or a
    /// drafter comes with a new device.
    pub fn has_part_off(&self) -> bool {
        self.ports.has_one_off()
    }

    /// Lets `learner` follow the steps from here on, and the policies hear of it. No text changes
    /// by it.
    pub fn set_learner(&mut self, learner: Box<dyn Learner>) {
        self.learning = Some(Learning::new(learner, &self.limits));
        self.learnt = Correction::NONE;
    }

    /// Panics unless every KV slot has exactly one owner and every table is right. O(slots): for
    /// tests.
    pub fn audit(&self) {
        self.kv.pool.audit();
        self.kv.cache.audit(&self.kv.pool);
        self.batch.audit(&self.kv);
    }
}
