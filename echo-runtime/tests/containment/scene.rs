//! One run: a crowd of requests, a request that is concerned, and what goes wrong.

use crate::testkit::oracle::{self, Answer};
use crate::testkit::sabotage::{BadDrafter, BadTarget, Plot, Vice};
use crate::testkit::solvers::Greedy;
use crate::testkit::vocab::SmallVocab;
use echo_core::{DeviceError, Gate, Limits, Sampling, SeqId, Solver, Token};
use echo_gate::Always;
use echo_model::sim::{FailAt, SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_runtime::{Engine, FinishReason, Options, Output, Pair, Parts, Reopen, Request, Stops};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The seed by which the request concerned is known.
pub(crate) const VICTIM: u64 = 7_777;
/// Tokens of every prompt.
pub(crate) const PROMPT: u32 = 20;
/// Time that a policy may take.
pub(crate) const POLICY_TIME: Duration = Duration::from_micros(400);
/// Steps that may pass between a row without number and the end of its request.
const STEPS_MAX: usize = 2;
/// Forwards that one request may ruin before it ends. Drafts may run into what is wrong with it
/// some tokens before it does.
const RUINED_MAX: usize = 12;

/// A forward of a target that fails: its number, when, and how.
pub(crate) type Failure = (u64, FailAt, DeviceError);

/// What is to become of the request concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It ends as if nothing had been.
    Unharmed,
    /// It ends for this reason with the beginning of its text.
    Cut(fn(&FinishReason) -> bool),
    /// Either.
    Perhaps(fn(&FinishReason) -> bool),
}

/// When the caller of the request concerned leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    Waiting,
    Reading,
    FirstToken,
    Decoding,
    AfterFailure,
    AfterEnd,
}

/// Everything that can go wrong in one run.
pub(crate) struct Scene {
    pub(crate) plot: Plot,
    pub(crate) failures: Vec<Failure>,
    /// Errors of opening a device before it succeeds; `None` if it can't be opened again.
    pub(crate) openings: Option<Vec<DeviceError>>,
    /// Failures of the device that is opened then.
    pub(crate) failures_then: Vec<Failure>,
    /// From which level on the drafter misbehaves.
    pub(crate) draft_vice: Option<(u64, Vice)>,
    pub(crate) gate: Box<dyn Gate>,
    pub(crate) solver: Box<dyn Solver>,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) kv_slots: usize,
    pub(crate) fate: Fate,
}

impl Default for Scene {
    fn default() -> Self {
        Scene {
            plot: Plot::Nothing,
            failures: Vec::new(),
            openings: None,
            failures_then: Vec::new(),
            draft_vice: None,
            gate: Box::new(Always),
            solver: Box::new(Greedy),
            leaving: None,
            kv_slots: 1600,
            fate: Fate::Unharmed,
        }
    }
}

/// What a run showed of the path it took, added up.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) hits: usize,
    pub(crate) reopened: usize,
    pub(crate) policy_faults: usize,
    pub(crate) preemptions: usize,
    pub(crate) parts_off: usize,
    pub(crate) cut: usize,
}

/// 8 to 32 requests and the one concerned, and what each must say.
pub(crate) struct Crowd {
    seed: u64,
    law: SimLaw,
    requests: Vec<Request>,
    victim: usize,
    answers: Vec<Answer>,
}

impl Crowd {
    pub(crate) fn new(seed: u64) -> Self {
        let law = SimOptions::small(seed).law;
        let n = 9 + (seed % 25) as usize;
        let victim = (seed * 5) as usize % n;
        let request = |r: usize| {
            let stops = Stops { max_tokens: Some(24), ignore_eos: true, ..Stops::default() };
            let sampling = Sampling {
                temperature: [0.0, 0.7][r % 2],
                seed: if r == victim { VICTIM } else { r as u64 },
                frequency_penalty: [0.0, 0.3][r % 3 / 2],
                logprobs: [None, Some(2)][r / 2 % 2],
                ..Sampling::default()
            };
            let prompt = (0..PROMPT).map(|i| (r as Token * 7 + i) % 32).collect();
            Request { stops, sampling, ..Request::new(prompt) }
        };
        let requests: Vec<_> = (0..n).map(request).collect();
        let answers = requests.iter().map(|request| oracle::decode(law, request, 96, &[]));
        Crowd { seed, law, victim, answers: answers.collect(), requests }
    }

    /// Runs `scene` to the end and checks everybody's answer. `name` is for messages.
    pub(crate) fn run(&self, name: &str, scene: Scene, taken: &mut Taken) {
        let who = format!("{name}, seed {}", self.seed);
        let id = SeqId(self.victim as u64);
        let (leaving, fate) = (scene.leaving, scene.fate);
        let is_poison = matches!(scene.plot, Plot::Poison { .. });
        let first_failure = scene.failures.first().map_or(0, |failure| failure.0 as usize);
        let (mut engine, targets, hits) = self.engine(scene);
        for request in &self.requests {
            engine.submit(request.clone()).expect("there is room");
        }
        let mut out = Output::default();
        let mut late = 0;
        for step in 0.. {
            assert!(step < 4_000, "{who}: no progress");
            let said = out.committed.iter().filter(|c| c.id == id).count();
            let leaves = match leaving {
                None | Some(Leaving::AfterEnd) => false,
                Some(Leaving::Waiting) => step == 0,
                Some(Leaving::Reading) => step == 1,
                Some(Leaving::FirstToken) => said > 0,
                Some(Leaving::Decoding) => said >= 5,
                Some(Leaving::AfterFailure) => step > first_failure,
            };
            if leaves {
                engine.cancel(id, &mut out);
                engine.audit();
            }
            if engine.is_idle() {
                break;
            }
            engine.advance(&mut out).unwrap_or_else(|error| panic!("{who}: {error}"));
            engine.audit();
            let goes_on = !out.finished.iter().any(|finished| finished.id == id);
            late += usize::from(goes_on && hits.load(Ordering::Relaxed) > 0);
        }
        if matches!(fate, Fate::Cut(_)) {
            let hits = hits.load(Ordering::Relaxed);
            let limit = if is_poison { hits <= RUINED_MAX } else { late <= STEPS_MAX };
            assert!(limit, "{who}: {late} steps late, {hits} hits");
        }
        let ends = out.finished.len();
        for stale in [id, SeqId(u64::MAX)] {
            engine.cancel(stale, &mut out);
        }
        assert_eq!(out.finished.len(), ends, "{who}: who leaves after the end changes nothing");
        for target in targets.lock().expect("one thread").iter() {
            assert!(target.faults().is_empty(), "{who}: {:?}", target.faults());
        }
        taken.cut += usize::from(self.check(&who, fate, &out));
        taken.hits += hits.load(Ordering::Relaxed);
        taken.reopened += engine.n_reopened();
        taken.policy_faults += engine.totals().policy_faults;
        taken.preemptions += out.finished.iter().map(|f| f.usage.preemptions).sum::<usize>();
        taken.parts_off += usize::from(engine.has_part_off());
    }

    /// Whether the request concerned was cut short. Everybody else's answer is exactly its own.
    fn check(&self, who: &str, fate: Fate, out: &Output) -> bool {
        let mut is_cut = false;
        assert_eq!(out.finished.len(), self.requests.len(), "{who}: each ends once");
        for (r, want) in self.answers.iter().enumerate() {
            let got = answer(out, SeqId(r as u64));
            let may_be_cut = match fate {
                Fate::Cut(reason) | Fate::Perhaps(reason) if r == self.victim => {
                    reason(&got.reason)
                }
                _ => false,
            };
            if may_be_cut {
                is_cut = true;
                assert!(want.tokens.starts_with(&got.tokens), "{who}: the one concerned");
                assert!(want.text.starts_with(got.text.trim_end_matches('\u{fffd}')), "{who}");
            } else {
                let may_end = r != self.victim || !matches!(fate, Fate::Cut(_));
                assert!(may_end, "{who}: the one concerned ended with {:?}", got.reason);
                assert_eq!(got, *want, "{who}: request {r}");
            }
        }
        is_cut
    }

    /// An engine in `scene`, all targets it has had, and how often the plot came to something.
    fn engine(&self, scene: Scene) -> (Engine, Arc<Mutex<Vec<SimTarget>>>, Arc<AtomicUsize>) {
        let limits = Limits {
            seqs_max: 6 + (self.seed % 11) as usize,
            rows_max: 64,
            depth_max: 4,
            width_max: 3,
            beam_max: 2,
            tree_max: 12,
            context_max: 96,
            kv_slots: scene.kv_slots,
            logprobs_max: 3,
        };
        let hits = Arc::new(AtomicUsize::new(0));
        let targets = Arc::new(Mutex::new(Vec::new()));
        let device = Device { law: self.law, limits, targets: Arc::clone(&targets), hits };
        let (inner, hits) = (device.drafter(), Arc::clone(&device.hits));
        let parts = Parts {
            target: Box::new(device.target(&scene.failures, scene.plot.clone())),
            drafter: match scene.draft_vice {
                Some((from, vice)) => Box::new(BadDrafter { inner, vice, from }),
                None => Box::new(inner),
            },
            gate: scene.gate,
            solver: scene.solver,
            vocab: Arc::new(SmallVocab),
        };
        let options = Options {
            prompt_rows_max: 45,
            policy_time_max: POLICY_TIME,
            draft_time_max: Duration::MAX,
            ..Options::default()
        };
        let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
        if let Some(openings) = scene.openings {
            engine.on_loss(device.reopen(openings, scene.failures_then, scene.plot));
        }
        (engine, targets, hits)
    }
}

/// Where targets and drafters come from.
struct Device {
    law: SimLaw,
    limits: Limits,
    targets: Arc<Mutex<Vec<SimTarget>>>,
    hits: Arc<AtomicUsize>,
}

impl Device {
    fn target(&self, failures: &[Failure], plot: Plot) -> BadTarget {
        let Limits { kv_slots, context_max, rows_max, .. } = self.limits;
        let inner = SimTarget::new(SimOptions { law: self.law, kv_slots, rows_max, context_max });
        for (forward, at, error) in failures {
            inner.fail(*forward, *at, error.clone());
        }
        self.targets.lock().expect("one thread").push(inner.clone());
        BadTarget { inner, plot, hits: Arc::clone(&self.hits) }
    }

    fn drafter(&self) -> SimDrafter {
        let agreement = vec![0.9; 4];
        SimDrafter::new(SimDraft { law: self.law, agreement, silence: 0.0, unruly: 0.0 })
    }

    /// Fails with each of `openings`, then opens; the first device after that fails, too, as often
    /// as `failures` say.
    fn reopen(self, openings: Vec<DeviceError>, failures: Vec<Failure>, plot: Plot) -> Reopen {
        let (mut openings, mut failures) = (openings.into_iter(), failures);
        // What panics once need not do so again.
        let plot = if matches!(plot, Plot::Panic { .. }) { Plot::Nothing } else { plot };
        Box::new(move || {
            if let Some(error) = openings.next() {
                return Err(error);
            }
            let target = Box::new(self.target(&std::mem::take(&mut failures), plot.clone()));
            Ok(Pair { target, drafter: Box::new(self.drafter()) })
        })
    }
}

/// What `out` holds for the sequence `id`.
fn answer(out: &Output, id: SeqId) -> Answer {
    let end = out.finished.iter().find(|finished| finished.id == id).expect("everybody ends");
    let said = || out.committed.iter().filter(|committed| committed.id == id);
    let pieces = said().map(|committed| &committed.text).chain([&end.text]);
    let top = |at: std::ops::Range<usize>| {
        out.top[at].iter().map(|&(token, log_prob)| (token, log_prob.to_bits())).collect()
    };
    let scored = out.scored.iter().filter(|scored| scored.id == id);
    let scored = scored.map(|s| (s.token, s.log_prob.to_bits(), top(s.top.clone())));
    Answer {
        scored: scored.collect(),
        tokens: said().map(|committed| committed.token).collect(),
        log_probs: said().map(|committed| committed.log_prob.to_bits()).collect(),
        top: said().map(|committed| top(committed.top.clone())).collect(),
        text: pieces.map(|range| out.text_of(range)).collect(),
        reason: end.reason.clone(),
    }
}
