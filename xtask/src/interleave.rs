//! `cargo xtask interleave`: the engine's hand-overs under loom and shuttle.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, run as run_command};
use crate::flags::Interleave;

pub(crate) fn run(flags: &Interleave) -> Outcome {
    for checker in ["loom", "shuttle"] {
        run_command(&mut tests(checker, flags.full))?;
    }
    Ok(())
}

/// The tests of `checker`, which is also the `cfg` that lets it in. Their target folder is their
/// own: another `cfg` would have everything else built anew.
fn tests(checker: &str, full: bool) -> Command {
    let mut command = cargo(&["test", "--release", "--package", "echo-interleave"]);
    command.args(["--target-dir", "target/interleave", "--test", checker]);
    let thorough = if full { " --cfg thorough" } else { "" };
    command.env("RUSTFLAGS", format!("--cfg {checker}{thorough}"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn each_checker_has_its_cfg() {
        let command = tests("loom", true);
        let flags = command.get_envs().find(|(name, _)| *name == "RUSTFLAGS");
        let flags = flags.and_then(|(_, value)| value).expect("it is set");
        assert_eq!(flags, "--cfg loom --cfg thorough");
        assert!(show(&command).ends_with("--test loom"));
    }
}
