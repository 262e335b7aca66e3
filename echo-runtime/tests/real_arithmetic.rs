//! The same promise on real arithmetic: tiny Llama- and Qwen3-shaped models on the CPU kernels,
//! speculative against plain, tokens and log-probability bits, on every instruction set of this
//! machine.

mod testkit;

use echo_core::{DType, Drafter, Gate, Limits, Sampling, SeqId, Solver, Token};
use echo_gate::Always;
use echo_kernels_cpu::{CpuKernels, CpuOptions, Isa, Path};
use echo_model::eagle::EagleDrafter;
use echo_model::hybrid::HybridDrafter;
use echo_model::testkit::{TinyModel, TinyShape, tiny_head};
use echo_model::weights::Weights;
use echo_model::{LlamaTarget, NgramDrafter, NgramOptions};
use echo_runtime::{Engine, NoDraft, Options, Output, Parts, Request, Stops};
use std::sync::Arc;
use testkit::episode::Dice;
use testkit::solvers::Greedy;
use testkit::vocab::SmallVocab;

fn limits() -> Limits {
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
enum Who {
    Nobody,
    Ngram,
    Eagle,
    Hybrid,
}

impl Who {
    fn drafter(
        self,
        kernels: &Arc<CpuKernels>,
        model: &TinyModel,
        target: &mut LlamaTarget,
        limits: &Limits,
    ) -> Box<dyn Drafter> {
        let options = NgramOptions { n_min: 1, prob_min: 0.0, ..NgramOptions::usual() };
        let ngram = || Box::new(NgramDrafter::new(options, limits));
        let mut eagle = || {
            let head = tiny_head(model.config(), 1);
            let kernels = Arc::clone(kernels) as _;
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
type Answers = Vec<Vec<(Token, u32)>>;

fn answers(
    model: &TinyModel,
    path: Path,
    threads: usize,
    requests: &[Request],
    who: Who,
    options: Options,
) -> (Answers, usize) {
    let kernels = Arc::new(CpuKernels::new(CpuOptions { threads, path, ..CpuOptions::default() }));
    let seqs_max = if who == Who::Nobody { 1 } else { limits().seqs_max };
    let limits = Limits { seqs_max, ..limits() };
    let mut target =
        LlamaTarget::new(Arc::clone(&kernels) as _, model, &limits).expect("a tiny model loads");
    let drafter = who.drafter(&kernels, model, &mut target, &limits);
    let (gate, solver): (Box<dyn Gate>, Box<dyn Solver>) = (Box::new(Always), Box::new(Greedy));
    let parts =
        Parts { target: Box::new(target), drafter, gate, solver, vocab: Arc::new(SmallVocab) };
    let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
    for request in requests {
        engine.submit(request.clone()).expect("a good request");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("the CPU does not fail");
    }
    engine.audit();
    let mut answers = vec![Vec::new(); requests.len()];
    for committed in &out.committed {
        let SeqId(id) = committed.id;
        answers[id as usize].push((committed.token, committed.log_prob.to_bits()));
    }
    (answers, engine.totals().accepted)
}

fn requests(dice: &mut Dice, vocab: usize) -> Vec<Request> {
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

#[test]
fn speculation_changes_no_bit_on_any_path() {
    let mut paths = vec![Path::Reference];
    paths.extend(Isa::available().iter().map(|&isa| Path::With(isa)));
    let dtypes = [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_1];
    let drafters = [Who::Ngram, Who::Eagle, Who::Hybrid];
    let mut accepted_by = [0; 3];
    for (seed, dtype) in dtypes.into_iter().enumerate() {
        let shape = TinyShape::usual(dtype);
        let model = TinyModel::new(shape, seed as u64);
        for &path in &paths {
            let mut dice = Dice::new(seed as u64);
            let requests = requests(&mut dice, 32);
            let one = Options { prompt_rows_max: 7, ..Options::default() };
            let plain = answers(&model, path, 1, &requests, Who::Nobody, Options::default());
            assert_eq!(plain.1, 0);
            for (who, accepted_in_all) in drafters.iter().zip(&mut accepted_by) {
                let (drafted, accepted) = answers(&model, path, 2, &requests, *who, one);
                assert_eq!(plain.0, drafted, "{dtype}, {path:?}, {who:?}");
                *accepted_in_all += accepted;
            }
        }
    }
    let enough = accepted_by.iter().all(|&accepted| accepted > 100);
    assert!(enough, "{drafters:?} had {accepted_by:?} tokens accepted");
}
