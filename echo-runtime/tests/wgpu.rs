//! The promise of the engine on a device of wgpu: speculative against plain, the default model
//! against the CPU, and a device that goes away in mid-step.

mod testkit;

use echo_core::{DType, DeviceError, Kernels, Limits, Sampling, SeqId, Token};
use echo_gate::Always;
use echo_kernels_cpu::{Activations, CpuKernels, CpuOptions};
use echo_kernels_wgpu::{WgpuKernels, WgpuOptions, adapters};
use echo_model::testkit::{TinyModel, TinyShape};
use echo_model::tokenizer::Specials;
use echo_model::{Checkpoint, LlamaTarget, NgramDrafter, NgramOptions, Tokenizer};
use echo_runtime::{Engine, Options, Output, Parts, Request, Stops};
use std::sync::Arc;
use testkit::episode::Dice;
use testkit::solvers::Greedy;
use testkit::tiny::{self, requests};
use testkit::vocab::SmallVocab;

/// Whether there is a device for the test `name`. Without one it is skipped, which is printed;
/// where `ECHO_REQUIRE` names `wgpu`, it fails instead.
fn there_is_one(name: &str) -> bool {
    let usable = adapters().iter().any(|found| found.refusal.is_none());
    let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
    let required = required.split(',').any(|word| word.trim() == "wgpu");
    assert!(usable || !required, "{name}: wgpu is required, and it reaches no device");
    if !usable {
        eprintln!("skipped: {name}: wgpu reaches no device");
    }
    usable
}

fn open(options: &WgpuOptions) -> Arc<dyn Kernels> {
    Arc::new(WgpuKernels::open(options).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn speculation_changes_no_bit() {
    if !there_is_one("speculation_changes_no_bit") {
        return;
    }
    // Both shapes of sums, that of GPUs and that of processors.
    let with = |nth: usize, _| {
        let segments = Some(if nth.is_multiple_of(2) { 8 } else { 1 });
        open(&WgpuOptions { segments, ..WgpuOptions::default() })
    };
    let dtypes = [DType::F32, DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4_1];
    tiny::speculation_changes_no_bit(&dtypes, 6, with);
}

#[test]
fn no_policy_changes_a_bit() {
    if there_is_one("no_policy_changes_a_bit") {
        tiny::no_policy_changes_a_bit(&open(&WgpuOptions::default()));
    }
}

#[test]
fn a_cache_above_the_limit_of_a_buffer_says_what_fits() {
    if !there_is_one("a_cache_above_the_limit_of_a_buffer") {
        return;
    }
    let model = TinyModel::new(TinyShape::usual(DType::F32), 1);
    let options = WgpuOptions { buffer_max: Some(1 << 20), ..WgpuOptions::default() };
    let load = |kv_slots| {
        let limits = Limits { kv_slots, ..tiny::limits() };
        LlamaTarget::new(open(&options), &model, &limits).map(|_| ())
    };
    let said = load(1 << 20).expect_err("keys of a megabyte do not fit").to_string();
    let fit = said.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok());
    let fit = fit.unwrap_or_else(|| panic!("it ends with a number: {said}"));
    assert!(said.contains("keys") && said.contains("lower kv_slots to"), "{said}");
    assert!(load(fit).is_ok() && load(fit + 1).is_err(), "{said}");
}

/// Decodes until all is done or the device is lost; returns what was committed, by request, and
/// whether it was lost.
fn decode(
    kernels: Arc<dyn Kernels>,
    model: &TinyModel,
    requests: &[Request],
) -> (Vec<Vec<Token>>, bool) {
    let limits = tiny::limits();
    let mut committed = vec![Vec::new(); requests.len()];
    let target = match LlamaTarget::new(kernels, model, &limits) {
        Ok(target) => target,
        Err(error) => panic!("a tiny model loads: {error}"),
    };
    let ngram = NgramOptions { n_min: 1, prob_min: 0.0, ..NgramOptions::usual() };
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(NgramDrafter::new(ngram, &limits)),
        gate: Box::new(Always),
        solver: Box::new(Greedy),
        vocab: Arc::new(SmallVocab),
    };
    let mut engine = Engine::new(parts, limits, Options::default()).expect("the limits are legal");
    for request in requests {
        engine.submit(request.clone()).expect("a good request");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        out.clear();
        let result = engine.step(&mut out);
        if let Err(error) = result {
            assert!(matches!(error, DeviceError::Lost(_)), "{error}");
            assert!(out.committed.is_empty(), "a step that failed has committed");
            return (committed, true);
        }
        for token in &out.committed {
            let SeqId(id) = token.id;
            committed[id as usize].push(token.token);
        }
    }
    (committed, false)
}

#[test]
fn a_device_lost_in_mid_step_costs_no_committed_token() {
    if !there_is_one("a_device_lost_in_mid_step") {
        return;
    }
    // What is committed becomes a prompt, so the vocabulary has to know it.
    let shape = TinyShape { vocab: 32, ..TinyShape::usual(DType::Q4_1) };
    let model = TinyModel::new(shape, 3);
    let requests = requests(&mut Dice::new(3), 32);
    let (whole, lost) = decode(open(&WgpuOptions::default()), &model, &requests);
    assert!(!lost);
    let mut in_the_middle = 0;
    for lose_after in [3, 40, 157, 233, 300, 421] {
        let options = WgpuOptions { lose_after: Some(lose_after), ..WgpuOptions::default() };
        let (mut committed, lost) = decode(open(&options), &model, &requests);
        assert!(lost, "{lose_after} operations are not enough to lose it");
        in_the_middle += usize::from(committed.iter().any(|tokens| !tokens.is_empty()));
        // A new device goes on from what was committed.
        let rest: Vec<Request> = requests.iter().zip(&committed).map(after).collect();
        let unfinished: Vec<usize> =
            (0..rest.len()).filter(|&i| rest[i].stops.max_tokens != Some(0)).collect();
        let left: Vec<Request> = unfinished.iter().map(|&i| rest[i].clone()).collect();
        let (more, lost) = decode(open(&WgpuOptions::default()), &model, &left);
        assert!(!lost);
        for (&i, more) in unfinished.iter().zip(more) {
            committed[i].extend(more);
        }
        assert_eq!(committed, whole, "lost after {lose_after} operations");
    }
    assert!(in_the_middle >= 3, "the device was lost before anything was committed");
}

/// What is left of `request` when it has these tokens.
fn after((request, committed): (&Request, &Vec<Token>)) -> Request {
    let mut rest = request.clone();
    rest.prompt.extend(committed);
    rest.stops.max_tokens = rest.stops.max_tokens.map(|max| max - committed.len());
    rest
}

/// A token, and the two likeliest in its place with their log-probabilities.
type Said = (Token, Vec<(Token, f32)>);

/// Greedy tokens of the default model.
fn generate(kernels: Arc<dyn Kernels>, name: &str) -> Option<Vec<Said>> {
    let checkpoint = Checkpoint::open(&testkit::model::default_model(name)?).expect("it opens");
    let tokenizer = Arc::new(Tokenizer::open(&checkpoint).expect("it has a tokenizer"));
    let limits = Limits { tree_max: 8, kv_slots: 256, ..Limits::usual(1, 256) };
    let prompt = tokenizer.encode("The sky is blue because", Specials::Plain).expect("it is text");
    let target = LlamaTarget::new(kernels, &checkpoint, &limits).expect("it loads");
    let parts = Parts {
        target: Box::new(target),
        drafter: Box::new(NgramDrafter::new(NgramOptions::usual(), &limits)),
        gate: Box::new(Always),
        solver: Box::new(Greedy),
        vocab: tokenizer,
    };
    let mut engine = Engine::new(parts, limits, Options::default()).expect("the limits are legal");
    let sampling = Sampling { logprobs: Some(2), ..Sampling::greedy() };
    let stops = Stops { max_tokens: Some(24), ignore_eos: true, ..Stops::default() };
    engine.submit(Request { sampling, stops, ..Request::new(prompt) }).expect("a good request");
    let mut out = Output::default();
    let mut tokens = Vec::new();
    while !engine.is_idle() {
        out.clear();
        engine.step(&mut out).expect("the device does not fail");
        tokens.extend(out.committed.iter().map(|c| (c.token, out.top[c.top.clone()].to_vec())));
    }
    Some(tokens)
}

/// How far apart two log-probabilities may be and still be called a tie between backends.
const TIE: f32 = 1e-3;

#[test]
fn the_default_model_says_what_it_says_on_the_cpu() {
    let name = "the_default_model_says_what_it_says_on_the_cpu";
    if !there_is_one(name) {
        return;
    }
    let options = CpuOptions { activations: Activations::Float, ..CpuOptions::default() };
    let Some(cpu) = generate(Arc::new(CpuKernels::new(options)), name) else { return };
    let wgpu = generate(open(&WgpuOptions::default()), name).expect("it was there before");
    assert_eq!(cpu.len(), 24);
    for (i, (a, b)) in cpu.iter().zip(&wgpu).enumerate() {
        let gap = a.1[0].1 - a.1[1].1;
        if a.0 != b.0 {
            eprintln!("token {i} differs: the CPU's best two are {gap:.2e} apart");
            assert!(gap < TIE, "token {i} is {} here, {} there, {gap:.2e} apart", b.0, a.0);
            return;
        }
        let off = (a.1[0].1 - b.1[0].1).abs();
        assert!(off < TIE, "log-probability of token {i} is {off:.2e} off");
    }
}
