//! `cargo xtask bundle-gpu`: a folder that measures the CUDA backend on a machine without cargo.
//!
//! The programs are built here and carried there; so are the kernels' images, compiled ahead of
//! time for common devices. `measure.sh` in the folder runs everything and says how.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Outcome;
use crate::cargo::{cargo, root, run as run_command, show};
use crate::flags::BundleGpu;
use crate::{fetch, nvrtc};

const SCRIPT: &str = include_str!("measure.sh");
/// What the script runs beside the program: another engine, on the same questions.
const PEER: &str = include_str!("transformers_peer.py");
const QUESTIONS: &str = include_str!("../../../echo-cli/prompts/builtin.jsonl");
/// Devices whose images are carried: A100, H100 and H200, B200, and the RTX 50 series.
const ARCHS: [&str; 4] = ["sm_80", "sm_90", "sm_100", "sm_120"];
/// Bytes of a folder that is easily carried, the model not counted.
const BYTES_MAX: u64 = 64 << 20;

pub(crate) fn run(flags: &BundleGpu) -> Outcome {
    let out = root().join(&flags.out);
    let programs = out.join("echo");
    // Images of sources that have changed since would be carried for nothing.
    let images = programs.join("cubins");
    if images.exists() {
        fs::remove_dir_all(&images)?;
    }
    fs::create_dir_all(&programs)?;
    // Before the builds: the tree may change while they run.
    let commit = commit();
    for (built, name) in build()? {
        let to = programs.join(name);
        fs::copy(&built, &to).map_err(|e| format!("cannot copy {}: {e}", built.display()))?;
        // Without strip the folder is larger and works as well.
        let _ = Command::new("strip").arg(&to).stderr(Stdio::null()).status();
    }
    let mut cubins = cargo(&["run", "--release", "--package", "echo-kernels-cuda"]);
    cubins.args(["--example", "cubins", "--"]).arg(images).args(ARCHS);
    run_command(cubins.envs(nvrtc::environment()?))?;
    write_script(&out)?;
    fs::write(out.join("commit.txt"), commit)?;
    let bytes = size(&out)?;
    if flags.model {
        for entry in fs::read_dir(fetch::model_folder()?)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "gguf") {
                fs::copy(&path, out.join(path.file_name().unwrap_or_default()))?;
            }
        }
    }
    println!("bundle-gpu: {} ({} MiB without the model)", out.display(), bytes >> 20);
    println!("bundle-gpu: carry it to the machine with the GPU and run ./measure.sh there");
    if bytes <= BYTES_MAX {
        return Ok(());
    }
    Err(format!("the folder has {bytes} bytes without the model, at most {BYTES_MAX}").into())
}

/// The programs, and the names they get.
fn build() -> Outcome<[(PathBuf, &'static str); 4]> {
    let kernels = ["--release", "--package", "echo-kernels-cuda"];
    let mut figures = cargo(&["build"]);
    figures.args(kernels).args(["--example", "figures"]);
    let mut suite = cargo(&["test", "--no-run"]);
    suite.args(kernels).args(["--test", "device"]);
    let mut episodes = cargo(&["test", "--no-run", "--release", "--package", "echo-runtime"]);
    episodes.args(["--test", "cuda"]);
    let mut program = cargo(&["build", "--release", "--package", "echo-cli"]);
    program.args(["--bin", "echo-llm"]);
    Ok([
        (built(figures, "figures")?, "figures"),
        (built(suite, "device")?, "conformance"),
        (built(episodes, "cuda")?, "episodes"),
        (built(program, "echo-llm")?, "echo-llm"),
    ])
}

/// Runs a build and finds where it put the target `name`.
fn built(mut build: Command, name: &str) -> Outcome<PathBuf> {
    build.arg("--message-format=json-render-diagnostics");
    let output = build.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", show(&build), output.status).into());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages, name).ok_or_else(|| format!("no program {name} was built").into())
}

/// The program of target `name` among cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let path = message["executable"].as_str()?;
        (message["target"]["name"] == name).then(|| path.into())
    })
}

fn write_script(out: &Path) -> Outcome {
    let script = out.join("measure.sh");
    fs::write(&script, SCRIPT)?;
    fs::write(out.join("transformers_peer.py"), PEER)?;
    fs::write(out.join("questions.jsonl"), QUESTIONS)?;
    #[cfg(unix)]
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// The commit the programs were built from, marked if the tree had changes.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").current_dir(root()).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "HEAD"]).unwrap_or_default();
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    format!("commit {head}{}\n", if changed { ", with changes" } else { "" })
}

/// Bytes of all files below `folder`, models not counted.
fn size(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += match metadata.is_dir() {
            true => size(&entry.path())?,
            false if entry.path().extension().is_some_and(|end| end == "gguf") => 0,
            false => metadata.len(),
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"a\"},\
                        \"executable\":null}\nnoise\n\
                        {\"target\":{\"name\":\"b\"},\"executable\":\"/t/b-1\"}\n";
        assert_eq!(executable(messages, "b"), Some("/t/b-1".into()));
        assert_eq!(executable(messages, "a"), None);
    }

    #[test]
    fn models_weigh_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("echo")).expect("made");
        fs::write(folder.path().join("echo").join("a"), [0; 10]).expect("written");
        fs::write(folder.path().join("m.gguf"), [0; 99]).expect("written");
        assert_eq!(size(folder.path()).expect("listed"), 10);
    }

    #[test]
    fn the_script_is_sound_shell_and_sends_nobody_to_cargo() {
        let mut bash = Command::new("bash");
        let folder = tempfile::tempdir().expect("a folder");
        write_script(folder.path()).expect("written");
        let script = folder.path().join("measure.sh");
        assert!(bash.arg("-n").arg(script).status().expect("bash").success());
        let commands = SCRIPT.lines().filter(|line| !line.starts_with('#'));
        assert_eq!(commands.filter(|line| line.trim_start().starts_with("cargo ")).count(), 0);
    }
}
