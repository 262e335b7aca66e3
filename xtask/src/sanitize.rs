//! `cargo xtask sanitize`: the unsafe code of the CPU kernels under `AddressSanitizer`.

use std::process::Command;

use crate::Outcome;
use crate::cargo::{cargo, run as run_command};

pub(crate) fn run() -> Outcome {
    run_command(&mut tests(&host()?))
}

/// The tests of the kernels. Their target folder is their own, and they are built for a named
/// target, so that neither anything else nor what runs while building is built with checks.
fn tests(host: &str) -> Command {
    let mut command = cargo(&["test", "--package", "echo-kernels-cpu", "--lib", "--tests"]);
    command.args(["--target", host, "--target-dir", "target/sanitize"]);
    // Sanitizers are behind a gate that stable compilers open when told so. `cfg(watched)` gives
    // each device array a place of its own on the heap, where its ends are watched.
    command.env("RUSTC_BOOTSTRAP", "1");
    command.env("RUSTFLAGS", "-Zsanitizer=address --cfg watched");
    command
}

/// The target that the compiler builds for by default.
fn host() -> Outcome<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("cannot start rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.ok_or("rustc -vV names no host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::show;

    #[test]
    fn the_kernels_alone_are_built_with_checks() {
        let host = host().expect("rustc is there");
        let command = tests(&host);
        let flags = command.get_envs().find(|(name, _)| *name == "RUSTFLAGS");
        let flags = flags.and_then(|(_, value)| value).expect("they are set");
        assert!(flags.to_string_lossy().contains("sanitizer=address"));
        let end = format!("--target {host} --target-dir target/sanitize");
        assert!(show(&command).ends_with(&end), "{}", show(&command));
    }
}
