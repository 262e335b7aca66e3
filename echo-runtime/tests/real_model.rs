//! The same promise on the default model: two dozen prompts of real text, several policies, several
//! batch sizes, tokens equal to plain decoding's. `echo-llm bench --exact` compares more.

mod testkit;

use echo_budget::{
    CostTable, Echo, EchoParams, Goodput, GoodputParams, Hinge, Survival, TopN, TopNParams,
    Uniform, Width,
};
use echo_core::{Drafter, Gate, Kernels, Limits, Sampling, SeqId, Solver, Target, Token};
use echo_gate::{Always, Fixed, FixedParams, Sparse, SparseParams, Threshold};
use echo_kernels_cpu::{CpuKernels, CpuOptions};
use echo_model::eagle::{EagleDrafter, Head};
use echo_model::hybrid::HybridDrafter;
use echo_model::{
    ChatTemplate, Checkpoint, LlamaTarget, Message, NgramDrafter, NgramOptions, RenderOptions,
    Tokenizer,
};
use echo_runtime::{Engine, NoDraft, Options, Output, Parts, Request, Stops};
use std::path::PathBuf;
use std::sync::Arc;

const PROMPTS: &str = include_str!("../../echo-cli/prompts/builtin.jsonl");
const TOKENS: usize = 64;

struct Model {
    tokenizer: Arc<Tokenizer>,
    requests: Vec<Request>,
    target: Option<Box<dyn Target>>,
    /// The learned head and the look-up together; lent like the target.
    hybrid: Option<Box<dyn Drafter>>,
    limits: Limits,
}

/// A policy by name, the depth and width it drafts with, and whether the learned head drafts.
type Policy = (&'static str, fn() -> Box<dyn Gate>, fn() -> Box<dyn Solver>, usize, usize, bool);

const POLICIES: [Policy; 4] = [
    ("chain", || Box::new(Always), || Box::new(Uniform::default()), 8, 1, false),
    (
        "topn",
        || Box::new(Fixed::new(FixedParams { tau: 0.05 }).expect("in range")),
        || Box::new(TopN::new(TopNParams { n: 8 })),
        5,
        4,
        false,
    ),
    (
        "echo",
        || {
            let thresholds = vec![Threshold { depth: 2, tau: 0.1 }];
            Box::new(Sparse::new(SparseParams { thresholds }).expect("in range"))
        },
        || {
            let width = Width::Ratio { mu: 0.03, most: 4 };
            let params = EchoParams { seed: 1, width };
            Box::new(Echo::new(params).expect("in range"))
        },
        5,
        4,
        true,
    ),
    (
        "goodput",
        || Box::new(Always),
        || {
            let hinge = Hinge { ar_us: 4000.0, gamma: 0.05, rows_knee: 4 };
            let cost = CostTable::hinge(hinge).expect("a knee of 4 rows");
            Box::new(Goodput::new(GoodputParams { cost, survival: Survival::identity() }))
        },
        5,
        3,
        true,
    ),
];

fn load() -> Option<Model> {
    let path = testkit::model::default_model("real_model")?;
    let checkpoint = Checkpoint::open(&path).expect("the default model opens");
    let tokenizer = Arc::new(Tokenizer::open(&checkpoint).expect("it has a tokenizer"));
    let template = ChatTemplate::open(&checkpoint, &tokenizer).expect("it has a chat template");
    let options = RenderOptions { add_generation_prompt: true, now_s: 0 };
    let request = |(i, line): (usize, &str)| {
        let prompt: serde_json::Value = serde_json::from_str(line).expect("one object per line");
        let text = prompt["turns"][0].as_str().expect("a first turn");
        let messages = [Message::new("user", text)];
        let tokens = template.encode(&tokenizer, &messages, &options).expect("it renders");
        // Every third prompt is sampled, with penalties on.
        let sampling = match i % 3 {
            0 => Sampling {
                temperature: 0.8,
                top_p: 0.9,
                repetition_penalty: 1.1,
                seed: i as u64,
                ..Sampling::default()
            },
            _ => Sampling::greedy(),
        };
        let stops = Stops { max_tokens: Some(TOKENS), ..Stops::default() };
        Request { sampling, stops, ..Request::new(tokens) }
    };
    let requests: Vec<Request> =
        PROMPTS.lines().enumerate().filter(|(i, _)| i % 5 < 4).map(request).collect();
    let limits = Limits { tree_max: 8, kv_slots: 12_000, ..Limits::usual(16, 1024) };
    let limits = Limits { depth_max: 8, ..limits };
    let kernels: Arc<dyn Kernels> = Arc::new(CpuKernels::new(CpuOptions::default()));
    let mut target =
        LlamaTarget::new(Arc::clone(&kernels), &checkpoint, &limits).expect("it loads");
    let head = Head::open(&head_path()).expect("it came with the project");
    let eagle = EagleDrafter::new(kernels, &head, &mut target, &checkpoint, &limits);
    let eagle = Box::new(eagle.expect("it was trained for this model"));
    let ngram = Box::new(NgramDrafter::new(NgramOptions::usual(), &limits));
    let hybrid = Box::new(HybridDrafter::new(eagle, ngram, &limits));
    let target = Box::new(target);
    Some(Model { tokenizer, requests, target: Some(target), hybrid: Some(hybrid), limits })
}

fn head_path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "heads", "smollm2-135m-instruct"].iter().collect()
}

/// The tokens of each of `prompts`, and how many drafted ones were accepted.
fn decode(
    model: &mut Model,
    prompts: &[usize],
    policy: Option<&Policy>,
    seqs: usize,
    options: Options,
) -> (Vec<Vec<Token>>, usize) {
    let (depth, width) = policy.map_or((0, 1), |p| (p.3, p.4));
    let limits = Limits { seqs_max: seqs, depth_max: depth, width_max: width, ..model.limits };
    let limits = Limits { beam_max: width, ..limits };
    let parts = Parts {
        target: model.target.take().expect("it was put back"),
        drafter: match policy {
            Some(policy) if policy.5 => model.hybrid.take().expect("it was put back"),
            Some(_) => Box::new(NgramDrafter::new(NgramOptions::usual(), &limits)),
            None => Box::new(NoDraft),
        },
        gate: policy.map_or_else(|| Box::new(Always) as _, |p| p.1()),
        solver: policy.map_or_else(|| Box::new(Uniform::default()) as _, |p| p.2()),
        vocab: Arc::clone(&model.tokenizer) as _,
    };
    let mut engine = Engine::new(parts, limits, options).expect("the limits are legal");
    for &prompt in prompts {
        engine.submit(model.requests[prompt].clone()).expect("a good request");
    }
    let mut out = Output::default();
    while !engine.is_idle() {
        engine.step(&mut out).expect("the CPU does not fail");
    }
    engine.audit();
    let mut tokens = vec![Vec::new(); prompts.len()];
    for committed in &out.committed {
        let SeqId(id) = committed.id;
        tokens[id as usize].push(committed.token);
    }
    let accepted = engine.totals().accepted;
    let parts = engine.into_parts();
    model.target = Some(parts.target);
    if policy.is_some_and(|policy| policy.5) {
        model.hybrid = Some(parts.drafter);
    }
    (tokens, accepted)
}

#[test]
fn speculation_changes_no_token_of_the_default_model() {
    let Some(mut model) = load() else { return };
    let all: Vec<usize> = (0..model.requests.len()).collect();
    assert_eq!(all.len(), 24);
    let (plain, none) = decode(&mut model, &all, None, 1, Options::default());
    assert_eq!(none, 0);
    let said = plain.iter().map(Vec::len).sum::<usize>();
    assert!(said > 24 * TOKENS / 2, "{said} tokens are too few to mean much");
    for (nth, policy) in POLICIES.iter().enumerate() {
        // Few at once take the longest, so each policy has other prompts there.
        for (seqs, one_in) in [(1, 3), (4, 2), (16, 1)] {
            let prompts: Vec<usize> =
                all.iter().copied().filter(|i| i % one_in == nth % one_in).collect();
            // Small chunks, a small budget and a warm prefix cache are part of the promise.
            let budget = if seqs == 4 { Some(12) } else { None };
            let options = Options { prompt_rows_max: 40 * seqs, budget, ..Options::default() };
            let (tokens, accepted) = decode(&mut model, &prompts, Some(policy), seqs, options);
            for (got, &prompt) in tokens.iter().zip(&prompts) {
                assert_eq!(got, &plain[prompt], "{}, {seqs} at once, prompt {prompt}", policy.0);
            }
            let least = 2 * prompts.len();
            assert!(accepted > least, "{}, {seqs} at once: {accepted} accepted", policy.0);
        }
    }
}
