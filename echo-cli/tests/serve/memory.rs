//! A server that the system gives no more memory refuses what is new, answers what runs, and takes
//! requests again when there is memory.

use crate::question;
use crate::server::{Server, answer};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Bytes that the server may take on top of what it has and keeps back.
const ROOM: u64 = 2 << 20;
/// Requests for more than all of it, whose clients wait.
const CROWD: usize = 500;
const PATIENCE: Duration = Duration::from_secs(240);

#[test]
fn without_memory_new_requests_are_refused_and_running_ones_answered() {
    let Some(mut server) = Server::start("memory", &["--max-num-seqs", "4"]) else { return };
    let said = server.ask(&question(0, 300));
    server.limit_memory(server.memory() + ROOM);
    let running = server.open(&question(0, 300));
    let is_running = |line: &str| line.starts_with("echo_requests_running") && line.ends_with(" 1");
    wait_for("its place", || server.get("/metrics").lines().any(is_running));
    let crowd: Vec<_> = (1..=CROWD).map(|nth| server.open(&greedy(nth))).collect();
    wait_for("a refusal", || crowd.iter().any(is_refused));
    assert!(server.get("/health").contains(" 200 "), "it is alive");
    assert_eq!(answer(running), said);
    drop(crowd);
    wait_for("memory", || server.get("/ready").contains(" 200 "));
    assert_eq!(server.ask(&question(0, 300)), said);
    server.signal("-TERM");
    assert!(server.end().success());
}

/// A request for as many tokens as the context holds.
fn greedy(nth: usize) -> Value {
    let mut body = question(nth, 8000);
    body["ignore_eos"] = json!(true);
    body["stream"] = json!(true);
    // Counted, so that what it says takes memory twice.
    body["frequency_penalty"] = json!(0.1);
    body
}

/// Whether the answer has come and is a refusal for want of memory, with a time to try again.
fn is_refused(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).expect("a socket");
    let mut head = [0; 1024];
    match socket.peek(&mut head) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("the server is gone: {error}"),
        Ok(len) => {
            let said = String::from_utf8_lossy(&head[..len]);
            assert!(len > 0, "closed without a word");
            said.contains("there is no memory") && said.contains("retry-after")
        }
    }
}

fn wait_for(what: &str, mut is_there: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_there() {
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}
