//! `cargo xtask test`: every test of the workspace, with the model in place.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use crate::Outcome;
use crate::cargo::{cargo, has_subcommand, run as run_command, show};
use crate::fetch;
use crate::flags::Test;

/// How many tests went well and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    n_passed: u64,
    n_failed: u64,
}

pub(crate) fn run(flags: &Test) -> Outcome {
    let environment = environment(flags)?;
    let prepare = |mut command: Command| {
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    };
    if has_subcommand("nextest") {
        // Doctests go first: nextest's summary is then the last thing one reads.
        let docs = doctests(flags).map(|docs| run_command(&mut prepare(docs)));
        let mut nextest = cargo(&["nextest", "run"]);
        nextest.args(scope(flags)).args(&flags.args);
        let (n_skipped, outcome) = run_watched(&mut prepare(nextest))?;
        if n_skipped > 0 {
            println!("{n_skipped} tests skipped themselves; above they say what is not there");
        }
        return outcome.and(docs.unwrap_or(Ok(())));
    }
    let mut tests = cargo(&["test", "--no-fail-fast"]);
    tests.args(scope(flags)).args(&flags.args);
    let (tally, outcome) = run_counted(&mut prepare(tests))?;
    // Sources that do not compile have said so; a line of zeros would look like a result.
    if outcome.is_ok() || tally != Tally::default() {
        println!("\n{} passed, {} failed", tally.n_passed, tally.n_failed);
    }
    outcome
}

/// The variables by which tests find the model, and may not do without it.
fn environment(flags: &Test) -> Outcome<Vec<(&'static str, std::ffi::OsString)>> {
    if flags.offline {
        return Ok(Vec::new());
    }
    let folder = fetch::model_folder()?;
    let required = env::var("ECHO_REQUIRE").unwrap_or_default();
    Ok(vec![
        ("ECHO_MODEL_DIR", folder.into_os_string()),
        ("ECHO_REQUIRE", require_model(&required).into()),
    ])
}

/// `required`, a list with commas, and `model`.
fn require_model(required: &str) -> String {
    let words = required.split(',').map(str::trim);
    let others = words.filter(|word| !word.is_empty() && *word != "model");
    others.chain(["model"]).collect::<Vec<_>>().join(",")
}

/// All of the workspace, unless the user names packages.
fn scope(flags: &Test) -> Option<&'static str> {
    let names_packages = flags.args.iter().any(|arg| {
        arg == "-p" || arg == "--workspace" || arg.starts_with("--package") || arg == "--all"
    });
    (!names_packages).then_some("--workspace")
}

/// nextest runs no doctests. With arguments the user is after certain tests, and a filter of
/// nextest means nothing to `cargo test`.
fn doctests(flags: &Test) -> Option<Command> {
    flags.args.is_empty().then(|| cargo(&["test", "--workspace", "--doc", "--quiet"]))
}

/// Runs nextest, passes on what it says, and counts the tests that skipped themselves: what they
/// print is shown at the end (`.config/nextest.toml`).
fn run_watched(command: &mut Command) -> Outcome<(usize, Outcome)> {
    let shown = show(command);
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let mut n_skipped = 0;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        n_skipped += usize::from(line.trim_start().starts_with("skipped: "));
    }
    Ok((n_skipped, ended(&shown, child.wait()?)))
}

fn ended(shown: &str, status: ExitStatus) -> Outcome {
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})").into()) }
}

/// Runs `command`, passes its stdout on, and counts what the test harness reports.
fn run_counted(command: &mut Command) -> Outcome<(Tally, Outcome)> {
    let shown = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start `{shown}`: {error}"))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(more) = count(&line) {
            tally.n_passed += more.n_passed;
            tally.n_failed += more.n_failed;
        }
    }
    Ok((tally, ended(&shown, child.wait()?)))
}

/// The counts in a line such as `test result: ok. 3 passed; 0 failed; 0 ignored`.
fn count(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| {
        let mut parts = counts.split(';');
        parts.find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some(Tally { n_passed: number("passed")?, n_failed: number("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_harness_is_understood() {
        let line =
            "test result: FAILED. 13 passed; 2 failed; 0 ignored; 0 measured; 1 filtered out";
        let expected = Tally { n_passed: 13, n_failed: 2 };
        assert_eq!(count(line), Some(expected));
        assert_eq!(count("test a::b ... ok"), None);
        assert_eq!(count("test result: strange"), None);
    }

    #[test]
    fn what_is_required_already_stays() {
        assert_eq!(require_model(""), "model");
        assert_eq!(require_model("cuda"), "cuda,model");
        assert_eq!(require_model("model, wgpu"), "wgpu,model");
    }

    #[test]
    fn a_package_narrows_the_scope() {
        let flags = |args: &[&str]| Test {
            offline: true,
            args: args.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(scope(&flags(&[])), Some("--workspace"));
        assert_eq!(scope(&flags(&["mask"])), Some("--workspace"));
        assert_eq!(scope(&flags(&["-p", "echo-tree"])), None);
        assert!(doctests(&flags(&[])).is_some() && doctests(&flags(&["mask"])).is_none());
    }

    #[test]
    fn who_skips_is_counted() {
        let script = "echo '    skipped: a: no device' >&2; echo '  skipped in words' >&2; exit 1";
        let mut shell = Command::new("sh");
        let (n_skipped, outcome) = run_watched(shell.args(["-c", script])).expect("it starts");
        assert!(n_skipped == 1 && outcome.is_err());
    }

    #[test]
    fn a_run_is_counted_to_its_end() {
        let script = "echo 'test result: ok. 2 passed; 0 failed'; \
                      echo 'test result: FAILED. 1 passed; 3 failed'; exit 1";
        let mut shell = Command::new("sh");
        let (tally, outcome) = run_counted(shell.args(["-c", script])).expect("it starts");
        assert_eq!((tally.n_passed, tally.n_failed), (3, 3));
        assert!(outcome.is_err());
    }
}
