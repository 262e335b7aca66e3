//! What the routes answer, on the simulated model over real sockets.

use crate::testkit::{BROKEN, Server, Setup, events, post};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{Duration, Instant};

fn server() -> Server {
    Server::start(Setup::usual())
}

#[test]
fn status_routes_answer() {
    let server = server();
    let paths = ["/health", "/ready", "/version", "/v1/models", "/metrics", "/live", "/"];
    for path in paths {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.get("/v1/models").json()["data"][0]["id"], "sim");
    assert_eq!(server.get("/nowhere").status, 404);
    assert_eq!(server.get("/v1/completions").status, 405);
}

/// The description names every route, and every field of a request.
#[test]
fn the_description_is_complete() {
    let description = server().get("/openapi.json").json();
    let mut told = Vec::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        told.extend(
            methods.as_object().expect("methods").keys().map(|m| (m.clone(), path.clone())),
        );
    }
    let mut there: Vec<_> =
        echo_serve::routes().map(|(m, path)| (m.to_owned(), path.to_owned())).collect();
    told.sort();
    there.sort();
    assert_eq!(told, there);
    let fields = |name: &str| -> Vec<String> {
        let properties = &description["components"]["schemas"][name]["properties"];
        properties.as_object().expect("fields").keys().cloned().collect()
    };
    let chat: Vec<_> = fields("Sampling").into_iter().chain(fields("ChatRequest")).collect();
    let wire = include_str!("../../src/wire.rs");
    let generate = wire.split_once("struct Generate {").expect("it is there").1;
    let generate = generate.split_once("\n}").expect("it ends").0;
    let known = generate.lines().filter_map(|line| {
        let field = line.trim().strip_prefix("pub(crate) ")?;
        Some(field.split_once(':')?.0.to_owned())
    });
    let mut known: Vec<_> = known.collect();
    let mut told = chat;
    told.extend(fields("CompletionRequest"));
    told.sort();
    told.dedup();
    known.sort();
    assert_eq!(told, known);
}

#[test]
fn text_is_the_same_streamed_or_not_and_drafted_or_not() {
    let server = server();
    let mut body = json!({"prompt": "hello", "max_tokens": 40, "seed": 7, "n": 2});
    let answer = server.complete(&body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let plain = answer.json();
    assert_eq!(plain["usage"]["completion_tokens"], 80);
    assert_eq!(plain["usage"]["prompt_tokens"], 5);
    let record = &plain["choices"][0]["speculative_decoding"];
    assert!(record["accepted"].as_u64() > Some(0), "{record}");
    let depths = record["per_depth"].as_array().expect("depths");
    let sum = |name: &str| depths.iter().filter_map(|depth| depth[name].as_u64()).sum::<u64>();
    assert_eq!(record["accepted"], sum("accepted"));
    assert_eq!(record["verified"], sum("verified"));
    let histogram = record["acceptance_histogram"].as_object().expect("a histogram");
    let steps: u64 = histogram.values().filter_map(Value::as_u64).sum();
    assert_eq!(record["steps"], steps);
    body["speculative"] = json!(false);
    let undrafted = server.complete(&body).json();
    assert_eq!(undrafted["choices"][0]["speculative_decoding"]["verified"], 0);
    body["speculative"] = json!(true);
    body["speculative_weight"] = json!(0);
    let refused = server.complete(&body);
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &json!("speculative_weight"))
    );
    body["speculative_weight"] = json!(2.5);
    body["speculative_depth"] = json!(1);
    let shallow = server.complete(&body).json();
    let depths = &shallow["choices"][0]["speculative_decoding"]["per_depth"];
    assert_eq!(depths.as_array().map(Vec::len), Some(1), "{depths}");
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = events(&server.complete(&body));
    assert_eq!(events.last().expect("usage")["usage"], plain["usage"]);
    for index in 0..2 {
        let choices = events.iter().filter_map(|event| event["choices"].get(0));
        let own = choices.filter(|choice| choice["index"] == index);
        let text: String = own.filter_map(|choice| choice["text"].as_str()).collect();
        assert_eq!(plain["choices"][index]["text"], text);
        assert_eq!(undrafted["choices"][index]["text"], text);
        assert_eq!(shallow["choices"][index]["text"], text);
    }
    assert_ne!(plain["choices"][0]["text"], plain["choices"][1]["text"]);
}

#[test]
fn a_chat_streams_its_role_first_and_its_reason_last() {
    let server = server();
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "seed": 1,
        "logprobs": true, "top_logprobs": 2, "return_token_ids": true});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let whole = answer.json();
    assert_eq!(whole["choices"][0]["token_ids"].as_array().map(Vec::len), Some(9));
    let logprobs = whole["choices"][0]["logprobs"]["content"].as_array().expect("logprobs");
    assert_eq!(logprobs.len(), 9);
    assert_eq!(logprobs[0]["top_logprobs"].as_array().map(Vec::len), Some(2));
    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let events = events(&server.post("/v1/chat/completions", &streamed));
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    let last = &events.last().expect("an end")["choices"][0];
    assert_eq!(last["finish_reason"], "length");
    let pieces = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str());
    assert_eq!(whole["choices"][0]["message"]["content"], pieces.collect::<String>());
}

/// What each parameter is for shows in the answer.
#[test]
fn parameters_do_what_they_say() {
    let server = server();
    let ask = |more: Value| {
        let mut body = json!({"prompt": "hello", "max_tokens": 30, "seed": 7});
        for (name, value) in more.as_object().expect("fields") {
            body[name] = value.clone();
        }
        let answer = server.complete(&body);
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        answer.json()["choices"][0].clone()
    };
    let usual = ask(json!({"return_token_ids": true}));
    let ids = usual["token_ids"].as_array().expect("ids").clone();
    assert_eq!(ids.len(), 30);
    for change in [
        json!({"seed": 8}),
        json!({"temperature": 0}),
        json!({"top_k": 1}),
        json!({"top_p": 0.01}),
        json!({"min_p": 0.9}),
        json!({"logit_bias": {"97": 100}}),
    ] {
        assert_ne!(ask(change.clone())["text"], usual["text"], "{change} changed nothing");
    }
    assert_eq!(ask(json!({"logit_bias": {"97": 100}}))["text"], "a".repeat(30));
    let pushed = json!({"97": 12});
    for penalty in ["presence_penalty", "frequency_penalty", "repetition_penalty"] {
        let with = ask(json!({"logit_bias": pushed, penalty: 2.0}));
        assert_ne!(with["text"], ask(json!({"logit_bias": pushed}))["text"], "{penalty}");
    }
    assert_eq!(ask(json!({"temperature": 0}))["text"], ask(json!({"top_k": 1}))["text"]);
    let stopped = ask(json!({"stop_token_ids": [ids[4]], "return_token_ids": true}));
    assert_eq!(stopped["finish_reason"], "stop");
    let at = ids.iter().position(|id| *id == ids[4]).expect("it was just taken");
    assert_eq!(stopped["token_ids"].as_array(), Some(&ids[..=at].to_vec()));
    let later = ask(json!({
        "stop_token_ids": [ids[4]], "min_tokens": at + 2, "return_token_ids": true
    }));
    assert!(later["token_ids"].as_array().expect("ids").len() > at + 1, "{later}");
    let text = usual["text"].as_str().expect("text");
    let middle: String = text.chars().skip(3).take(2).collect();
    let stop = ask(json!({"stop": middle}));
    assert_eq!(Some(stop["text"].as_str().expect("text")), text.split(&middle).next());
    let kept = ask(json!({"stop": [middle], "include_stop_str_in_output": true}));
    assert!(kept["text"].as_str().expect("text").ends_with(&middle));
}

#[test]
fn what_is_wrong_is_named() {
    let server = server();
    let wrong = [
        (json!({}), "prompt"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": [999]}), "prompt"),
        (json!({"prompt": "x".repeat(300)}), "prompt"),
        (json!({"prompt": "x".repeat(5000)}), "prompt"),
        (json!({"prompt": "x", "n": 9}), "n"),
        (json!({"prompt": "x", "n": 0}), "n"),
        (json!({"prompt": "x", "logprobs": "many"}), "logprobs"),
        (json!({"prompt": "x", "logit_bias": {"a": 1}}), "logit_bias"),
        (json!({"prompt": "x", "logit_bias": {"1": 101}}), "logit_bias"),
        (json!({"prompt": "x", "stop": ["a", "b", "c", "d", "e"]}), "stop"),
        (json!({"prompt": "x", "stop_token_ids": [999]}), "stop_token_ids"),
        (json!({"prompt": "x", "max_completion_tokens": 0}), "max_completion_tokens"),
        (json!({"prompt": "x", "temperature": "hot"}), "temperature"),
        (json!({"prompt": "x", "stop": [5]}), "stop"),
        (json!({"prompt": "x", "tools": [{}]}), "tools"),
        (json!({"prompt": "x", "functions": [{}]}), "functions"),
        (json!({"prompt": "x", "grammar": "root ::= x"}), "grammar"),
        (json!({"prompt": "x", "guided_json": {"type": "object"}}), "guided_json"),
        (json!({"prompt": "x", "response_format": {"type": "json_object"}}), "response_format"),
        (json!({"prompt": "x", "response_format": {}}), "response_format"),
    ];
    for (body, param) in wrong {
        let answer = server.complete(&body);
        let named = &answer.json()["error"]["param"];
        assert_eq!((answer.status, named), (400, &json!(param)), "{body}: {answer:?}");
    }
    for (role, content, param) in [
        ("user", "x".repeat(300), "messages"),
        // What the template prints of a role is text as well.
        (&*"x".repeat(5000), String::new(), "messages"),
    ] {
        let chat = json!({"messages": [{"role": role, "content": content}]});
        let answer = server.post("/v1/chat/completions", &chat);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)));
    }
    let chat = json!({"messages": [{"role": "user", "content": 5}]});
    let said = server.post("/v1/chat/completions", &chat).json()["error"]["message"].clone();
    let said = said.as_str().expect("a sentence");
    assert!(said.starts_with("messages[0].content: must be a text or a list of parts"), "{said}");
    assert_eq!(server.raw(post("/v1/completions", "{").as_bytes()).status, 400);
    assert_eq!(server.complete(&json!({"prompt": "x", "model": "y"})).status, 404);
    // A tokenizer or a template that panics fails its own request and no other.
    assert_eq!(server.complete(&json!({"prompt": "panic"})).status, 500);
    let chat = json!({"messages": [{"role": "user", "content": "panic"}], "stream": true});
    assert_eq!(server.post("/v1/chat/completions", &chat).status, 500);
    assert_eq!((server.handle.totals().steps, server.handle.snapshot().n_live), (0, 0));
    assert_eq!(server.complete(&json!({"prompt": "x"})).status, 200);
    assert_eq!(server.handle.totals().committed, 16);
    let none = json!({"prompt": "x", "tools": [], "functions": null, "grammar": ""});
    assert_eq!(server.complete(&none).status, 200);
}

#[test]
fn the_longest_answer_is_so_for_those_that_name_no_length_too() {
    let mut setup = Setup::usual();
    setup.options.tokens_max = Some(5);
    let server = Server::start(setup);
    for body in
        [json!({"prompt": "x", "ignore_eos": true}), json!({"prompt": "x", "max_tokens": 5})]
    {
        let usage = &server.complete(&body).json()["usage"];
        assert_eq!(usage["completion_tokens"], 5, "{body}");
    }
    assert_eq!(server.complete(&json!({"prompt": "x", "max_tokens": 6})).status, 400);
}

#[test]
fn a_key_that_is_given_twice_is_one_clients() {
    let mut setup = Setup { queue_max: 0, ..Setup::usual() };
    setup.options.api_keys = vec!["key".to_owned(); 2];
    let server = Server::start(setup);
    let body = json!({"prompt": "x", "n": 4}).to_string();
    let request = post("/v1/completions", &body);
    let request = request.replace("host:", "authorization: Bearer key\r\nhost:");
    assert_eq!(server.raw(request.as_bytes()).status, 200);
}

#[test]
fn more_answers_than_there_can_be_are_no_matter_of_waiting() {
    let server = Server::start(Setup { queue_max: 0, ..Setup::usual() });
    let answer = server.complete(&json!({"prompt": "x", "n": 5}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("n")), "{answer:?}");
}

#[test]
fn tokens_and_text_go_both_ways() {
    let server = server();
    let tokens = server.post("/tokenize", &json!({"prompt": "hé"})).json();
    assert_eq!(tokens["tokens"], json!([104, 195, 169]));
    assert_eq!((&tokens["count"], &tokens["max_model_len"]), (&json!(3), &json!(256)));
    let text = server.post("/detokenize", &json!({"tokens": [104, 195, 169]})).json();
    assert_eq!(text["prompt"], "hé");
    let chat = json!({"messages": [{"role": "user", "content": "x"}]});
    assert_eq!(server.post("/tokenize", &chat).json()["count"], 8);
    assert_eq!(server.post("/tokenize", &json!({})).status, 400);
    assert_eq!(server.post("/detokenize", &json!({"tokens": [999]})).status, 400);
}

#[test]
fn a_full_queue_turns_away_and_says_when_to_come_again() {
    let server =
        Server::start(Setup { queue_max: 0, step: Duration::from_millis(100), ..Setup::usual() });
    let body = json!({"prompt": "x", "max_tokens": 200, "stream": true, "n": 4});
    let mut socket = server.connect();
    socket.write_all(post("/v1/completions", &body.to_string()).as_bytes()).expect("it reads");
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.handle.snapshot().n_live < 4 {
        assert!(Instant::now() < deadline, "nothing began");
        std::thread::sleep(Duration::from_millis(1));
    }
    let answer = server.complete(&json!({"prompt": "x"}));
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    drop(socket);
}

#[test]
fn an_answer_that_cannot_begin_in_time_is_given_up() {
    let mut setup = Setup { step: Duration::from_millis(50), ..Setup::usual() };
    setup.options.queue_deadline = Duration::from_millis(200);
    let server = Server::start(setup);
    let long = json!({"prompt": "x", "max_tokens": 100, "n": 4, "stream": true});
    let mut socket = server.connect();
    socket.write_all(post("/v1/completions", &long.to_string()).as_bytes()).expect("it reads");
    while server.handle.snapshot().n_live < 4 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let answer = server.complete(&json!({"prompt": "x"}));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.handle.snapshot().n_waiting > 0 {
        assert!(Instant::now() < deadline, "it still waits");
    }
}

#[test]
fn an_engine_whose_device_is_gone_is_not_ready() {
    let server = server();
    assert_eq!(server.get("/ready").status, 200);
    server.pace.set(BROKEN);
    // Nothing of a stream was sent yet, so that its status can say so.
    for stream in [true, false] {
        let answer = server.complete(&json!({"prompt": "x", "stream": stream}));
        assert!(answer.status >= 500, "{answer:?}");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.get("/ready").status != 503 || server.get("/health").status != 503 {
        assert!(Instant::now() < deadline, "it says that it is well");
    }
}

/// The scores of a prompt are, bit for bit, those its tokens had when they were said.
#[test]
fn an_echoed_prompt_is_scored_as_it_was_said() {
    let server = server();
    let ask = json!({"prompt": "hello", "max_tokens": 40, "seed": 7, "logprobs": 3,
        "return_token_ids": true});
    let said = server.complete(&ask).json()["choices"][0].clone();
    let prompt: Vec<Value> = "hello".bytes().map(|byte| json!(byte)).collect();
    let whole = [prompt, said["token_ids"].as_array().expect("ids").clone()].concat();
    for max_tokens in [0, 1] {
        let body = json!({"prompt": [whole], "max_tokens": max_tokens, "echo": true,
            "logprobs": 3, "temperature": 0, "seed": 1});
        let answer = server.complete(&body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        let choice = &answer["choices"][0];
        let list = |name: &str| choice["logprobs"][name].as_array().expect("a list").clone();
        for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
            assert_eq!(list(name).len(), 45 + max_tokens, "{name}");
            if name != "text_offset" {
                let own = said["logprobs"][name].as_array().expect("a list");
                assert_eq!(list(name)[5..45], own[..], "{name}");
            }
        }
        assert_eq!(list("token_logprobs")[0], Value::Null);
        assert!(list("token_logprobs")[1..].iter().all(Value::is_f64));
        assert!(choice["text"].as_str().expect("text").starts_with("hello"));
        assert_eq!(answer["usage"]["completion_tokens"], max_tokens);
        let mut streamed = body.clone();
        streamed["stream"] = json!(true);
        let events = events(&server.complete(&streamed));
        let pieces = events.iter().map(|event| &event["choices"][0]);
        let text: String = pieces.clone().filter_map(|piece| piece["text"].as_str()).collect();
        assert_eq!(choice["text"], text);
        let offsets = pieces.filter_map(|piece| piece["logprobs"]["text_offset"].as_array());
        assert_eq!(choice["logprobs"]["text_offset"], json!(offsets.flatten().collect::<Vec<_>>()));
    }
    let plain =
        server.complete(&json!({"prompt": "hello", "echo": true, "max_tokens": 3, "seed": 7}));
    let text = plain.json()["choices"][0]["text"].as_str().expect("text").to_owned();
    let said = said["text"].as_str().expect("text");
    assert_eq!(text, format!("hello{}", said.chars().take(3).collect::<String>()));
}
