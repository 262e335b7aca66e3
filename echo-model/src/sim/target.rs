//! A target without weights: a hash for logits, a ledger for keys and values.

use super::faults::Faults;
use super::law::SimLaw;
use super::ledger::Ledger;
use echo_core::port::TargetShape;
use echo_core::sampling::{SampleView, Scratch, sample_row};
use echo_core::{DeviceError, PackedView, Slot, Target, Verdicts};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a [`SimTarget`] is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimOptions {
    /// The law of its logits.
    pub law: SimLaw,
    /// KV slots it holds.
    pub kv_slots: usize,
    /// Rows one forward can take.
    pub rows_max: usize,
    /// Longest sequence.
    pub context_max: usize,
}

impl SimOptions {
    /// A small model for tests: 32 tokens, a fair choice of words, a tie at every twentieth prefix.
    pub fn small(seed: u64) -> Self {
        SimOptions {
            law: SimLaw { seed, vocab: 32, spread: 1.5, ties: 0.05 },
            kv_slots: 4096,
            rows_max: 256,
            context_max: 512,
        }
    }
}

/// When a forward that is made to fail does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailAt {
    /// Before any slot was written.
    Start,
    /// After all slots were written.
    End,
}

/// A scripted target that checks every slot its rows read.
///
/// A clone is another handle of the same target: a test keeps one while an engine owns the other.
#[derive(Clone, Debug)]
pub struct SimTarget {
    options: SimOptions,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    faults: Faults,
    forwards: u64,
    rows: u64,
    failures: Vec<(u64, FailAt, DeviceError)>,
    nans: Vec<(u32, u32)>,
    logits: Vec<f32>,
    scratch: Scratch,
}

impl SimTarget {
    /// A target with blank slots.
    pub fn new(options: SimOptions) -> Self {
        let vocab = options.law.vocab;
        assert!(vocab >= 2, "a simulated vocabulary has at least 2 tokens");
        let shared = Shared {
            ledger: Ledger::new(options.kv_slots),
            faults: Faults::default(),
            forwards: 0,
            rows: 0,
            failures: Vec::new(),
            nans: Vec::new(),
            logits: vec![0.0; vocab],
            scratch: Scratch::with_capacity(vocab),
        };
        SimTarget { options, shared: Arc::new(Mutex::new(shared)) }
    }

    /// The law of its logits, for an oracle or a drafter.
    pub fn law(&self) -> SimLaw {
        self.options.law
    }

    /// What it saw go wrong so far.
    pub fn faults(&self) -> Faults {
        self.shared().faults.clone()
    }

    /// Makes reading `slots` a fault until they are written again. Panics if there is no such slot.
    pub fn poison(&self, slots: &[Slot]) {
        let mut shared = self.shared();
        for &slot in slots {
            shared.ledger.poison(slot);
        }
    }

    /// Lets forward number `forward`, counted from 0 over the target's life, fail with `error`.
    pub fn fail(&self, forward: u64, at: FailAt, error: DeviceError) {
        self.shared().failures.push((forward, at, error));
    }

    /// Puts a NaN among the logits of each row of place `seq` at `position`.
    pub fn spoil(&self, seq: u32, position: u32) {
        self.shared().nans.push((seq, position));
    }

    /// Takes all injected NaNs and failures back.
    pub fn heal(&self) {
        let mut shared = self.shared();
        shared.nans.clear();
        shared.failures.clear();
    }

    /// Forwards asked for and rows verified so far.
    pub fn work(&self) -> (u64, u64) {
        let shared = self.shared();
        (shared.forwards, shared.rows)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // A panic elsewhere must not hide what was recorded before it.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target for SimTarget {
    fn shape(&self) -> TargetShape {
        TargetShape {
            vocab: self.options.law.vocab,
            context_max: self.options.context_max,
            kv_slots: self.options.kv_slots,
            rows_max: self.options.rows_max,
            seqs_max: self.options.rows_max,
        }
    }

    fn verify(
        &mut self,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let options = self.options;
        self.shared().forward(&options, packed, sample, verdicts)
    }
}

impl Shared {
    fn forward(
        &mut self,
        options: &SimOptions,
        packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        let number = self.forwards;
        self.forwards += 1;
        let failure = self.failures.iter().find(|(n, ..)| *n == number).cloned();
        if let Some((_, FailAt::Start, error)) = failure {
            return Err(error);
        }
        self.rows += packed.rows() as u64;
        self.check_rows(options, &packed, &sample);
        self.ledger.claim(&packed, &mut self.faults);
        verdicts.reset(packed.sampled.len());
        let mut sampled = 0;
        for s in 0..packed.n_seqs() {
            for row in packed.rows_of(s) {
                let law = &options.law;
                let faults = &mut self.faults;
                let digest = self.ledger.row(law, &packed, s, row, faults);
                if packed.sampled.get(sampled) == Some(&(row as u32)) {
                    law.logits(digest, &mut self.logits);
                    if self.nans.contains(&(packed.seqs[s], packed.position[row])) {
                        self.logits[digest as usize % law.vocab] = f32::NAN;
                    }
                    let (logits, scratch) = (&self.logits, &mut self.scratch);
                    sample_row(logits, sample, sampled, scratch, verdicts);
                    sampled += 1;
                }
            }
        }
        let listed = packed.sampled.len();
        self.faults.check(sampled == listed, || {
            format!("{listed} rows are to be sampled, {sampled} were found in ascending order")
        });
        match failure {
            Some((.., error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Checks what can be told without the ledger.
    fn check_rows(
        &mut self,
        options: &SimOptions,
        packed: &PackedView<'_>,
        sample: &SampleView<'_>,
    ) {
        let faults = &mut self.faults;
        faults.check(packed.rows() <= options.rows_max, || {
            format!("{} rows, at most {}", packed.rows(), options.rows_max)
        });
        faults.check(packed.seqs.is_sorted_by(|a, b| a < b), || {
            format!("places {:?} do not ascend", packed.seqs)
        });
        faults.check(packed.sampled.len() == sample.specs.len(), || {
            let (rows, specs) = (packed.sampled.len(), sample.specs.len());
            format!("{rows} rows are to be sampled, {specs} specs say how")
        });
        for (row, (&token, &position)) in packed.token.iter().zip(packed.position).enumerate() {
            faults.check((token as usize) < options.law.vocab, || {
                format!("row {row} has token {token}, out of the vocabulary")
            });
            faults.check((position as usize) < options.context_max, || {
                format!("row {row} is at position {position}, beyond the context")
            });
        }
        for (spec, &row) in sample.specs.iter().zip(packed.sampled) {
            let position = packed.position[row as usize] + 1;
            faults.check(spec.position == position, || {
                let noise = spec.position;
                format!("row {row} samples position {position} with the noise of {noise}")
            });
        }
        for s in 0..packed.n_seqs() {
            let committed = packed.rows_of(s).start..packed.drafted(s).start;
            for row in committed {
                let plain = packed.ancestors_of(row).iter().all(|&word| word == 0);
                let prefix = packed.prefix_len[row];
                faults.check(plain && prefix == packed.position[row] + 1, || {
                    format!("committed row {row} reads a prefix of {prefix} or drafted rows")
                });
            }
        }
    }
}
