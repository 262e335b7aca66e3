//! The chores of the workspace: `cargo xtask COMMAND`, one file per command.
//!
//! It is a plain program and no part of Echo: what it knows of the workspace it reads from the
//! tree and from `cargo metadata`. Reading order: `flags`, then the command of interest.
#![forbid(unsafe_code)]

mod bench;
mod bundle_gpu;
mod cargo;
mod check;
mod fetch;
mod flags;
mod fuzz;
mod interleave;
mod kernels;
mod neon;
mod nvrtc;
mod sanitize;
mod soak;
mod test;
mod tidy;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use flags::{Command, Flags};

/// What a chore gives back. Errors are for a person at a terminal, so they are text.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => return flags::explain(&error),
    };
    match run(flags.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Check => check::run(),
        Command::Tidy => tidy::run(),
        Command::Kernels(flags) => kernels::run(&flags),
        Command::Fetch(flags) => fetch::run(&flags),
        Command::Test(flags) => test::run(&flags),
        Command::Bench(flags) => bench::run(&flags),
        Command::Interleave(flags) => interleave::run(&flags),
        Command::Neon => neon::run(),
        Command::Sanitize => sanitize::run(),
        Command::Fuzz(flags) => fuzz::run(&flags),
        Command::Soak(flags) => soak::run(&flags),
        Command::BundleGpu(flags) => bundle_gpu::run(&flags),
    }
}
