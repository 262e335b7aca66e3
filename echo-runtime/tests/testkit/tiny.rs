//! Tiny random models decoded on a real backend, by drafter.

use super::episode::Dice;
use super::policies::{GATES, SOLVERS};
use super::solvers::Greedy;
use super::vocab::SmallVocab;
use echo_core::{DType, Drafter, Gate, Kernels, Limits, Sampling, SeqId, Solver, Token};
use echo_gate::Always;
use echo_model::eagle::EagleDrafter;
use echo_model::hybrid::HybridDrafter;
use echo_model::testkit::{TinyModel, TinyShape, tiny_head};
use echo_model::weights::Weights;
use echo_model::{LlamaTarget, NgramDrafter, NgramOptions};
use echo_runtime::{Engine, NoDraft, Options, Output, Parts, Request, Stops};
use std::sync::Arc;

/// Small limits, that a few requests fill.
pub(crate) fn limits() -> Limits {
    Limits {
        seqs_max: 4,
        rows_max: 48,
        depth_max: 4,
        width_max: 3,
        beam_max: 2,
        tree_max: 10,
        context_max: 128,
        kv_slots: 300,
        logprobs_max: 2,
    }
}

/// Who drafts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Who {
    Nobody,
    Ngram,
    Eagle,
    Hybrid,
}

impl Who {
    pub(crate) fn drafter(
        self,
        kernels: &Arc<dyn Kernels>,
        model: &TinyModel,
        target: &mut LlamaTarget,
        limits: &Limits,
    ) -> Box<dyn Drafter> {
        let options = NgramOptions { n_min: 1, prob_min: 0.0, ..NgramOptions::usual() };
        let ngram = || Box::new(NgramDrafter::new(options, limits));
        let mut eagle = || {
            let head = tiny_head(model.config(), 1);
            let kernels = Arc::clone(kernels);
            let eagle = EagleDrafter::new(kernels, &head, target, model, limits);
            Box::new(eagle.expect("a tiny head fits"))
        };
        match self {
            Who::Nobody => Box::new(NoDraft),
            Who::Ngram => ngram(),
            Who::Eagle => eagle(),
            Who::Hybrid => Box::new(HybridDrafter::new(eagle(), ngram(), limits)),
        }
    }
}

/// Tokens and log-probability bits of each request.
pub(crate) type Answers = Vec<Vec<(Token, u32)>>;

/// Decodes all `requests`, one by one if nobody drafts; also says how many drafted tokens were
/// accepted.
pub(crate) fn answers(
    kernels: &Arc<dyn Kernels>,
    model: &TinyModel,
    requests: &[Request],
    who: Who,
    options: Options,
) -> (Answers, usize) {
    under((Box::new(Always), Box::new(Greedy)), kernels, model, requests, who, options)
}

/// The same under a gate and a solver.
pub(crate) fn under(
    (gate, solver): (Box<dyn Gate>, Box<dyn Solver>),
    kernels: &Arc<dyn Kernels>,
    model: &TinyModel,
    requests: &[Request],
    who: Who,
    options: Options,
) -> (Answers, usize) {
    let seqs_max = if who == Who::Nobody { 1 } else { limits().seqs_max };
    let limits = Limits { seqs_max, ..limits() };
    let mut target =
        LlamaTarget::new(Arc::clone(kernels), model, &limits).expect("a tiny model loads");
    let drafter = who.drafter(kernels, model, &mut target, &limits);
    let parts =
        Parts { target: Box::new(target), drafter, gate, solver, vocab: Arc::new(SmallVocab) };
    let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
    for request in requests {
        engine.submit(request.clone()).expect("a good request");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("the device does not fail");
    }
    engine.audit();
    let mut answers = vec![Vec::new(); requests.len()];
    for committed in &out.committed {
        let SeqId(id) = committed.id;
        answers[id as usize].push((committed.token, committed.log_prob.to_bits()));
    }
    (answers, engine.totals().accepted)
}

/// Panics if drafts of any kind change a bit of what tiny models of `dtypes` say to the first
/// `n_requests` of [`requests`], or if hardly a draft is accepted. `open` opens the device
/// of the model of this number, for whoever drafts.
pub(crate) fn speculation_changes_no_bit(
    dtypes: &[DType],
    n_requests: usize,
    open: impl Fn(usize, Who) -> Arc<dyn Kernels>,
) {
    let drafters = [Who::Ngram, Who::Eagle, Who::Hybrid];
    let mut accepted_by = [0; 3];
    for (nth, &dtype) in dtypes.iter().enumerate() {
        let model = TinyModel::new(TinyShape::usual(dtype), nth as u64);
        let requests = &requests(&mut Dice::new(nth as u64), 32)[..n_requests];
        let nobody = Who::Nobody;
        let plain = answers(&open(nth, nobody), &model, requests, nobody, Options::default());
        for (who, accepted_in_all) in drafters.iter().zip(&mut accepted_by) {
            let chunked = Options { prompt_rows_max: 7, ..Options::default() };
            let (drafted, accepted) = answers(&open(nth, *who), &model, requests, *who, chunked);
            assert_eq!(plain.0, drafted, "{dtype}, {who:?}");
            *accepted_in_all += accepted;
        }
    }
    // A head of random weights is right by chance, and which chance it has is the device's.
    let enough = dtypes.len();
    let all = accepted_by.iter().all(|&accepted| accepted > enough);
    assert!(all, "{drafters:?} had {accepted_by:?} tokens accepted, not {enough}");
}

/// Panics if a gate or a solver changes a bit on `kernels`, with what the text repeats or with a
/// head.
pub(crate) fn no_policy_changes_a_bit(kernels: &Arc<dyn Kernels>) {
    let model = TinyModel::new(TinyShape::usual(DType::Q4_1), 7);
    let requests = &requests(&mut Dice::new(7), 32)[..3];
    let plain = answers(kernels, &model, requests, Who::Nobody, Options::default()).0;
    let by_gate = GATES.iter().map(|gate| (gate, &SOLVERS[0]));
    let by_solver = SOLVERS.iter().map(|solver| (&GATES[0], solver));
    for ((gate_name, gate), (solver_name, solver)) in by_gate.chain(by_solver) {
        for who in [Who::Ngram, Who::Eagle] {
            let policy = (gate(), solver());
            let options = Options::default();
            let (drafted, accepted) = under(policy, kernels, &model, requests, who, options);
            assert_eq!(plain, drafted, "{gate_name}, {solver_name}, {who:?}");
            assert!(accepted > 0, "{gate_name}, {solver_name}, {who:?}: nothing accepted");
        }
    }
}

/// Six prompts that repeat themselves, greedy and sampled.
pub(crate) fn requests(dice: &mut Dice, vocab: usize) -> Vec<Request> {
    let request = |_| {
        let phrase: Vec<Token> =
            (0..3 + dice.below(6)).map(|_| dice.below(vocab) as Token).collect();
        let prompt = phrase.iter().copied().cycle().take(10 + dice.below(50)).collect();
        let sampling = Sampling {
            temperature: dice.pick(&[0.0, 0.0, 0.4, 1.0]),
            repetition_penalty: dice.pick(&[1.0, 1.2]),
            top_p: dice.pick(&[1.0, 0.9]),
            seed: dice.below(1000) as u64,
            logprobs: Some(2),
            ..Sampling::default()
        };
        let stops = Stops { max_tokens: Some(24), ignore_eos: true, ..Stops::default() };
        Request { sampling, stops, ..Request::new(prompt) }
    };
    (0..6).map(request).collect()
}
