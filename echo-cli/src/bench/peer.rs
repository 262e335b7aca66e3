//! Side by side with llama.cpp: the same file, threads and tokens, one side after the other.
//!
//! A Python program beside this file drives llama.cpp through `llama-cpp-python` and answers one
//! request at a time; while one side works, the other sleeps.

use super::decode::{Setting, assemble};
use super::decoded::median;
use super::rows::{self, PLAIN, Row};
use super::table;
use crate::setup::Loaded;
use crate::team::Team;
use anyhow::{Context, Result, anyhow, bail};
use echo_core::{Limits, Token};
use echo_runtime::{Output, Request, Stops, profile};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

const PROGRAM: &str = include_str!("peer_llama_cpp.py");
/// Pairs of measurements, one of each side.
const ROUNDS: usize = 5;
/// Tokens decoded after the first.
const TOKENS: usize = 48;
/// Cached tokens before the rows of a forward.
const KV_LEN: usize = 128;
const PREFILL: usize = 512;
/// Requests that are decoded at once, and rows of one forward, at most.
pub(crate) const REQUESTS_MAX: usize = 32;
const ROWS_MAX: usize = 64;
/// The row that drafts for the comparison; it must be among those that are measured.
pub(crate) const DRAFTING: &str = "auto";

/// The other side's process.
pub(crate) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts it and waits until it has loaded the model.
    pub(crate) fn start(python: &Path, model: &Path, threads: usize) -> Result<Self> {
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            .arg(model)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", python.display()))?;
        let requests = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut peer = Peer { child, requests, answers };
        let hello = peer.answer().with_context(|| {
            format!(
                "{0} has no package llama-cpp-python; `{0} -m pip install llama-cpp-python` \
                 installs it",
                python.display()
            )
        })?;
        println!("\npeer: llama-cpp-python {}", hello["version"].as_str().unwrap_or("?"));
        Ok(peer)
    }

    fn answer(&mut self) -> Result<Value> {
        let line = self.answers.next().ok_or_else(|| anyhow!("the peer has stopped"))??;
        Ok(serde_json::from_str(&line)?)
    }

    fn seconds(&mut self, request: &Value) -> Result<f64> {
        writeln!(self.requests, "{request}")?;
        let answer = self.answer()?;
        answer["seconds"].as_f64().ok_or_else(|| anyhow!("the peer answered {answer}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Rates of both sides, pair by pair, in units per second.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    name: String,
    ours: Vec<f64>,
    theirs: Vec<f64>,
}

/// What is compared.
#[derive(Clone, Copy)]
enum Task {
    /// Plain decoding of this many requests at once.
    Decode(usize),
    /// A forward of this many rows of one text with logits for each.
    Rows(usize),
    /// Reading a prompt.
    Prefill,
    /// One request at a time, this engine as [`DRAFTING`] does, the other with its own look-up.
    Lookup,
}

/// Refuses what the other side does not run: it has a file of its own kind on the CPU.
pub(crate) fn check(loaded: &Loaded) -> Result<()> {
    if loaded.backend != "cpu" {
        bail!("--peer compares CPUs, and this would run on {}; add --backend cpu", loaded.device);
    }
    if !loaded.path.is_file() {
        bail!(
            "--peer takes a .gguf file, which both sides read; {} is none",
            loaded.path.display()
        );
    }
    Ok(())
}

/// `limits` with room for every forward that is compared.
pub(crate) fn with_room(limits: Limits) -> Limits {
    let tree_max = limits.tree_max.max(ROWS_MAX - 1);
    Limits { rows_max: limits.rows_max.max(ROWS_MAX), tree_max, ..limits }
}

/// Measures all tasks, one side after the other.
pub(crate) fn measure(
    setting: &Setting<'_>,
    mut peer: Peer,
    team: &mut Team,
    requests: &[Request],
) -> Result<Vec<Compared>> {
    let mut tasks = [1, 2, 4, 8, 16, REQUESTS_MAX].map(Task::Decode).to_vec();
    tasks.extend([1, 2, 4, 8, 16, 32, ROWS_MAX].map(Task::Rows));
    tasks.extend([Task::Prefill, Task::Lookup]);
    let prompts: Vec<Vec<Token>> = requests.iter().map(|r| r.prompt.clone()).collect();
    let mut compared = Vec::new();
    for task in &tasks {
        let name = match task {
            Task::Decode(n) => format!("plain decode, {n} requests, tokens/s"),
            Task::Rows(n) => format!("forward of {n} rows, rows/s"),
            Task::Prefill => format!("prefill of {PREFILL} tokens, tokens/s"),
            Task::Lookup => {
                let ours = &setting.args.drafter;
                format!("drafting (ours {ours}, theirs look-up), 1 request, tokens/s")
            }
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let turn = |i: usize| prompts[(round + i) % prompts.len()].clone();
            ours.push(ours_at(setting, task, &turn, team)?);
            theirs.push(theirs_at(&mut peer, task, &turn)?);
        }
        compared.push(Compared { name, ours, theirs });
    }
    Ok(compared)
}

/// Units per second of this engine.
fn ours_at(
    setting: &Setting<'_>,
    task: &Task,
    prompt: &dyn Fn(usize) -> Vec<Token>,
    team: &mut Team,
) -> Result<f64> {
    let row = |name| rows::all(setting.args).into_iter().find(|row: &Row| row.name == name);
    let (name, prompts, tokens) = match task {
        Task::Rows(n) => {
            let limits = Limits { seqs_max: 1, ..setting.limits };
            let timed = profile(team.target(), &limits, &[*n], &[KV_LEN], 1)?;
            let Some(timed) = timed.first() else { bail!("no room for {n} rows") };
            return Ok(*n as f64 / timed.time.as_secs_f64());
        }
        Task::Decode(n) => (PLAIN, (0..*n).map(prompt).collect(), TOKENS + 1),
        Task::Prefill => (PLAIN, vec![long(prompt)], 1),
        Task::Lookup => (DRAFTING, vec![prompt(0)], TOKENS + 1),
    };
    let row = row(name).expect("a row of the table");
    let prompts: Vec<Vec<Token>> = prompts;
    let mut engine = assemble(setting, &row, prompts.len(), team, 0)?;
    let n = prompts.len();
    for prompt in prompts {
        let stops = Stops { max_tokens: Some(tokens), ignore_eos: true, ..Stops::default() };
        let sampling = echo_core::Sampling::greedy();
        engine.submit(Request { stops, sampling, ..Request::new(prompt) })?;
    }
    let (mut out, mut begun, start) = (Output::default(), None, Instant::now());
    while !engine.is_idle() {
        engine.step(&mut out)?;
        // Once every prompt is read, the clock of decoding starts.
        if begun.is_none()
            && engine.totals().context_rows > 0
            && engine.last_step().context_rows == 0
        {
            begun = Some((Instant::now(), engine.totals().committed));
        }
    }
    let rate = match (task, begun) {
        (Task::Prefill, _) => PREFILL as f64 / start.elapsed().as_secs_f64(),
        (_, Some((begun, committed))) => {
            (n * tokens - committed) as f64 / begun.elapsed().as_secs_f64()
        }
        _ => bail!("the prompts left nothing to decode"),
    };
    team.take_back(&row.drafter, engine.into_parts());
    Ok(rate)
}

/// Units per second of the peer.
fn theirs_at(peer: &mut Peer, task: &Task, prompt: &dyn Fn(usize) -> Vec<Token>) -> Result<f64> {
    let (request, units) = match task {
        Task::Decode(n) => {
            let prompts: Vec<_> = (0..*n).map(prompt).collect();
            (json!({ "op": "decode", "prompts": prompts, "n": TOKENS }), n * TOKENS)
        }
        Task::Rows(n) => (json!({ "op": "rows", "n": n, "kv_len": KV_LEN }), *n),
        Task::Prefill => (json!({ "op": "prefill", "tokens": long(prompt) }), PREFILL),
        Task::Lookup => (json!({ "op": "lookup", "prompt": prompt(0), "n": TOKENS }), TOKENS),
    };
    Ok(units as f64 / peer.seconds(&request)?)
}

/// A prompt of [`PREFILL`] tokens: others one after another.
fn long(prompt: &dyn Fn(usize) -> Vec<Token>) -> Vec<Token> {
    (0..PREFILL).flat_map(prompt).take(PREFILL).collect()
}

/// Prints medians of both sides, and the median and spread of the ratio pair by pair.
pub(crate) fn print(compared: &[Compared]) {
    println!("\npeer: this engine and llama.cpp in turn, {ROUNDS} rounds\n");
    let cells = |c: &Compared| {
        let ratios: Vec<f64> = c.ours.iter().zip(&c.theirs).map(|(a, b)| a / b).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        vec![
            c.name.clone(),
            format!("{:.0}", median(c.ours.clone())),
            format!("{:.0}", median(c.theirs.clone())),
            format!("{:.2}×", median(ratios)),
            format!("{least:.2}–{most:.2}"),
        ]
    };
    let rows: Vec<_> = compared.iter().map(cells).collect();
    table::print(&["measure", "ours", "llama.cpp", "ratio", "spread"], &rows);
}
