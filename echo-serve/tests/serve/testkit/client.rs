//! Requests and answers as they are on the wire.

use serde_json::Value;
use std::io::Read;
use std::net::TcpStream;

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if it said nothing.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn new(wire: &[u8]) -> Self {
        let text = String::from_utf8_lossy(wire);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        let chunked = head.contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Answer { status, head: head.to_lowercase(), body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }
}

/// A chunked body put together, as far as it came.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else { break };
        whole.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    whole
}

/// The events of a whole stream, without `[DONE]`, which must be the last.
pub(crate) fn events(answer: &Answer) -> Vec<Value> {
    let data: Vec<_> = answer.body.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
    let (last, events) = data.split_last().expect("a stream has events");
    assert_eq!(*last, "[DONE]");
    events.iter().map(|event| serde_json::from_str(event).expect("an event is JSON")).collect()
}

/// A request without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
}

/// A request with one.
pub(crate) fn post(path: &str, body: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

/// Reads one answer of a connection that goes on.
pub(crate) fn one_answer(socket: &mut TcpStream) -> Answer {
    let mut wire = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&wire);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|n| n.trim().parse().ok()).expect("a length");
            if body.len() >= length {
                return Answer::new(&wire);
            }
        }
        let n = socket.read(&mut piece).expect("the server answers");
        assert!(n > 0, "the server closed after {text:?}");
        wire.extend_from_slice(&piece[..n]);
    }
}
