//! `echo-llm bench`: plain decoding and the policies on real prompts, in one run.
//!
//! Speed is a ratio to plain decoding in the same run; every output is compared with plain
//! decoding's, token by token; rows that lose are printed too.

mod decode;
mod decoded;
mod exact;
pub(crate) mod forward;
mod host;
mod html;
mod kernels;
mod patience;
mod peer;
mod plot;
pub(crate) mod prompts;
mod report;
pub(crate) mod rows;
mod sample;
pub(crate) mod table;
mod traffic;

use crate::counts::{count, count_from_1, temperature, within};
use crate::engine_args::EngineArgs;
use crate::heads;
use crate::setup::Loaded;
use crate::team::Team;
use anyhow::{Result, bail};
use clap::Args;
use echo_runtime::Request;
use kernels::Timed;
use rows::Row;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    engine: EngineArgs,
    /// Questions, one JSON object a line (`question_id`, `category`, `turns`, as `FastChat` has
    /// them); the built-in set if not given
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Take the first this many prompts; a few of each category if not given
    #[arg(long, value_parser = count_from_1)]
    limit: Option<usize>,
    /// Concurrent requests to measure at; where there are fewer prompts, they are asked again
    /// [default: 1,4,16]
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', value_parser = within(1..=256))]
    concurrency: Vec<usize>,
    /// Tokens generated for each prompt [default: 48]
    #[arg(short = 'n', long, value_parser = count_from_1)]
    max_tokens: Option<usize>,
    /// Measured runs of each row, each with one of plain decoding in turn; medians are reported
    /// [default: 2]
    #[arg(short, long, value_parser = count_from_1)]
    repeat: Option<usize>,
    /// 0 takes the likeliest token
    #[arg(short, long, default_value_t = 0.0, value_parser = temperature)]
    temperature: f32,
    /// About five minutes on two cores (the default): where they are slow, of fewer prompts, tokens
    /// and runs, as far as other flags don't say otherwise
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// 24 prompts, 64 tokens, 1 to 64 concurrent requests, 3 runs, all rows, as far as other flags
    /// don't say otherwise: some hours
    #[arg(long)]
    full: bool,
    /// Time nothing: compare every output with plain decoding's, for all prompts, greedily and at
    /// temperature 1, with 1, 8 and 32 concurrent requests
    #[arg(long, conflicts_with_all = ["full", "peer", "repeat", "concurrency", "temperature"])]
    exact: bool,
    /// Measure these rows beside plain decoding, by name (a wrong one is answered with all); a few
    /// if not given, all with `--full`
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    rows: Vec<String>,
    /// Measure another engine beside this one, in turn: `llama.cpp`, through its Python package
    #[arg(long, value_parser = ["llama.cpp"])]
    peer: Option<String>,
    /// Python that has the package llama-cpp-python
    #[arg(long, default_value = "python3")]
    peer_python: PathBuf,
    /// Cached tokens behind which forwards are timed; those that the context or the slots do not
    /// hold are left out
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "128,1024",
        value_parser = count
    )]
    kv_len: Vec<usize>,
    /// Folder of the JSON report
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// Tokens for each prompt if nobody says otherwise.
const MAX_TOKENS: usize = 48;

/// What is measured, after `--quick` and `--full`.
struct Plan {
    rows: Vec<Row>,
    concurrency: Vec<usize>,
    prompts: usize,
    max_tokens: usize,
    repeat: usize,
    temperature: f32,
}

/// What the flags ask for.
fn plan(args: &BenchArgs) -> Result<Plan> {
    let mut names = args.rows.clone();
    if args.peer.is_some() && !names.is_empty() {
        names.push(peer::DRAFTING.into());
    }
    let (concurrency, prompts, max_tokens, repeat) = if args.full {
        (&[1, 2, 4, 8, 16, 32, 64][..], 24, 64, 3)
    } else {
        (&[1, 4, 16][..], 8, MAX_TOKENS, 2)
    };
    let given = &args.concurrency;
    Ok(Plan {
        rows: rows::select(&args.engine, &names, args.full)?,
        concurrency: if given.is_empty() { concurrency.to_vec() } else { given.clone() },
        prompts: args.limit.unwrap_or(prompts),
        max_tokens: args.max_tokens.unwrap_or(max_tokens),
        repeat: args.repeat.unwrap_or(repeat),
        temperature: args.temperature,
    })
}

/// What the flags leave open.
fn open(args: &BenchArgs) -> patience::Open {
    patience::Open {
        prompts: args.limit.is_none(),
        max_tokens: args.max_tokens.is_none(),
        repeat: args.repeat.is_none(),
    }
}

pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    args.engine.check_no_policy("a bench takes its policies from --rows")?;
    let mut prompts = prompts::load(args.prompts.as_deref(), prompts::BuiltIn::Bench)?;
    if args.exact {
        let n = args.limit.unwrap_or(prompts.len());
        return compare(args, &prompts::sample(prompts, n));
    }
    let mut plan = plan(args)?;
    prompts = prompts::sample(prompts, plan.prompts);
    plan.prompts = prompts.len();
    let mut loaded = Loaded::open(&args.engine)?;
    if args.peer.is_some() {
        peer::check(&loaded)?;
    }
    if args.rows.is_empty() {
        plan.rows = rows::calibrated(plan.rows, &loaded)?;
    }
    let timed = Arc::new(Timed::new(Arc::clone(&loaded.kernels), kv_bytes(args, &loaded))?);
    loaded.kernels = Arc::clone(&timed) as _;
    let mut report = report::Report::new(&args.engine, &loaded, &plan);
    report.print_head();
    report.host = host::measure();
    host::print(&report.host);
    let seqs = plan.concurrency.iter().copied().max().unwrap_or(1);
    let seqs = if args.peer.is_some() { seqs.max(peer::REQUESTS_MAX) } else { seqs };
    let mut requests = decode::requests(&loaded, &prompts, (plan.max_tokens, plan.temperature))?;
    let longest = requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0) + plan.max_tokens;
    let limits = rows::limits(&args.engine, &plan.rows, seqs, &loaded, longest)?;
    let limits = if args.peer.is_some() { peer::with_room(limits) } else { limits };
    let drafters = plan.rows.iter().map(|row| row.drafter.as_str());
    let mut team = Team::load(&loaded, &limits, drafters)?;
    report.loading = loaded.loading.get().copied();
    report.print_loading();
    report.forward = forward::measure(&mut team, &limits, &args.kv_len, plan.repeat)?;
    forward::print(&report.forward);
    report.shares = kernels::measure(&timed, team.target(), &limits)?;
    kernels::print(&report.shares);
    if !args.full {
        patience::shorten(&mut plan, open(args), &requests, &report.forward);
        prompts = prompts::sample(prompts, plan.prompts);
        requests = decode::requests(&loaded, &prompts, (plan.max_tokens, plan.temperature))?;
        report.take(&plan);
    }
    patience::warn_if_long(&plan, &requests, &report.forward);
    report.calibration = team.calibration(&args.engine.drafter).cloned();
    let known = forward::known(&report.forward, &mut team, &plan.rows, &limits)?;
    let setting =
        decode::Setting { args: &args.engine, loaded: &loaded, limits, plan: &plan, known: &known };
    report.decode = decode::measure(&setting, &mut team, &requests)?;
    // Of the rows with few requests the last, which is the most elaborate.
    let mut small = report.decode.iter().filter(|row| row.concurrency <= 4 && !row.tree.is_empty());
    report.tree = small.next_back().map(|row| row.tree.clone());
    decoded::print(&report.decode, &plan);
    if args.peer.is_some() {
        report.peer = beside_peer(args, &setting, &mut team, &requests);
    }
    let path = report.write(&args.out)?;
    println!("\nreport: {}", path.display());
    match report.decode.iter().find(|row| row.exact_match < 1.0) {
        Some(row) => bail!("outputs of `{}` differ from plain decoding: a bug", row.name),
        None => Ok(()),
    }
}

/// Bytes of an element of keys and values: the CPU's fast kernels keep halves beside 8-bit
/// activations.
fn kv_bytes(args: &BenchArgs, loaded: &Loaded) -> usize {
    let is_half = loaded.backend == "cpu"
        && loaded.activations == "int8"
        && args.engine.kernels != "reference";
    if is_half { 2 } else { 4 }
}

/// Both engines in turn; nothing if the other is not there or can't take part, which is told.
fn beside_peer(
    args: &BenchArgs,
    setting: &decode::Setting<'_>,
    team: &mut Team,
    requests: &[Request],
) -> Vec<peer::Compared> {
    let loaded = setting.loaded;
    let peer = peer::Peer::start(&args.peer_python, &loaded.path, loaded.threads);
    let compared = peer.and_then(|peer| peer::measure(setting, peer, team, requests));
    compared.map_or_else(
        |error| {
            tell!("note: no comparison with llama.cpp: {error:#}");
            Vec::new()
        },
        |compared| {
            peer::print(&compared);
            compared
        },
    )
}

/// Compares the outputs of many rows with plain decoding's.
fn compare(args: &BenchArgs, prompts: &[prompts::Prompt]) -> Result<()> {
    let loaded = Loaded::open(&args.engine)?;
    let seqs = exact::CONCURRENCY.into_iter().max().expect("there are some");
    let has_head = heads::of_drafter("eagle", &loaded.path)?.is_some();
    let plan = Plan {
        rows: exact::rows(&args.engine, &args.rows, has_head)?,
        concurrency: Vec::new(),
        prompts: prompts.len(),
        max_tokens: args.max_tokens.unwrap_or(MAX_TOKENS),
        repeat: 1,
        temperature: 0.0,
    };
    let requests = |temperature| decode::requests(&loaded, prompts, (plan.max_tokens, temperature));
    let longest = requests(0.0)?.iter().map(|r| r.prompt.len()).max().unwrap_or(0);
    let longest = longest + plan.max_tokens;
    let limits = rows::limits(&args.engine, &plan.rows, seqs, &loaded, longest)?;
    let mut team = Team::load(&loaded, &limits, plan.rows.iter().map(|row| row.drafter.as_str()))?;
    let forward = forward::measure(&mut team, &limits, &args.kv_len, 1)?;
    let known = forward::known(&forward, &mut team, &plan.rows, &limits)?;
    let setting =
        decode::Setting { args: &args.engine, loaded: &loaded, limits, plan: &plan, known: &known };
    let compared = exact::measure(&setting, &mut team, requests)?;
    exact::print(&compared);
    exact::check(&compared)
}
