//! The `echo-llm` program: the edge where files, names and terminals meet the engine.
//!
//! Nothing below this crate reads an environment variable or knows the name of a policy.
#![cfg_attr(not(test), warn(clippy::print_stderr))]

#[macro_use]
mod tell;

mod assemble;
mod backend;
mod bench;
mod calibrate;
mod codec;
mod counts;
mod cuda;
mod doctor;
mod engine_args;
mod harvest;
mod heads;
mod inspect;
mod known;
mod load;
mod loading;
mod maps;
mod message;
mod model;
mod registry;
mod reopen;
mod replay;
mod reserve;
mod run;
mod serve;
mod setup;
mod team;
mod times;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// `serve` fills its reserve.
#[global_allocator]
static MEMORY: reserve::Reserve = reserve::Reserve::new();

/// Speculative decoding under load: one super-tree, one budget, the same text as without it.
#[derive(Parser)]
#[command(name = "echo-llm", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate text from a prompt, or chat when no prompt is given
    #[command(visible_alias = "generate")]
    Run(run::RunArgs),
    /// Serve the model over HTTP, with OpenAI's routes and a live page
    Serve(serve::ServeArgs),
    /// Measure plain decoding and the policies on real prompts, and compare their outputs
    Bench(bench::BenchArgs),
    /// Measure a running server at several numbers of streams, drafted for and plainly
    Load(load::LoadArgs),
    /// Learn how far a drafter can be trusted, for the gates and the budget
    Calibrate(calibrate::CalibrateArgs),
    /// Let the model write texts and record its hidden states, to train a drafter on
    Harvest(harvest::HarvestArgs),
    /// Run every policy on recorded drafts, on this machine's times and on other devices'
    Replay(replay::ReplayArgs),
    /// Show what is in a model file or folder
    Inspect(inspect::InspectArgs),
    /// Show what this machine offers, and whether the default model is there
    Doctor,
}

fn main() -> ExitCode {
    message::end_with_the_reader();
    let result = serve::config::parse::<Cli>().and_then(|cli| obey(&cli.command));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output left; that is no failure of ours.
        Err(error) if message::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("error: {}", message::of(&error));
            ExitCode::FAILURE
        }
    }
}

fn obey(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Load(args) => load::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Harvest(args) => harvest::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Doctor => doctor::run(),
    }
}
