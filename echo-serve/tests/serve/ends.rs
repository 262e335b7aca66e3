//! Clients that leave at any moment, readers that do not read, and servers that are told to end.

use crate::testkit::{Answer, Dice, Server, Setup, post, scaled};
use echo_serve::Phase;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Steps that may pass until a client's leaving is seen: the one that runs, and the next.
const STEPS_MAX: usize = 3;

fn slow(step_ms: u64) -> Setup {
    Setup { step: Duration::from_millis(step_ms), ..Setup::usual() }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// A long stream, and as much of its answer as it takes to see `n` events.
fn open_stream(server: &Server, n: usize, more: &Value) -> TcpStream {
    let mut body = json!({"prompt": "x", "max_tokens": 250, "stream": true, "ignore_eos": true,
        "return_token_ids": true});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let mut socket = server.connect();
    socket.write_all(post("/v1/completions", &body.to_string()).as_bytes()).expect("it reads");
    let (mut seen, mut piece) = (String::new(), [0; 512]);
    while seen.matches("data: ").count() < n {
        let read = socket.read(&mut piece).expect("an answer");
        assert!(read > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    socket
}

/// Leaves at one of six moments: half a head, half a body, in the queue, before the first token,
/// amid the answer, at its end.
fn leave(server: &Server, phase: usize, dice: &mut Dice) {
    let request = post("/v1/completions", &json!({"prompt": "xyz", "max_tokens": 99}).to_string());
    let head = request.find("\r\n\r\n").expect("a head");
    let send = |bytes: &[u8]| {
        let mut socket = server.connect();
        socket.write_all(bytes).expect("it reads");
        socket
    };
    match phase {
        0 => drop(send(&request.as_bytes()[..dice.below(head)])),
        1 => drop(send(&request.as_bytes()[..head + 4 + dice.below(20)])),
        2 => {
            let holders = open_stream(server, 1, &json!({"n": 4}));
            let socket = send(request.as_bytes());
            until("waiting", || server.handle.snapshot().n_waiting > 0);
            drop((socket, holders));
        }
        3 => {
            let socket = send(request.as_bytes());
            std::thread::sleep(Duration::from_micros(dice.below(3000) as u64));
            drop(socket);
        }
        4 => drop(open_stream(server, 1 + dice.below(4), &json!({}))),
        _ => drop(open_stream(server, 5, &json!({"max_tokens": 6}))),
    }
}

#[test]
fn whoever_leaves_is_forgotten_within_a_step_and_nobody_else_is_touched() {
    let server = Server::start(slow(2));
    let asked = json!({"prompt": "bystander", "max_tokens": 40, "seed": 5});
    let want = server.complete(&asked).json()["choices"][0]["text"].clone();
    let mut dice = Dice::new(18);
    for phase in 0..6 {
        let leavers = scaled(8, 200);
        std::thread::scope(|scope| {
            let bystander = scope.spawn(|| {
                for _ in 0..2 {
                    let answer = server.complete(&asked);
                    assert_eq!(answer.json()["choices"][0]["text"], want, "phase {phase}");
                }
            });
            for _ in 0..leavers {
                leave(&server, phase, &mut dice);
            }
            bystander.join().expect("the bystander is served");
        });
        let left = server.handle.totals().steps;
        until("an empty server", || {
            let now = server.handle.snapshot();
            now.n_live == 0 && now.n_waiting == 0
        });
        let steps = server.handle.totals().steps - left;
        assert!(steps <= STEPS_MAX, "phase {phase}: the last were forgotten after {steps} steps");
    }
}

#[test]
fn a_step_is_all_it_takes() {
    let server = Server::start(slow(30));
    for n in 1..=scaled(4, 20) {
        let socket = open_stream(&server, n % 3 + 1, &json!({"n": 4}));
        until("four answers", || server.handle.snapshot().n_live == 4);
        let before = server.handle.totals().steps;
        drop(socket);
        until("leaving", || server.handle.snapshot().n_live == 0);
        let steps = server.handle.totals().steps - before;
        assert!(steps <= STEPS_MAX, "{steps} steps ran for a client that was gone");
        // Without a cancel the answer would have had many more.
        assert!(before + steps < 200);
    }
}

#[test]
fn a_reader_that_does_not_read_holds_nobody_up() {
    let mut setup = Setup::usual();
    setup.options.stall_deadline = Duration::from_millis(400);
    let server = Server::start(setup);
    let mut stalled = connect_narrowly(&server);
    // Far more than the buffers between the two hold.
    let body = json!({"prompt": vec!["x"; 64], "max_tokens": 240, "stream": true, "logprobs": 20,
        "ignore_eos": true});
    let request = post("/v1/completions", &body.to_string());
    stalled.write_all(request.as_bytes()).expect("it reads");
    until("the answers' end", || {
        let now = server.handle.snapshot();
        now.totals.committed > 0 && now.n_live == 0 && now.n_waiting == 0
    });
    let start = Instant::now();
    assert_eq!(server.complete(&json!({"prompt": "x"})).status, 200);
    assert!(start.elapsed() < Duration::from_secs(5));
    // Its connection is given up: what it finds when it reads at last has no end.
    std::thread::sleep(Duration::from_millis(1500));
    let mut said = Vec::new();
    stalled.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let _ = stalled.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("[DONE]"), "it was never given up");
}

/// Streams that run while the server ends, and what they were told at last.
fn ended_streams(server: &Server, count: usize, max_tokens: usize) -> Vec<String> {
    let sockets: Vec<_> =
        (0..count).map(|_| open_stream(server, 1, &json!({"max_tokens": max_tokens}))).collect();
    server.go(Phase::Drain);
    let read = |mut socket: TcpStream| {
        let mut said = String::new();
        let _ = socket.read_to_string(&mut said);
        said
    };
    sockets.into_iter().map(read).collect()
}

#[test]
fn a_drain_lets_streams_end() {
    let mut server = Server::start(slow(3));
    let said = ended_streams(&server, 4, 60);
    for stream in said {
        assert!(stream.contains("data: [DONE]"), "{stream}");
        assert!(stream.contains("\"finish_reason\":\"length\""), "{stream}");
    }
    server.wait();
    assert!(!server.handle.is_open());
    assert!(TcpStream::connect(server.address).is_err());
}

/// A socket that holds little for a client that does not read yet.
fn connect_narrowly(server: &Server) -> TcpStream {
    let stream = tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let stream = socket.connect(server.address).await.expect("the server listens");
        stream.into_std().expect("a socket")
    });
    stream.set_nonblocking(false).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
    stream
}

#[test]
fn what_was_answered_before_a_drain_is_read_to_its_end() {
    let mut server = Server::start(Setup::usual());
    let mut socket = connect_narrowly(&server);
    // Far more than the buffers between the two hold.
    let body = json!({"prompt": vec!["x"; 64], "max_tokens": 240, "logprobs": 20,
        "ignore_eos": true});
    let request = post("/v1/completions", &body.to_string());
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut head = [0; 64];
    let read = socket.read(&mut head).expect("the answer begins");
    server.go(Phase::Drain);
    std::thread::sleep(Duration::from_millis(2500));
    let mut answer = head[..read].to_vec();
    socket.read_to_end(&mut answer).expect("the answer goes on");
    let answer = Answer::new(&answer);
    assert_eq!(answer.json()["choices"].as_array().map(Vec::len), Some(64));
    server.wait();
}

#[test]
fn what_a_drain_cuts_is_told_so() {
    let mut setup = slow(30);
    setup.options.drain_deadline = Duration::from_millis(300);
    let mut server = Server::start(setup);
    let start = Instant::now();
    for stream in ended_streams(&server, 3, 250) {
        assert!(stream.contains("the server stopped before"), "{stream}");
        assert!(!stream.contains("[DONE]"), "a cut looks like an end: {stream}");
    }
    server.wait();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn readiness_goes_first_and_a_second_word_ends_all() {
    let mut setup = slow(20);
    setup.options.ready_delay = Duration::from_millis(1500);
    let mut server = Server::start(setup);
    let mut socket = open_stream(&server, 1, &json!({}));
    server.go(Phase::Drain);
    until("unreadiness", || server.get("/ready").status == 503);
    // Whoever was sent here before that is still served.
    assert_eq!(server.complete(&json!({"prompt": "x", "max_tokens": 2})).status, 200);
    assert_eq!(server.get("/health").status, 200);
    until("a refusal", || {
        let answer = server.complete(&json!({"prompt": "x", "max_tokens": 2}));
        let refused = answer.status == 503;
        assert!(!refused || answer.head.contains("retry-after"), "{answer:?}");
        refused
    });
    assert_eq!(server.get("/ready").status, 503);
    let start = Instant::now();
    server.go(Phase::Stop);
    let mut rest = String::new();
    let _ = socket.read_to_string(&mut rest);
    assert!(rest.contains("the server stopped before"), "{rest}");
    server.wait();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn at_any_moment_an_end_leaves_no_stream_without_a_word() {
    let mut dice = Dice::new(81);
    for nth in 0..scaled(6, 50) {
        let mut setup = slow(2);
        let drain = Duration::from_millis([50, 2000][nth % 2]);
        setup.options.drain_deadline = drain;
        let mut server = Server::start(setup);
        let wait = Duration::from_millis(dice.below(150) as u64);
        let (clients, started) = (3, Instant::now());
        std::thread::scope(|scope| {
            let address = server.address;
            let readers: Vec<_> =
                (0..clients).map(|i| scope.spawn(move || until_refused(address, i))).collect();
            std::thread::sleep(wait);
            server.go(Phase::Drain);
            for reader in readers {
                reader.join().expect("each stream had an end");
            }
        });
        let told = Instant::now();
        server.wait();
        assert!(told.elapsed() < drain + Duration::from_secs(5), "run {nth}: {started:?}");
    }
}

/// Streams one answer after the other until the server takes none. Every stream that began ends.
fn until_refused(address: std::net::SocketAddr, client: usize) {
    let body = json!({"prompt": "x".repeat(client + 1), "max_tokens": 40, "stream": true});
    let request = post("/v1/completions", &body.to_string());
    while let Ok(mut socket) = TcpStream::connect(address) {
        let mut said = Vec::new();
        let sent = socket.write_all(request.as_bytes()).is_ok();
        let read = socket.read_to_end(&mut said).is_ok();
        let answer = Answer::new(&said);
        match answer.status {
            200 => {
                let ended = answer.body.contains("data: [DONE]");
                let told = answer.body.contains("\"error\"");
                assert!(ended != told, "neither an end nor an error, or both: {answer:?}");
            }
            503 => assert!(answer.head.contains("retry-after"), "{answer:?}"),
            // The listener closed with the connection still in its backlog: nothing had begun.
            0 => assert!(said.is_empty(), "{sent} {read} {answer:?}"),
            _ => panic!("{answer:?}"),
        }
        if answer.status != 200 {
            return;
        }
    }
}
