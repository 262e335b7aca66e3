//! `cargo xtask soak`: an engine under load and faults, for as long as one likes.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, run as run_command};
use crate::flags::Soak;

pub(crate) fn run(flags: &Soak) -> Outcome {
    run_command(&mut program(flags))
}

fn program(flags: &Soak) -> Command {
    // Not in release mode: assertions that cost time are worth theirs here.
    let mut command = cargo(&["run", "--package", "echo-runtime"]);
    let seconds = flags.seconds.to_string();
    command.args(["--example", "soak", "--", "--seconds", &seconds]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn the_time_is_passed_on() {
        let shown = show(&program(&Soak { seconds: 5 }));
        assert!(shown.ends_with("--example soak -- --seconds 5"), "{shown}");
    }
}
