//! What must not get through: requests without a key, malformed, oversized or half-open ones.

use crate::testkit::{Answer, Dice, SLOW, Server, Setup, get, one_answer, post, scaled};
use echo_serve::ServeOptions;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn every_route_but_health_asks_for_the_key() {
    let mut setup = Setup::usual();
    setup.options.api_keys = vec!["secret".to_owned(), "other".to_owned()];
    let server = Server::start(setup);
    let ask = |method: &str, path: &str, key: &str| {
        let key = if key.is_empty() { String::new() } else { format!("authorization: {key}\r\n") };
        let head = format!("{} {path} HTTP/1.1\r\nhost: anywhere\r\n{key}", method.to_uppercase());
        server.raw(format!("{head}connection: close\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes())
    };
    let more =
        [("get", "/nowhere"), ("get", "/v1/completions"), ("put", "/v1/models"), ("get", "/v1")];
    for (method, path) in echo_serve::routes().chain(more) {
        let is_open = ["/health", "/ready"].contains(&path);
        for key in ["", "Bearer ", "Bearer secreu", "Bearer secret2", "secret", "Basic c2VjcmV0"] {
            let status = ask(method, path, key).status;
            assert_eq!(status, if is_open { 200 } else { 401 }, "{method} {path} {key:?}");
        }
        for key in ["Bearer secret", "Bearer other"] {
            assert_ne!(ask(method, path, key).status, 401, "{method} {path} {key:?}");
        }
    }
    // A browser is asked for the key, and sends it as a password.
    assert!(ask("get", "/", "").head.contains("www-authenticate: basic"));
    let basic = "Basic YW55b25lOnNlY3JldA==";
    assert_eq!((ask("get", "/", basic).status, ask("get", "/live", basic).status), (200, 200));
    assert_eq!(server.handle.totals().steps, 0);
}

#[test]
fn a_page_of_another_site_gets_nothing() {
    let server = Server::start(Setup::usual());
    let ask = |more: &str| {
        server
            .raw(format!("GET /version HTTP/1.1\r\nconnection: close\r\n{more}\r\n").as_bytes())
            .status
    };
    for own in ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]", "[::1]:8000"] {
        assert_eq!(ask(&format!("host: {own}\r\n")), 200, "{own}");
        assert_eq!(ask(&format!("host: localhost\r\norigin: http://{own}\r\n")), 200, "{own}");
    }
    for other in ["evil.example", "evil.example:8000", "localhost.evil.example", "10.0.0.1", ""] {
        assert_eq!(ask(&format!("host: {other}\r\n")), 403, "{other}");
    }
    assert_eq!(ask("host: localhost\r\norigin: https://evil.example\r\n"), 403);
}

/// A route and a body that must be refused, and the field at fault if one is.
fn malformed(dice: &mut Dice) -> (&'static str, String, Option<&'static str>) {
    let chat = dice.below(2) == 0;
    let (path, mut body) = if chat {
        ("/v1/chat/completions", json!({"messages": [{"role": "user", "content": "x"}]}))
    } else {
        ("/v1/completions", json!({"prompt": "x"}))
    };
    let odd = [json!("x"), json!([1]), json!({"a": 1}), json!(true)];
    let text_like = [json!(5), json!([[]]), json!({"a": 1}), json!(false)];
    let (field, value) = match dice.below(26) {
        0 => ("temperature", dice.pick(&[json!(-0.5), json!("hot"), json!([]), json!(1e39)])),
        1 => ("top_p", dice.pick(&[json!(-0.1), json!(1.5), json!(0), json!("x")])),
        2 => ("top_k", dice.pick(&[json!(-2), json!(1.5), json!("x"), json!(1u64 << 40)])),
        3 => ("min_p", dice.pick(&[json!(-0.1), json!(1.5), json!("x"), json!({})])),
        4 => ("n", dice.pick(&[json!(0), json!(9), json!(-1), json!(16384), json!("2")])),
        5 => ("max_tokens", dice.pick(&[json!(0), json!(-5), json!("many"), json!(0.5)])),
        6 => ("max_completion_tokens", dice.pick(&[json!(0), json!(-5), json!("x")])),
        7 => ("min_tokens", dice.pick(&[json!(-1), json!("x"), json!(0.5), json!([])])),
        8 => ("stop", dice.pick(&[json!(5), json!([5]), json!(""), json!(vec!["s"; 5])])),
        9 => ("stop", json!("s".repeat(257 + dice.below(500)))),
        10 => (
            "stop_token_ids",
            dice.pick(&[json!([256]), json!([-1]), json!("x"), json!(vec![1; 65])]),
        ),
        11 => (
            "logit_bias",
            dice.pick(&[json!({"999": 1}), json!({"-1": 1}), json!({"a": 1}), json!([1])]),
        ),
        12 => {
            ("logit_bias", dice.pick(&[json!({"1": 101}), json!({"1": -1e30}), json!({"1": "x"})]))
        }
        13 => {
            ("logit_bias", (0..1025 + dice.below(99)).map(|i| (i.to_string(), json!(1))).collect())
        }
        14 => ("presence_penalty", dice.pick(&odd)),
        15 => ("frequency_penalty", dice.pick(&odd)),
        16 => ("repetition_penalty", dice.pick(&[json!(0), json!(-1), json!("x"), json!(1e39)])),
        17 => ("seed", dice.pick(&[json!("x"), json!(0.5), json!([]), json!({})])),
        18 => ("stream", dice.pick(&[json!("yes"), json!(1), json!([])])),
        19 => ("priority", dice.pick(&[json!("high"), json!(0.5), json!(1u64 << 40)])),
        20 => ("speculative", dice.pick(&[json!("yes"), json!(1), json!([])])),
        21 => ("speculative_depth", dice.pick(&[json!(-1), json!("x"), json!(0.5)])),
        22 if chat => {
            ("messages", dice.pick(&[json!([]), json!("x"), json!([5]), json!([{"content": "x"}])]))
        }
        22 => {
            ("prompt", dice.pick(&[json!(""), json!([]), json!([256]), json!([[]]), json!([-1])]))
        }
        23 if chat => ("logprobs", dice.pick(&text_like[..2])),
        23 => ("logprobs", dice.pick(&[json!(1e30), json!(-1), json!(1u64 << 40), json!(-1e30)])),
        24 if chat => ("top_logprobs", dice.pick(&[json!(21), json!(-1), json!("x")])),
        24 => ("prompt", json!("x".repeat(256 + dice.below(9000)))),
        _ => {
            // Half a body, bytes that are no text, or too deep.
            let text = body.to_string();
            let body = match dice.below(4) {
                0 => text[..dice.below(text.len())].to_owned(),
                1 => format!("{text}{}", dice.pick(&["}", "x", ",", "\u{0}"])),
                2 => format!("{{\"x\": {}", "[".repeat(65 + dice.below(9000))),
                _ => text.replace("\"x\"", "\"\\ud800\""),
            };
            return (path, body, None);
        }
    };
    body[field] = value;
    if field == "top_logprobs" {
        body["logprobs"] = json!(true);
    }
    (path, body.to_string(), Some(field))
}

#[test]
fn malformed_requests_get_their_status_and_reach_no_engine() {
    let server = Server::start(Setup::usual());
    let mut dice = Dice::new(16);
    let count = scaled(6_000, 60_000);
    let mut socket = server.connect();
    for nth in 0..count {
        let (path, body, field) = malformed(&mut dice);
        let request = post(path, &body).replace("connection: close\r\n", "");
        socket.write_all(request.as_bytes()).expect("the server reads");
        let answer = one_answer(&mut socket);
        assert_eq!(answer.status, 400, "request {nth}: {body}\n{answer:?}");
        let error = &answer.json()["error"];
        let message = error["message"].as_str().expect("a sentence");
        // Of a list or an object the part is named.
        let named = error["param"].as_str().and_then(|param| param.split(['.', '[']).next());
        assert!(field.is_none() || named == field, "request {nth}: {body}\n{answer:?}");
        assert!(!message.contains("untagged"), "{message}");
    }
    let (totals, now) = (server.handle.totals(), server.handle.snapshot());
    assert_eq!((totals.steps, now.n_live, now.n_waiting), (0, 0, 0));
    assert_eq!(server.complete(&json!({"prompt": "x"})).status, 200);
}

#[test]
fn heads_and_bodies_have_their_sizes() {
    let mut setup = Setup::usual();
    setup.options.body_max = 1000;
    let server = Server::start(setup);
    let head = "GET /version HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    let with = |more: &str| server.raw(format!("{head}{more}\r\n").as_bytes()).status;
    assert_eq!(with(""), 200);
    assert_eq!(with(&format!("x: {}\r\n", "y".repeat(20 << 10))), 431);
    assert_eq!(with(&"x: y\r\n".repeat(100)), 431);
    for line in
        ["nonsense\r\n\r\n", "GET\r\n\r\n", "GET /version SPDY/9\r\n\r\n", "\u{1}\u{2}\r\n\r\n"]
    {
        let status = server.raw(line.as_bytes()).status;
        assert!(status == 400 || status == 0, "{line:?}: {status}");
    }
    assert_eq!(server.complete(&json!({"prompt": "x".repeat(1000)})).status, 413);
    let lies = "POST /tokenize HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n{";
    assert_eq!(server.raw(lies.as_bytes()).status, 413);
    // A body that breaks off is no body that is too large.
    let chunks = "POST /tokenize HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
                  transfer-encoding: chunked\r\n\r\nzz\r\n";
    assert_eq!(server.raw(chunks.as_bytes()).status, 400);
    assert_eq!(server.handle.totals().steps, 0);
}

/// What an answer may take of the server's memory is known before it is begun.
#[test]
fn log_probabilities_have_their_room() {
    let mut setup = Setup { step: Duration::from_millis(5), ..Setup::usual() };
    setup.options.scores_max = 2000;
    let server = Server::start(setup);
    let asked = |n: usize, logprobs: u32, stream: bool| {
        json!({"prompt": "x", "n": n, "max_tokens": 100, "logprobs": logprobs, "stream": stream,
            "ignore_eos": true})
    };
    let alone = server.complete(&asked(1, 20, false));
    assert_eq!(alone.json()["error"]["param"], "logprobs", "{alone:?}");
    assert_eq!((alone.status, server.handle.totals().steps), (400, 0));
    for stream in [true, false] {
        std::thread::scope(|scope| {
            let first = scope.spawn(|| server.complete(&asked(2, 7, stream)));
            while server.handle.snapshot().n_live == 0 {
                std::thread::yield_now();
            }
            let second = server.complete(&asked(1, 7, false));
            assert!(second.status == 429 && second.head.contains("retry-after"), "{second:?}");
            assert_eq!(server.complete(&json!({"prompt": "x", "max_tokens": 1})).status, 200);
            assert_eq!(first.join().expect("an answer").status, 200);
        });
        assert_eq!(server.complete(&asked(1, 7, false)).status, 200, "the room came back");
    }
}

/// What nobody waits for any more takes neither time nor memory.
#[test]
fn bodies_of_clients_that_left_are_not_turned_into_tokens() {
    let server = Server::start(Setup::usual());
    let request = post("/tokenize", &json!({"prompt": "slow"}).to_string());
    let ask = |_| {
        let mut socket = server.connect();
        socket.write_all(request.as_bytes()).expect("it reads");
        socket
    };
    let clients: Vec<_> = (0..200).map(ask).collect();
    let n_turned = || SLOW.load(Ordering::Relaxed);
    while n_turned() < echo_serve::PARSERS {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Time for the others to be taken in.
    std::thread::sleep(Duration::from_millis(60));
    drop(clients);
    assert_eq!(server.post("/tokenize", &json!({"prompt": "x"})).status, 200);
    let turned = n_turned();
    assert!(turned < 100, "{turned} of 200");
}

#[test]
fn long_lists_are_refused_before_they_are_copied() {
    let server = Server::start(Setup::usual());
    let long = vec![1; 200_000];
    let answer = server.complete(&json!({"prompt": [long, long], "n": 8}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("prompt")));
    let answer = server.post("/detokenize", &json!({"tokens": long}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("tokens")));
    let many = vec![0; 500_000];
    assert_eq!(server.complete(&json!({"prompt": "x", "tools": many})).status, 400);
    assert_eq!(server.handle.totals().steps, 0);
}

#[test]
fn clients_that_do_not_go_on_are_turned_away_and_disturb_nobody() {
    let deadline = Duration::from_millis(1500);
    let usual = Setup::usual();
    let options =
        ServeOptions { head_deadline: deadline, body_deadline: deadline, ..usual.options };
    let server = Server::start(Setup { options, ..usual });
    let count = scaled(150, 900);
    let start = Instant::now();
    let half = post("/tokenize", "{\"prompt\": \"x\"}").replace("\"x\"}", "");
    // Each says its part at once: connecting to all takes longer than the first may be silent.
    let open = |i: usize| {
        let mut socket = server.connect();
        let sent = ["", "GET /version HTTP/1.1\r\nhost:", &half][i % 3];
        socket.write_all(sent.as_bytes()).expect("the server reads");
        socket
    };
    let mut sockets: Vec<_> = (0..count).map(open).collect();
    let begun = start.elapsed();
    let mut served = 0;
    while start.elapsed() < begun + deadline / 2 {
        assert_eq!(server.complete(&json!({"prompt": "x", "max_tokens": 4})).status, 200);
        served += 1;
    }
    assert!(served > 5, "only {served} requests were served beside {count} idle connections");
    for (i, socket) in sockets.iter_mut().enumerate() {
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        if i % 3 == 2 {
            assert_eq!(Answer::new(&said).status, 408, "half a body");
        }
    }
    let took = start.elapsed();
    assert!(took < begun + deadline + Duration::from_secs(8), "reaped only after {took:?}");
}

#[test]
fn limits_on_connections_hold() {
    let mut setup = Setup::usual();
    setup.options.connections_max = 3;
    let server = Server::start(setup);
    let idle: Vec<_> = (0..3).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(100));
    let mut waiting = server.connect();
    waiting.write_all(get("/version").as_bytes()).expect("the system takes it");
    waiting.set_read_timeout(Some(Duration::from_millis(300))).expect("a socket");
    assert!(waiting.read(&mut [0; 1]).is_err(), "a fourth connection was served");
    drop(idle);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut said = Vec::new();
    let _ = waiting.read_to_end(&mut said);
    assert_eq!(Answer::new(&said).status, 200);
}

#[test]
fn a_server_without_a_key_stays_at_home() {
    let check = |address: &str, change: fn(&mut ServeOptions)| {
        let mut options = ServeOptions::new("sim");
        change(&mut options);
        options.check(address.parse().expect("an address")).map_err(|error| error.to_string())
    };
    assert_eq!(check("127.0.0.1:80", |_| ()), Ok(()));
    assert_eq!(check("[::1]:80", |_| ()), Ok(()));
    let refused = check("0.0.0.0:80", |_| ()).expect_err("anybody could come");
    assert!(refused.contains("set an API key"), "{refused}");
    assert_eq!(check("0.0.0.0:80", |o| o.insecure = true), Ok(()));
    assert_eq!(check("0.0.0.0:80", |o| o.api_keys = vec!["k".into()]), Ok(()));
    assert!(check("0.0.0.0:80", |o| o.api_keys = vec![String::new()]).is_err());
}

/// What a JSON value may hold is not all that a parser must bear.
#[test]
fn unknown_fields_are_accepted() {
    let server = Server::start(Setup::usual());
    let body: Value =
        json!({"prompt": "x", "user": "me", "metadata": {"a": [1, {}]}, "store": null});
    assert_eq!(server.complete(&body).status, 200);
}
