//! `cargo xtask fuzz TARGET`: a fuzz target under libFuzzer, on the stable toolchain.

use std::fs;
use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, has_subcommand, root, run as run_command};
use crate::flags::Fuzz;

/// Longest input that is tried, in bytes; those that break something are short.
const LEN_MAX: u32 = 16 << 10;
/// Seconds that one input may take.
const TIMEOUT: u32 = 10;

pub(crate) fn run(flags: &Fuzz) -> Outcome {
    let known = targets()?;
    if !known.contains(&flags.target) {
        let (target, known) = (&flags.target, known.join(", "));
        return Err(format!("there is no target `{target}`; there are {known}").into());
    }
    if !has_subcommand("fuzz") {
        return Err("cargo-fuzz is not installed; `cargo install cargo-fuzz --locked`".into());
    }
    // What is found goes to the corpus, which stays here; the seeds are only read.
    fs::create_dir_all(root().join("fuzz/corpus").join(&flags.target))?;
    run_command(&mut fuzz(flags))
}

/// The files in `fuzz/fuzz_targets`, sorted.
fn targets() -> Outcome<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn fuzz(flags: &Fuzz) -> Command {
    let Fuzz { target, seconds } = flags;
    // Sanitizers want another toolchain; the readers have no unsafe code for them to watch.
    let mut command = cargo(&["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none", target]);
    command.args([format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}")]);
    command.args(["--", &format!("-max_total_time={seconds}"), &format!("-max_len={LEN_MAX}")]);
    command.arg(format!("-timeout={TIMEOUT}"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn every_target_has_seeds() {
        let targets = targets().expect("the folder is there");
        assert!(targets.len() >= 5, "{targets:?}");
        for target in targets {
            assert!(root().join("fuzz/seeds").join(&target).is_dir(), "{target}");
        }
    }

    #[test]
    fn an_unknown_target_is_told_the_known() {
        let flags = Fuzz { target: "nothing".into(), seconds: 1 };
        let error = run(&flags).expect_err("no such target").to_string();
        assert!(error.contains("request_body"), "{error}");
        let flags = Fuzz { target: "gguf".into(), seconds: 7 };
        let shown = show(&fuzz(&flags));
        assert!(shown.contains("fuzz/seeds/gguf -- -max_total_time=7"), "{shown}");
    }
}
