//! `cargo xtask soak`: an engine under load and faults, for as long as one likes.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, run as run_command};
use crate::flags::Soak;

pub(crate) fn run(flags: &Soak) -> Outcome {
    run_command(&mut program(flags))
}

fn program(flags: &Soak) -> Command {
    // Not in release mode: assertions that cost time are worth theirs here, and the kernels are
    // optimised all the same.
    let mut command = cargo(&["run", "--package", "echo-runtime", "--example", "soak", "--"]);
    if flags.model {
        command.arg("--model");
    }
    command.args(["--seconds", &flags.seconds.to_string()]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn the_time_is_passed_on() {
        let shown = |model| show(&program(&Soak { model, seconds: 5 }));
        let (usual, real) = (shown(false), shown(true));
        assert!(usual.ends_with("--example soak -- --seconds 5"), "{usual}");
        assert!(real.ends_with("--example soak -- --model --seconds 5"), "{real}");
    }
}
