//! The program as a user meets it: messages, exit codes, and text that is the same with and without
//! speculation.

#[path = "../../echo-model/tests/files/support.rs"]
mod support;

use std::process::{Command, Output};

fn echo_llm(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo-llm"));
    command.args(args).output().expect("the program was built")
}

/// Runs with `args`, expects a failure, and returns what was said.
fn refusal(args: &[&str]) -> String {
    let output = echo_llm(args);
    assert!(!output.status.success(), "{args:?} should fail");
    let said = String::from_utf8(output.stderr).expect("messages are text");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn help_names_the_commands_and_flags() {
    let output = echo_llm(&["--help"]);
    let text = String::from_utf8(output.stdout).expect("help is text");
    for command in ["run", "bench", "inspect", "doctor"] {
        assert!(text.contains(command), "{text}");
    }
    let output = echo_llm(&["run", "--help"]);
    let text = String::from_utf8(output.stdout).expect("help is text");
    for flag in ["--model", "--drafter", "--gate", "--solver", "--batch", "--seed", "--temperature"]
    {
        assert!(text.contains(flag), "{flag} in {text}");
    }
}

#[test]
fn a_wrong_path_is_named_with_the_remedy() {
    let said = refusal(&["run", "-m", "no/such/model.gguf", "hello"]);
    assert!(said.contains("no/such/model.gguf") && said.contains("give a .gguf file"), "{said}");
    let said = refusal(&["inspect", env!("CARGO_MANIFEST_DIR")]);
    assert!(said.contains("config.json"), "{said}");
    let said = refusal(&["inspect", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert!(said.contains("Cargo.toml"), "{said}");
}

#[test]
fn doctor_tells_what_is_there() {
    let output = echo_llm(&["doctor"]);
    let text = String::from_utf8(output.stdout).expect("it is text");
    assert!(output.status.success() && text.contains("cpu kernels"), "{text}");
}

#[test]
fn unknown_names_list_the_known_ones() {
    if support::default_model("unknown_names_list_the_known_ones").is_none() {
        return;
    }
    for (flag, wrong, known) in [
        ("--drafter", "oracle", "ngram"),
        ("--gate", "open", "sparse:DEPTH=TAU"),
        ("--solver", "best", "goodput"),
        ("--backend", "tpu", "auto, cpu, wgpu, cuda"),
        ("--kernels", "sse9", "reference"),
    ] {
        let said = refusal(&["run", flag, wrong, "hello"]);
        assert!(said.contains(wrong) && said.contains(known), "{flag}: {said}");
    }
    let said = refusal(&["replay", "no-such-trace.json"]);
    assert!(said.contains("no-such-trace.json") && said.contains("--record"), "{said}");
    let said = refusal(&["run", "--drafter", "eagle:no-such-head", "hello"]);
    assert!(said.contains("no-such-head"), "{said}");
    let said = refusal(&["run", "--top-p", "1.5", "hello"]);
    assert!(said.contains("top_p is 1.5, must be in (0, 1]"), "{said}");
    let said = refusal(&["run", "--context", "20", "a prompt with a template around it"]);
    assert!(said.contains("the context 20"), "{said}");
    let said = refusal(&["run", "--raw", ""]);
    assert!(said.contains("the prompt is empty"), "{said}");
}

#[test]
fn flags_that_would_change_nothing_are_refused() {
    for args in [["bench", "--solver", "topn"], ["bench", "--echo-threshold", "0.5"]] {
        let said = refusal(&args);
        assert!(said.contains("--rows"), "{args:?}: {said}");
    }
    let said = refusal(&["calibrate", "--gate", "always"]);
    assert!(said.contains("--gate"), "{said}");
    assert!(refusal(&["load", "--url", "http://127.0.0.1:1", "--seconds=-1"]).contains("seconds"));
}

#[test]
fn the_text_is_the_same_with_and_without_speculation() {
    if support::default_model("the_text_is_the_same").is_none() {
        return;
    }
    let prompt = "Repeat three times: the rain in Spain stays mainly in the plain.";
    let text = |extra: &[&str]| {
        let output = echo_llm(&[&["run", prompt, "-n", "40", "-t", "0.7"], extra].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("answers are text")
    };
    let plain = text(&["--drafter", "none"]);
    assert!(plain.len() > 20, "{plain:?}");
    for extra in [
        &["--solver", "topn"][..],
        &["--solver", "echo", "--gate", "sparse:1=0.2", "--budget", "5"],
        &["--solver", "goodput", "--depth", "8", "--width", "2", "--threads", "1"],
    ] {
        assert_eq!(text(extra), plain, "{extra:?}");
    }
    let said = refusal(&["run", "-m", "default", "--seed", "x", prompt]);
    assert!(said.contains("invalid value 'x'"), "{said}");
}
