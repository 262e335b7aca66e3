//! Where a text ends: every kind of end, at every place of an accepted run, is the end that plain
//! decoding finds, token by token: the same tokens, text, log-probabilities and reason.
//!
//! Method: a script instead of a model, so that runs of 1 to 16 tokens are accepted whole and pass
//! the end that is hidden in them.

mod testkit;

use echo_core::port::TargetShape;
use echo_core::{
    BatchView, Children, DeviceError, Drafter, Frontier, Keep, Limits, PackedView, SampleView,
    Sampling, Settled, Target, Token, Verdicts,
};
use echo_gate::Always;
use echo_runtime::{Engine, FinishReason, Options, Output, Parts, Request, Stops};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::oracle::{Answer, decode_by};
use testkit::solvers::Greedy;
use testkit::vocab::{END, SmallVocab};

const LIMITS: Limits = Limits {
    seqs_max: 48,
    rows_max: 48 * 17,
    depth_max: 16,
    width_max: 1,
    beam_max: 1,
    tree_max: 16,
    context_max: 64,
    kv_slots: 48 * 64,
    logprobs_max: 0,
};

const PROMPT: [Token; 3] = [26, 2, 28];
const PLACES: u64 = 20;
const RUNS: u64 = 16;
const SCRIPTS: u64 = 6;

/// What ends the text, by the tokens it lies in (see the vocabulary of the tests).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Token,
    StopToken,
    /// "AB", a token.
    InOne,
    /// "AB" in two tokens.
    InTwo,
    /// "A語B" in three tokens.
    InThree,
    /// "A", in the middle of what is held back for "ABAB".
    Within,
}

impl End {
    const ALL: [End; 6] =
        [End::Token, End::StopToken, End::InOne, End::InTwo, End::InThree, End::Within];

    fn tokens(self) -> &'static [Token] {
        match self {
            End::Token => &[END],
            End::StopToken => &[30],
            End::InOne | End::Within => &[28],
            End::InTwo => &[26, 27],
            End::InThree => &[26, 17, 27],
        }
    }

    fn stops(self) -> Stops {
        let strings: &[&str] = match self {
            End::Token | End::StopToken => &[],
            End::InOne | End::InTwo => &["AB", "ABBA"],
            End::InThree => &["A語B"],
            End::Within => &["ABAB", "A"],
        };
        Stops {
            tokens: if self == End::StopToken { vec![30] } else { Vec::new() },
            strings: strings.iter().map(ToString::to_string).collect(),
            ..Stops::default()
        }
    }
}

/// A script, as a request's seed names it.
#[derive(Clone, Copy, Debug)]
struct Script {
    end: End,
    /// Output tokens up to the end, itself included.
    place: u64,
    /// Tokens that a forward accepts at most.
    run: u64,
    number: u64,
}

impl Script {
    fn of(seed: u64) -> Self {
        Script {
            end: End::ALL[(seed % 6) as usize],
            place: seed / 6 % PLACES + 1,
            run: seed / (6 * PLACES) % RUNS + 1,
            number: seed / (6 * PLACES * RUNS),
        }
    }

    const N: u64 = 6 * PLACES * RUNS * SCRIPTS;

    /// The token at `position`. None but the end holds a stop, but many hold a part of one.
    fn token(self, position: usize) -> Token {
        const PLAIN: [Token; 16] = [2, 3, 6, 9, 12, 14, 16, 17, 18, 19, 20, 22, 23, 25, 27, 31];
        let end = self.end.tokens();
        let last = PROMPT.len() + self.place as usize - 1;
        let before = (last + 1).checked_sub(position);
        match before.and_then(|before| end.len().checked_sub(before)) {
            Some(at) if at < end.len() => end[at],
            _ => PLAIN[(self.number * 7 + position as u64 * (self.number + 5)) as usize % 16],
        }
    }
}

/// Says the script of each request, whatever it is shown.
struct Reciter;

impl Target for Reciter {
    fn shape(&self) -> TargetShape {
        let Limits { seqs_max, rows_max, context_max, kv_slots, .. } = LIMITS;
        TargetShape { vocab: 32, context_max, kv_slots, rows_max, seqs_max }
    }

    fn verify(
        &mut self,
        _packed: PackedView<'_>,
        sample: SampleView<'_>,
        verdicts: &mut Verdicts,
    ) -> Result<(), DeviceError> {
        verdicts.reset(sample.specs.len());
        for (i, spec) in sample.specs.iter().enumerate() {
            verdicts.token[i] = Script::of(spec.seed).token(spec.position as usize);
            verdicts.log_prob[i] = log_prob(spec.position as usize);
        }
        Ok(())
    }
}

fn log_prob(position: usize) -> f32 {
    -(position as f32)
}

/// Knows the script, as far as the run goes.
struct Prompter;

impl Drafter for Prompter {
    fn settle(&mut self, _settled: Settled<'_>) {}

    fn extend(
        &mut self,
        batch: BatchView<'_>,
        frontier: Frontier<'_>,
        _keep: &Keep,
        children: &mut Children,
    ) -> Result<(), DeviceError> {
        let depth = frontier.depth();
        for (seq, nodes) in frontier.seqs() {
            let script = Script::of(batch.seed[seq as usize]);
            if depth + 1 < script.run as usize {
                let position = batch.n_tokens[seq as usize] as usize + depth;
                children.push(nodes.start, script.token(position), -0.1);
            }
        }
        Ok(())
    }

    fn forget(&mut self, _seq: u32) {}
}

/// Asks for every script under `max_tokens`, so many tokens beyond the end or 40, and compares.
fn check(beyond: Option<usize>) {
    let mut n_cut = 0;
    for include_stop in [false, true] {
        for spare in [0, 1, usize::MAX] {
            let requests = (0..Script::N).map(|seed| {
                let script = Script::of(seed);
                let place = script.place as usize;
                let max_tokens = Some(beyond.map_or(40, |beyond| place + beyond));
                let min_tokens = place.saturating_sub(spare);
                let stops = Stops { max_tokens, min_tokens, include_stop, ..script.end.stops() };
                let sampling = Sampling { seed, logprobs: Some(0), ..Sampling::default() };
                Request { stops, sampling, ..Request::new(PROMPT.to_vec()) }
            });
            let requests: Vec<_> = requests.collect();
            // A queue is as long as a server's may be.
            let answers = requests.chunks(512).flat_map(run);
            for (request, got) in requests.iter().zip(answers) {
                let script = Script::of(request.sampling.seed);
                let want = decode_by(request, LIMITS.context_max, &[], |tokens| {
                    let mut verdicts = Verdicts::with_capacity(1, 0);
                    verdicts.reset(1);
                    verdicts.token[0] = script.token(tokens.len());
                    verdicts.log_prob[0] = log_prob(tokens.len());
                    verdicts
                });
                assert_eq!(got, want, "{script:?} for {request:?}");
                n_cut += usize::from(want.reason == FinishReason::Stop && script.run > 1);
            }
        }
    }
    assert!(n_cut > 10_000, "{n_cut} ended at a stop in a run");
}

fn run(requests: &[Request]) -> Vec<Answer> {
    let parts = Parts {
        target: Box::new(Reciter),
        drafter: Box::new(Prompter),
        gate: Box::new(Always),
        solver: Box::new(Greedy),
        vocab: Arc::new(SmallVocab),
    };
    let options = Options { queue_max: requests.len(), prefix_cache: false, ..Options::default() };
    let mut engine = Engine::new(parts, LIMITS, options).expect("the limits are legal");
    let mut answers = BTreeMap::new();
    for request in requests {
        let id = engine.submit(request.clone()).expect("there is room");
        answers.insert(id, (Vec::new(), Vec::new(), String::new(), None));
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("nothing fails here");
        for committed in &out.committed {
            let (tokens, log_probs, text, _) = answers.get_mut(&committed.id).expect("known");
            tokens.push(committed.token);
            log_probs.push(committed.log_prob.to_bits());
            text.push_str(out.text_of(&committed.text));
        }
        for finished in &out.finished {
            let (tokens, _, text, reason) = answers.get_mut(&finished.id).expect("known");
            text.push_str(out.text_of(&finished.text));
            *reason = Some(finished.reason.clone());
            assert_eq!(finished.usage.output_tokens, tokens.len());
        }
        out.clear();
    }
    let answers = answers.into_values().map(|(tokens, log_probs, text, reason)| {
        let top = vec![Vec::new(); tokens.len()];
        let reason = reason.expect("everybody ends");
        Answer { scored: Vec::new(), tokens, log_probs, top, text, reason }
    });
    answers.collect()
}

#[test]
fn an_end_at_the_limit() {
    check(Some(0));
}

#[test]
fn an_end_one_before_the_limit() {
    check(Some(1));
}

#[test]
fn an_end_far_from_the_limit() {
    check(None);
}
