//! `cargo xtask bench`: the front door to the measurements, `echo-llm bench` in release mode.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, run as run_command};
use crate::fetch;
use crate::flags::Bench;

pub(crate) fn run(flags: &Bench) -> Outcome {
    if flags.criterion {
        return run_command(&mut criterion(&flags.args));
    }
    // Whoever only asks for help is not made to wait for a model.
    let asks_help = flags.args.iter().any(|arg| arg == "--help" || arg == "-h");
    let mut bench = program(&flags.args);
    if !asks_help {
        bench.env("ECHO_MODEL_DIR", fetch::model_folder()?);
    }
    run_command(&mut bench)
}

fn program(args: &[String]) -> Command {
    // Without a package, as people start it: with one, cargo chooses other features of what it
    // depends on and builds all of that once more.
    let mut command = cargo(&["run", "--release", "--bin", "echo-llm", "--", "bench"]);
    command.args(args);
    command
}

/// Bench targets alone: the built-in harness of libraries knows none of criterion's flags.
fn criterion(args: &[String]) -> Command {
    let mut command = cargo(&["bench", "--workspace", "--benches"]);
    if !args.is_empty() {
        command.arg("--").args(args);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn arguments_are_passed_on() {
        let args = ["--full".to_owned(), "--policy=auto".to_owned()];
        assert_eq!(
            show(&program(&args)),
            "cargo run --release --bin echo-llm -- bench --full --policy=auto"
        );
        assert_eq!(show(&criterion(&[])), "cargo bench --workspace --benches");
        assert_eq!(
            show(&criterion(&["pack".to_owned()])),
            "cargo bench --workspace --benches -- pack"
        );
    }
}
