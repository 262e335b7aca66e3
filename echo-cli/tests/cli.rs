//! The program as a user meets it: messages, exit codes, and text that is the same with and without
//! speculation.

#[path = "../../echo-model/tests/files/support.rs"]
mod support;

use std::process::{Command, Output, Stdio};

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
    assert!(text.starts_with("Speculative decoding under load"), "{text}");
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
fn defaults_are_shown_as_flags_take_them() {
    for (command, list) in [("load", "1,8,32,64"), ("harvest", "0,0,0.7,1")] {
        let output = echo_llm(&[command, "--help"]);
        let text = String::from_utf8(output.stdout).expect("help is text");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("[default: {list}]")), "{text}");
    }
}

#[test]
fn a_number_out_of_range_is_told_with_the_range() {
    let counts: [(&str, &[&str]); 6] = [
        ("run", &["--threads=0", "--threads=100000", "--max-tokens=0"]),
        ("run", &["--budget=0", "--context=0", "--kv-slots=0", "--kv-slots=4294967296"]),
        ("serve", &["--max-tokens=0", "--max-n=0", "--max-body-bytes=0"]),
        ("load", &["--streams=1,0", "--max-tokens=0", "--repeat=0"]),
        ("calibrate", &["--max-tokens=0"]),
        ("harvest", &["--answer=0", "--tokens=0", "--first=-1"]),
    ];
    for (command, flags) in counts {
        for flag in flags {
            let said = refusal(&[command, flag, "no-such"]);
            let name = flag.split('=').next().expect("a name");
            assert!(
                said.contains(name) && said.contains("must be a number from"),
                "{flag}: {said}"
            );
        }
    }
    for (flag, value, range) in [
        ("--temperature", "-1", "[0, 100]"),
        ("--top-p", "0", "(0, 1]"),
        ("--min-p", "-0.5", "[0, 1]"),
        ("--repetition-penalty", "11", "(0, 10]"),
        ("--presence-penalty", "-3", "[-2, 2]"),
        ("--frequency-penalty", "2.5", "[-2, 2]"),
    ] {
        let said = refusal(&["run", flag, value, "-m", "no/such.gguf", "hello"]);
        assert!(said.contains(flag) && said.contains(range), "{flag}: {said}");
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
    let said = refusal(&["run", "--width", "0", "hello"]);
    assert!(said.contains("--width must be at least 1 when --depth is not 0"), "{said}");
    let said = refusal(&["run", "--kv-slots", "1", "hello"]);
    assert!(said.contains("--kv-slots is 1") && said.contains("lower --context"), "{said}");
    let said = refusal(&["run", "--kv-slots", "2147483648", "hello"]);
    assert!(said.contains("lower --kv-slots"), "{said}");
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
    let said = refusal(&["calibrate", "--drafter", "none", "-m", "no/such.gguf"]);
    assert!(said.contains("--drafter none") && said.contains("name another"), "{said}");
    let said = refusal(&["calibrate", "--budget", "8", "-m", "no/such.gguf"]);
    assert!(said.contains("--budget"), "{said}");
    for flag in ["--gate=always", "--drafter=none", "--nodes=8"] {
        let said = refusal(&["harvest", "no/such/folder", "-m", "no/such.gguf", flag]);
        assert!(said.contains("decodes plainly"), "{flag}: {said}");
    }
    let said = refusal(&["run", "--nodes=8", "--speculative-num-draft-tokens=8", "hello"]);
    assert!(said.contains("--nodes"), "{said}");
    assert!(refusal(&["load", "--url", "http://127.0.0.1:1", "--seconds=-1"]).contains("seconds"));
}

#[test]
fn an_error_ends_with_the_remedy() {
    let said = refusal(&["load", "--url", "https://127.0.0.1:1"]);
    assert!(said.contains("https is not spoken") && said.contains("http://HOST:PORT"), "{said}");
    let has_model = support::default_model("an_error_ends_with_the_remedy").is_some();
    let doctor = String::from_utf8(echo_llm(&["doctor"]).stdout).expect("it is text");
    if has_model && doctor.contains("no NVIDIA driver") {
        let said = refusal(&["run", "--backend", "cuda", "hello"]);
        assert!(said.contains("cuda: no NVIDIA driver"), "{said}");
        assert!(said.trim_end().ends_with("; try --backend cpu"), "{said}");
    }
}

/// What a run without drafts says beside its answer.
#[test]
fn a_context_that_is_cut_and_what_forwards_gave_are_told() {
    if support::default_model("a_context_that_is_cut").is_none() {
        return;
    }
    let plain = ["--drafter", "none", "--gate", "always", "--solver", "uniform"];
    let output =
        echo_llm(&[&["run", "hello", "-n", "2", "--context", "9000"], &plain[..]].concat());
    let said = String::from_utf8(output.stderr).expect("messages are text");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("note: --context 9000 is cut to 8192"), "{said}");
    assert!(said.contains("1.00 tokens a forward"), "{said}");
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    if support::default_model("a_reader_that_leaves").is_none() {
        return;
    }
    // Its first line is printed, and not written.
    let args = ["bench", "--rows", "plain", "--limit", "1", "-n", "1", "-c", "1", "-r", "1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo-llm"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the program was built");
    drop(process.stdout.take());
    let output = process.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("messages are text");
    assert!(output.status.success() && !said.contains("panicked"), "{said}");
}

#[test]
fn words_that_nobody_hears_change_no_ending() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo-llm"));
    command.args(["inspect", "nowhere.gguf"]);
    // The pipe has no reader from the start.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command.stderr(writer).status().expect("the program was built");
    assert_eq!(status.code(), Some(1));
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
