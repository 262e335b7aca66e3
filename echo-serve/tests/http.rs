//! The server over real sockets, on the simulated model.

mod testkit;

use echo_serve::ServeOptions;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use testkit::{Server, post};

fn server() -> Server {
    Server::start(ServeOptions::new("sim"), 512)
}

/// The events of a stream, without `[DONE]`, which must be the last.
fn events(answer: &str) -> Vec<Value> {
    let data: Vec<&str> = answer.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let (last, events) = data.split_last().expect("a stream has events");
    assert_eq!(*last, "[DONE]");
    events.iter().map(|event| serde_json::from_str(event).expect("an event is JSON")).collect()
}

#[test]
fn status_routes_answer() {
    let server = server();
    for path in ["/health", "/ready", "/version", "/v1/models", "/metrics"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
    assert!(server.get("/v1/models").1.contains("\"id\":\"sim\""));
    assert_eq!(server.get("/nowhere").0, 404);
    assert_eq!(server.get("/v1/completions").0, 405);
}

#[test]
fn text_is_the_same_streamed_or_not_and_drafted_or_not() {
    let server = server();
    let mut body = json!({"prompt": "hello", "max_tokens": 40, "seed": 7, "n": 2});
    let (status, plain) = server.post("/v1/completions", &body);
    assert_eq!(status, 200, "{plain}");
    assert_eq!(plain["usage"]["completion_tokens"], 80);
    assert_eq!(plain["usage"]["prompt_tokens"], 5);
    assert!(plain["choices"][0]["speculative_decoding"]["accepted"].as_u64() > Some(0));
    body["speculative"] = json!(false);
    let (_, undrafted) = server.post("/v1/completions", &body);
    assert_eq!(undrafted["choices"][0]["speculative_decoding"]["verified"], 0);
    body["stream"] = json!(true);
    body["speculative"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let (_, answer) = server.post_text("/v1/completions", &body.to_string());
    let events = events(&answer);
    assert_eq!(events.last().expect("usage")["usage"], plain["usage"]);
    for index in 0..2 {
        let choices = events.iter().filter_map(|event| event["choices"].get(0));
        let own = choices.filter(|choice| choice["index"] == index);
        let text: String = own.filter_map(|choice| choice["text"].as_str()).collect();
        assert_eq!(plain["choices"][index]["text"], text);
        assert_eq!(undrafted["choices"][index]["text"], text);
    }
    assert_ne!(plain["choices"][0]["text"], plain["choices"][1]["text"]);
}

#[test]
fn a_chat_streams_its_role_first_and_its_reason_last() {
    let server = server();
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "seed": 1,
        "logprobs": true, "top_logprobs": 2, "return_token_ids": true});
    let (status, whole) = server.post("/v1/chat/completions", &body);
    assert_eq!(status, 200, "{whole}");
    assert_eq!(whole["choices"][0]["token_ids"].as_array().map(Vec::len), Some(9));
    let logprobs = whole["choices"][0]["logprobs"]["content"].as_array().expect("logprobs");
    assert_eq!(logprobs.len(), 9);
    assert_eq!(logprobs[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = events(&server.post_text("/v1/chat/completions", &streamed.to_string()).1);
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let last = &events.last().expect("an end")["choices"][0];
    assert_eq!(last["finish_reason"], "length");
    let pieces = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
    assert_eq!(whole["choices"][0]["message"]["content"], pieces.collect::<String>());
}

#[test]
fn what_is_wrong_is_named() {
    let server = server();
    let wrong = [
        (json!({}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": [999]}), "prompt"),
        (json!({"prompt": "x".repeat(300)}), "prompt"),
        (json!({"prompt": "x", "n": 9}), "n"),
        (json!({"prompt": "x", "echo": true}), "echo"),
        (json!({"prompt": "x", "logprobs": "many"}), "logprobs"),
        (json!({"prompt": "x", "logit_bias": {"a": 1}}), "logit_bias"),
    ];
    for (body, param) in wrong {
        let (status, answer) = server.post("/v1/completions", &body);
        assert_eq!((status, &answer["error"]["param"]), (400, &json!(param)), "{body}: {answer}");
    }
    for body in [json!({"prompt": "x", "top_p": 2}), json!({"prompt": "x", "max_tokens": 0})] {
        assert_eq!(server.post("/v1/completions", &body).0, 400, "{body}");
    }
    assert_eq!(server.post_text("/v1/completions", "{").0, 400);
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "x", "model": "y"})).0, 404);
    // A tokenizer that panics fails its own request and no other.
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "panic"})).0, 500);
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "x"})).0, 200);
    assert_eq!(server.handle.totals().committed, 16);
}

#[test]
fn every_route_but_health_asks_for_the_key() {
    let key = Some("secret".to_owned());
    let server = Server::start(ServeOptions { api_key: key, ..ServeOptions::new("sim") }, 4);
    for path in ["/health", "/ready"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
    for path in ["/version", "/v1/models", "/metrics", "/tokenize", "/v1/completions", "/x"] {
        assert_eq!(server.get(path).0, 401, "{path}");
    }
    let with = |key| {
        let head = "GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
        server.raw(&format!("{head}authorization: Bearer {key}\r\n\r\n")).0
    };
    assert_eq!((with("secret"), with("secreu"), with("secret2"), with("")), (200, 401, 401, 401));
}

#[test]
fn clients_that_do_not_go_on_are_turned_away() {
    let deadline = Duration::from_millis(100);
    let usual = ServeOptions::new("sim");
    let server = Server::start(
        ServeOptions { head_deadline: deadline, body_deadline: deadline, body_max: 99, ..usual },
        4,
    );
    let start = Instant::now();
    server.raw("GET /health HTTP/1.1\r\nhost:");
    assert!(start.elapsed() < Duration::from_secs(5), "the head's deadline did not run");
    let half = post("/tokenize", "{\"prompt\": \"x\"}").replace("\"x\"}", "");
    assert_eq!(server.raw(&half).0, 408);
    assert_eq!(server.post("/tokenize", &json!({"prompt": "x".repeat(99)})).0, 413);
}

/// Opens a stream of many tokens and reads its first bytes.
fn open_stream(server: &Server) -> TcpStream {
    let body = json!({"prompt": "x", "max_tokens": 250, "stream": true, "n": 4});
    let mut socket = TcpStream::connect(server.address).expect("the server listens");
    socket.write_all(post("/v1/completions", &body.to_string()).as_bytes()).expect("a reader");
    socket.read_exact(&mut [0; 15]).expect("an answer");
    socket
}

#[test]
fn a_full_queue_turns_away_and_says_when_to_come_again() {
    let server = Server::start(ServeOptions::new("sim"), 0);
    let body = json!({"prompt": "x", "n": 5}).to_string();
    let (status, answer) = server.post_text("/v1/completions", &body);
    assert_eq!(status, 429, "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    assert!(answer.contains("\"rate_limit_error\""), "{answer}");
}

#[test]
fn a_client_that_leaves_frees_its_places() {
    let server = Server::start(ServeOptions::new("sim"), 0);
    for _ in 0..20 {
        drop(open_stream(&server));
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.post("/v1/completions", &json!({"prompt": "x", "n": 4})).0 != 200 {
            assert!(Instant::now() < deadline, "no place was made");
        }
    }
}

#[test]
fn a_drain_lets_streams_end_and_takes_nothing_new() {
    let mut server = server();
    let mut socket = open_stream(&server);
    server.stop();
    let mut rest = String::new();
    socket.read_to_string(&mut rest).expect("text");
    assert!(rest.contains("data: [DONE]"), "{rest}");
    assert!(!server.handle.is_open());
    assert!(TcpStream::connect(server.address).is_err());
}
