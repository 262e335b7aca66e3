//! `echo-llm serve` as its users meet it: clients they have, signals, files and wrong flags.

#[cfg(target_os = "linux")]
mod memory;
mod server;
#[path = "../../../echo-model/tests/files/support.rs"]
mod support;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest,
    CreateChatCompletionRequestArgs,
};
use serde_json::{Value, json};
use server::Server;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio_stream::StreamExt;

fn question(nth: usize, max_tokens: usize) -> Value {
    let topics = ["the sea", "a lighthouse", "bread", "the number 7", "winter", "a clock"];
    let text = format!("Tell me {} things about {}.", nth + 2, topics[nth % topics.len()]);
    json!({"messages": [{"role": "user", "content": text}], "max_tokens": max_tokens,
        "temperature": ([0.0, 0.8][nth % 2]), "seed": nth})
}

#[test]
fn the_clients_that_people_have_are_served() {
    let Some(server) = Server::start("clients", &[]) else { return };
    let base = format!("http://{}/v1", server.address);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/serve/clients.py");
    let there = Command::new("python3").args(["-c", "import openai"]).output();
    if there.is_ok_and(|output| output.status.success()) {
        let output = Command::new("python3").args([script, &base]).output().expect("it was there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    } else {
        let required = std::env::var("ECHO_REQUIRE").unwrap_or_default();
        let is_required = required.split(',').any(|name| name.trim() == "openai");
        assert!(!is_required, "Python's openai package is required and not there");
        eprintln!("skipped: Python's openai package is not there; pip install openai");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(from_rust(&base));
    same_text_at_64_requests(&server);
}

/// `async-openai`, streaming and not.
async fn from_rust(base: &str) {
    let config = OpenAIConfig::new().with_api_base(base).with_api_key("unused");
    let client = Client::with_config(config);
    let model = client.models().list().await.expect("models").data[0].id.clone();
    let ask = || -> CreateChatCompletionRequest {
        let user = ChatCompletionRequestUserMessageArgs::default().content("Name a fruit.").build();
        CreateChatCompletionRequestArgs::default()
            .model(&model)
            .max_completion_tokens(16u32)
            .temperature(0.0)
            .messages([user.expect("a message").into()])
            .build()
            .expect("a request")
    };
    let whole = client.chat().create(ask()).await.expect("an answer");
    let text = whole.choices[0].message.content.clone().expect("text");
    assert!(!text.is_empty());
    assert!(whole.usage.expect("usage").completion_tokens <= 16);
    let mut stream = client.chat().create_stream(ask()).await.expect("a stream");
    let mut pieces = String::new();
    while let Some(event) = stream.next().await {
        for choice in event.expect("an event").choices {
            pieces.push_str(&choice.delta.content.unwrap_or_default());
        }
    }
    assert_eq!(pieces, text);
    let mut wrong = ask();
    wrong.top_p = Some(7.0);
    let refused = client.chat().create(wrong).await.expect_err("7 is no probability");
    assert!(refused.to_string().contains("top_p"), "{refused}");
}

/// The same prompts at 64 requests at once, drafted for and not, and then one by one.
fn same_text_at_64_requests(server: &Server) {
    let tokens = 12;
    let all = |speculative: bool| -> Vec<String> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = (0..64)
                .map(|nth| {
                    let mut body = question(nth, tokens);
                    body["speculative"] = json!(speculative);
                    scope.spawn(move || server.ask(&body))
                })
                .collect();
            asked.into_iter().map(|asking| asking.join().expect("an answer")).collect()
        })
    };
    let (drafted, plain) = (all(true), all(false));
    assert_eq!(drafted, plain);
    for nth in [0, 1, 33] {
        assert_eq!(server.ask(&question(nth, tokens)), plain[nth], "{nth} alone");
    }
    assert!(plain.iter().any(|text| *text != plain[0]));
}

#[test]
fn a_signal_lets_answers_end_and_a_second_ends_them() {
    let Some(mut server) = Server::start("signals", &["--ready-delay", "0"]) else { return };
    let stream = |server: &Server, max_tokens| {
        let mut body = question(0, max_tokens);
        body["stream"] = json!(true);
        body["ignore_eos"] = json!(true);
        let mut socket = server.open(&body);
        socket.read_exact(&mut [0; 300]).expect("it begins");
        socket
    };
    let mut socket = stream(&server, 30);
    server.signal("-TERM");
    let mut rest = String::new();
    socket.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert!(server.end().success());

    let mut server = Server::start("signals", &["--drain-timeout", "100"]).expect("it was there");
    let mut socket = stream(&server, 1500);
    server.signal("-INT");
    std::thread::sleep(Duration::from_millis(700));
    server.signal("-TERM");
    let mut rest = String::new();
    socket.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("the server stopped before"), "{rest}");
    assert!(server.end().success());
}

/// Runs with `args`, expects a failure, and returns what was said.
fn refusal(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo-llm"));
    command.arg("serve").args(args).stderr(Stdio::piped());
    let mut process = command.spawn().expect("the program was built");
    let deadline = Instant::now() + Duration::from_secs(60);
    while process.try_wait().expect("it is our child").is_none() {
        if Instant::now() > deadline {
            process.kill().expect("it is our child");
            panic!("{args:?} should fail, and is served");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = process.wait_with_output().expect("it has ended");
    assert!(!output.status.success(), "{args:?} should fail");
    let said = String::from_utf8(output.stderr).expect("messages are text");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn what_is_wrong_with_flags_and_files_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("echo.toml");
    let path = path.to_str().expect("text");
    let with = |text: &str, more: &[&str]| {
        std::fs::write(path, text).expect("a file");
        refusal(&[&["--config", path], more].concat())
    };
    for (text, says) in [
        ("no-such-key = 1", "there is no key `no-such-key`"),
        ("prot = 1", "did you mean `port`?"),
        // Switches that there are not are no less unknown where they are off.
        ("prefix-cache = false", "there is no key `prefix-cache`"),
        ("no-such-list = []", "there is no key `no-such-list`"),
        ("metrics-address = false", "--metrics-address"),
        ("port = \"x\"", "--port"),
        ("port = 70000", "70000"),
        ("port = {a = 1}", "`port` must be a text"),
        ("port 8000", "echo.toml"),
        ("config = \"other.toml\"", "another"),
        ("model = \"no/such.gguf\"\nhost = \"127.0.0.1\"", "no/such.gguf"),
    ] {
        let said = with(text, &[]);
        assert!(said.contains(says), "{text}: {said}");
    }
    // What the command line says wins, a list too.
    let said = with("model = \"from-file.gguf\"\nport = 1", &["--model", "from-line.gguf"]);
    assert!(said.contains("from-line.gguf"), "{said}");
    // So it does by other names, and over what contradicts it.
    let text = "model = \"no/such.gguf\"\nmax-model-len = 4096\ngate = \"always\"";
    let said = with(text, &["--context", "2048", "--echo-threshold", "0.5"]);
    assert!(said.contains("no/such.gguf"), "{said}");
    for flag in ["--max-connections=0", "--max-queued-requests=18446744073709551615", "--nodes=-1"]
    {
        let said = refusal(&[flag]);
        assert!(said.contains(flag.split('=').next().unwrap_or(flag)), "{said}");
    }
    assert!(refusal(&["--config", "no/such.toml"]).contains("no/such.toml"));
    if support::default_model("flags").is_none() {
        return;
    }
    let said = refusal(&["--host", "0.0.0.0"]);
    assert!(said.contains("set an API key"), "{said}");
    let said = refusal(&["--drain-timeout=-1"]);
    assert!(said.contains("drain-timeout"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let said = refusal(&["--port", &port]);
    assert!(said.contains("choose another --port"), "{said}");
    let said = refusal(&["--port", "0", "--metrics-address", &format!("127.0.0.1:{port}")]);
    assert!(said.contains("choose another --metrics-address"), "{said}");
}
