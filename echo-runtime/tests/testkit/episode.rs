//! Random episodes: requests that arrive, are cancelled and compete for slots, and what came out.

use super::oracle::Answer;
use super::vocab::SmallVocab;
use echo_core::{Drafter, Gate, Limits, Sampling, SeqId, Solver, Target, Token};
use echo_model::sim::{SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_runtime::{Engine, FinishReason, Options, Output, Parts, Request, Stops, Usage};
use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A seeded source of choices.
pub(crate) struct Dice(TestRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Dice(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// An episode: what is asked, when, under what limits.
pub(crate) struct Episode {
    pub(crate) seed: u64,
    pub(crate) law: SimLaw,
    pub(crate) limits: Limits,
    pub(crate) options: Options,
    pub(crate) draft: SimDraft,
    pub(crate) requests: Vec<Request>,
    /// Step at which each request is submitted.
    pub(crate) arrival: Vec<usize>,
    /// Step after which it is cancelled, if it is.
    pub(crate) cancel: Vec<Option<usize>>,
}

impl Episode {
    pub(crate) fn random(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let spread = dice.pick(&[0.3, 1.5, 6.0]);
        let law = SimLaw { seed, vocab: 32, spread, ties: 0.05 };
        let limits = Limits {
            seqs_max: 1 + dice.below(4),
            rows_max: 4 + dice.below(40),
            depth_max: dice.below(6),
            width_max: 1 + dice.below(4),
            beam_max: 1 + dice.below(3),
            tree_max: 1 + dice.below(16),
            context_max: 64,
            kv_slots: 64 + dice.below(100),
            logprobs_max: 3,
        };
        let options = Options {
            prompt_rows_max: 1 + dice.below(24),
            budget: if dice.once_in(3) { None } else { Some(1 + dice.below(64)) },
            queue_max: 64,
            prefix_cache: !dice.once_in(4),
            policy_time_max: Duration::MAX,
            draft_time_max: Duration::MAX,
            ..Options::default()
        };
        let agreement = (0..6).map(|_| dice.pick(&[0.0, 0.5, 0.9, 1.0])).collect();
        let silence = dice.pick(&[0.0, 0.0, 0.3]);
        let unruly = dice.pick(&[0.0, 0.0, 0.2]);
        let draft = SimDraft { law, agreement, silence, unruly };
        let n = 1 + dice.below(8);
        let shared: Vec<Token> = (0..40).map(|_| dice.below(32) as Token).collect();
        let requests = (0..n).map(|_| request(&mut dice, &shared)).collect();
        let arrival = (0..n).map(|_| dice.below(20)).collect();
        let cancel = (0..n).map(|_| dice.once_in(6).then(|| dice.below(25))).collect();
        Episode { seed, law, limits, options, draft, requests, arrival, cancel }
    }

    /// Runs it to the end and returns each request's answer, and `None` where it was cancelled
    /// before its end together with what it had committed.
    pub(crate) fn run(&self, gate: Box<dyn Gate>, solver: Box<dyn Solver>) -> Run {
        let target = SimTarget::new(SimOptions {
            law: self.law,
            kv_slots: self.limits.kv_slots,
            rows_max: self.limits.rows_max,
            context_max: self.limits.context_max,
        });
        let drafter = SimDrafter::new(self.draft.clone());
        let (ledger, protocol) = (target.clone(), drafter.clone());
        let mut run = self.drive(Box::new(target), Box::new(drafter), gate, solver);
        run.faults.extend(ledger.faults().first);
        run.faults.extend(protocol.faults().first);
        run
    }

    /// Runs it on the given parts.
    pub(crate) fn drive(
        &self,
        target: Box<dyn Target>,
        drafter: Box<dyn Drafter>,
        gate: Box<dyn Gate>,
        solver: Box<dyn Solver>,
    ) -> Run {
        let parts = Parts { target, drafter, gate, solver, vocab: Arc::new(SmallVocab) };
        let mut engine = Engine::new(parts, self.limits, self.options).expect("random but legal");
        let mut run = Run::default();
        let mut ids: Vec<Option<SeqId>> = vec![None; self.requests.len()];
        let mut out = Output::default();
        for now in 0.. {
            for (r, request) in self.requests.iter().enumerate() {
                if self.arrival[r] == now {
                    ids[r] = Some(engine.submit(request.clone()).expect("random but legal"));
                }
                if let (Some(id), Some(at)) = (ids[r], self.cancel[r])
                    && self.arrival[r] + at == now
                {
                    engine.cancel(id, &mut out);
                }
            }
            engine.step(&mut out).expect("nothing fails here");
            engine.audit();
            run.collect(&out, &ids);
            out.clear();
            let all_came = self.arrival.iter().all(|&at| at <= now);
            if all_came && engine.is_idle() {
                break;
            }
            assert!(now < 5_000, "seed {}: no progress", self.seed);
        }
        run.preemptions = run.ended.values().map(|end| end.preemptions).sum();
        let totals = engine.totals();
        let of = |count: fn(&Usage) -> usize| run.ended.values().map(count).sum::<usize>();
        let account = [of(|u| u.drafted), of(|u| u.verified), of(|u| u.accepted)];
        assert_eq!(account, [totals.drafted, totals.verified, totals.accepted], "accounts agree");
        assert_eq!(of(|u| u.output_tokens), totals.committed, "accounts agree");
        run.accepted = totals.accepted;
        run.wasted = totals.wasted();
        run.policy_faults = totals.policy_faults;
        run
    }
}

/// What an episode gave.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) answers: BTreeMap<usize, Answer>,
    pub(crate) ended: BTreeMap<usize, Usage>,
    pub(crate) faults: Vec<String>,
    pub(crate) preemptions: usize,
    pub(crate) accepted: usize,
    pub(crate) wasted: usize,
    pub(crate) policy_faults: usize,
}

impl Run {
    fn collect(&mut self, out: &Output, ids: &[Option<SeqId>]) {
        let index = |id: SeqId| ids.iter().position(|&i| i == Some(id)).expect("a known id");
        let listed = |top: &Range<usize>| {
            out.top[top.clone()].iter().map(|&(t, lp)| (t, lp.to_bits())).collect()
        };
        for scored in &out.scored {
            let answer = self.answer(index(scored.id));
            assert!(answer.tokens.is_empty(), "the prompt comes before what follows");
            answer.scored.push((scored.token, scored.log_prob.to_bits(), listed(&scored.top)));
        }
        for committed in &out.committed {
            let answer = self.answer(index(committed.id));
            answer.tokens.push(committed.token);
            answer.log_probs.push(committed.log_prob.to_bits());
            answer.top.push(listed(&committed.top));
            answer.text.push_str(out.text_of(&committed.text));
        }
        for finished in &out.finished {
            let r = index(finished.id);
            let answer = self.answer(r);
            answer.text.push_str(out.text_of(&finished.text));
            answer.reason = finished.reason.clone();
            let twice = self.ended.insert(r, finished.usage);
            assert!(twice.is_none(), "request {r} ended twice");
        }
    }

    fn answer(&mut self, r: usize) -> &mut Answer {
        self.answers.entry(r).or_insert_with(|| Answer {
            scored: Vec::new(),
            tokens: Vec::new(),
            log_probs: Vec::new(),
            top: Vec::new(),
            text: String::new(),
            reason: FinishReason::Cancelled,
        })
    }
}

/// A request with parameters drawn so that each is off about half the time.
fn request(dice: &mut Dice, shared: &[Token]) -> Request {
    let mut prompt = shared[..dice.below(shared.len())].to_vec();
    prompt.extend((0..=dice.below(6)).map(|_| dice.below(32) as Token));
    let sampling = Sampling {
        temperature: dice.pick(&[0.0, 0.0, 0.6, 1.0, 1.7]),
        top_k: dice.pick(&[0, 0, 1, 5]),
        top_p: dice.pick(&[1.0, 1.0, 0.9, 0.3]),
        min_p: dice.pick(&[0.0, 0.0, 0.1]),
        repetition_penalty: dice.pick(&[1.0, 1.0, 1.3, 0.8]),
        presence_penalty: dice.pick(&[0.0, 0.0, 0.7]),
        frequency_penalty: dice.pick(&[0.0, 0.0, 0.4, -0.2]),
        logit_bias: match dice.below(4) {
            0 => vec![(dice.below(32) as Token, 3.0), (1, f32::NEG_INFINITY)],
            _ => Vec::new(),
        },
        seed: dice.below(1000) as u64,
        logprobs: dice.pick(&[None, None, Some(0), Some(3)]),
    };
    let strings = ["ab", "aba", "語", "\n\n", "..", "abcab", "xé"];
    let stops = Stops {
        max_tokens: dice.pick(&[None, Some(1), Some(2), Some(7), Some(20), Some(40)]),
        min_tokens: dice.pick(&[0, 0, 0, 1, 5]),
        tokens: if dice.once_in(4) { vec![dice.below(32) as Token] } else { Vec::new() },
        strings: (0..dice.pick(&[0, 0, 1, 3])).map(|_| dice.pick(&strings).to_owned()).collect(),
        include_stop: dice.once_in(3),
        ignore_eos: dice.once_in(3),
    };
    let stops =
        Stops { min_tokens: stops.min_tokens.min(stops.max_tokens.unwrap_or(usize::MAX)), ..stops };
    let draft_depth_max = dice.pick(&[None, None, None, Some(0), Some(2)]);
    let draft_nodes_max = dice.pick(&[None, None, Some(0), Some(3)]);
    let draft_weight = dice.pick(&[1.0, 1.0, 0.1, 4.0]);
    let (party, priority) = (dice.pick(&[0, 0, 1]), dice.pick(&[0, 0, -1, 3]));
    let prompt_logprobs = dice.pick(&[None, None, None, Some(0), Some(3)]);
    Request {
        sampling,
        stops,
        draft_depth_max,
        draft_nodes_max,
        draft_weight,
        prompt_logprobs,
        party,
        priority,
        ..Request::new(prompt)
    }
}
