//! `cargo xtask neon`: the CPU kernels of 64-bit ARM, tested on any Linux machine.
//!
//! They are built for that processor by whichever compiler here has its standard library, linked by
//! Debian's cross compiler, and run by QEMU. On an ARM machine `cargo xtask test` does all this.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::cargo::{cargo, run as run_command};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// As it is in the names of cargo's variables.
const TARGET_UPPER: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64-static";
/// rustup's, and that of Debian's package `rustc-web`, which has more targets than Debian's other.
const COMPILERS: [&str; 2] = ["rustc", "/usr/bin/rustc"];

/// Arguments of each run: the units and the linear layer whole; of the conformance suite NEON's
/// forms alone, since the references and the portable forms are the same on every processor.
const RUNS: [&[&str]; 2] = [
    &["--lib", "--test", "linear"],
    &["--test", "conformance", "the_chosen_forms_agree_with_their_references"],
];

pub(crate) fn run() -> Outcome {
    let compiler = COMPILERS.into_iter().find(|compiler| has_target(compiler));
    let compiler = compiler.ok_or_else(|| missing(&format!("a compiler for {TARGET}")))?;
    for tool in [LINKER, EMULATOR] {
        if output(Command::new(tool).arg("--version")).is_none() {
            return Err(missing(tool).into());
        }
    }
    RUNS.iter().try_for_each(|args| run_command(&mut tests(compiler, args)))
}

fn tests(compiler: &str, args: &[&str]) -> Command {
    let mut command = cargo(&["test", "--package", "echo-kernels-cpu", "--target", TARGET]);
    command.args(["--target-dir", "target/neon"]).args(args);
    command.env("RUSTC", compiler).env("ECHO_REQUIRE", "neon-dot");
    command.env(format!("{TARGET_UPPER}_LINKER"), LINKER);
    // `max` has every instruction that QEMU knows, the dot product among them.
    command.env(format!("{TARGET_UPPER}_RUNNER"), format!("{EMULATOR} -cpu max"));
    // With the C library in the program: QEMU 7 hangs in its dynamic loader as a thread starts.
    command.env(format!("{TARGET_UPPER}_RUSTFLAGS"), "-C target-feature=+crt-static");
    command
}

/// Whether `compiler` has the standard library of the target.
fn has_target(compiler: &str) -> bool {
    output(Command::new(compiler).args(["--print", "target-libdir", "--target", TARGET]))
        .is_some_and(|folder| Path::new(folder.trim()).is_dir())
}

/// What `command` prints; `None` if it can't be started or fails.
fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn missing(what: &str) -> String {
    format!(
        "there is no {what}; on Debian 12: dpkg --add-architecture arm64 && apt-get update && \
         apt-get install rustc-web libstd-rust-web-dev:arm64 gcc-aarch64-linux-gnu \
         libc6-dev-arm64-cross qemu-user-static"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn a_compiler_that_is_not_there_has_no_target() {
        assert!(!has_target("no-such-compiler"));
        assert!(missing(EMULATOR).contains("there is no qemu-aarch64-static; on Debian"));
    }

    #[test]
    fn the_tests_are_built_for_arm_and_run_by_the_emulator() {
        let command = tests("rustc", RUNS[0]);
        let runner = format!("{TARGET_UPPER}_RUNNER");
        let value = command.get_envs().find(|(name, _)| *name == &*runner).and_then(|env| env.1);
        assert_eq!(value.expect("it is set"), "qemu-aarch64-static -cpu max");
        assert!(show(&command).contains("--target aarch64-unknown-linux-gnu"));
    }
}
