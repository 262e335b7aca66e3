//! A server in a process of its own.

use crate::support;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A running `echo-llm serve` on the default model.
pub(crate) struct Server {
    process: Child,
    /// Host and port.
    pub(crate) address: String,
}

impl Server {
    /// Skips, which is printed, where the model is not there.
    pub(crate) fn start(test: &str, flags: &[&str]) -> Option<Self> {
        support::default_model(test)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_echo-llm"));
        command.args(["serve", "--port", "0"]).args(flags).stderr(Stdio::piped());
        // glibc then keeps little of what is free, and a limit on memory is soon met.
        command.env("MALLOC_TRIM_THRESHOLD_", "131072");
        let mut process = command.spawn().expect("the program was built");
        let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        let said = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("serving "));
        let said = said.expect("it says where it serves");
        let address = said.split("http://").nth(1).and_then(|rest| rest.split(';').next());
        let address = address.expect("an address").to_owned();
        // Whoever does not read what is said stops who says it.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| eprintln!("{line}"));
        });
        Some(Server { process, address })
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().expect("kill is there");
        assert!(sent.success());
    }

    /// Bytes of its own that the process may write to.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("a process of Linux");
        let size = status.lines().find_map(|line| line.strip_prefix("VmData:"));
        let size = size.and_then(|size| size.trim().strip_suffix("kB")).expect("its size");
        size.trim().parse::<u64>().expect("a number") << 10
    }

    /// Has the system refuse memory to the process beyond `bytes`.
    pub(crate) fn limit_memory(&self, bytes: u64) {
        let (pid, limit) = (self.process.id().to_string(), format!("--data={bytes}"));
        let limited = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
        assert!(limited.expect("prlimit is there").success());
    }

    /// Waits for the end of the program.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A request with the answer still to be read.
    pub(crate) fn open(&self, body: &Value) -> TcpStream {
        let (body, address) = (body.to_string(), &self.address);
        let mut socket = TcpStream::connect(address).expect("it listens");
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\n");
        let head = format!("{head}connection: close\r\ncontent-length: {}", body.len());
        write!(socket, "{head}\r\n\r\n{body}").expect("it reads");
        socket
    }

    /// The answer to a question without a body, head and all.
    pub(crate) fn get(&self, path: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).expect("it listens");
        let host = &self.address;
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("it reads");
        let mut said = String::new();
        socket.read_to_string(&mut said).expect("text");
        said
    }

    /// The text of a whole answer.
    pub(crate) fn ask(&self, body: &Value) -> String {
        answer(self.open(body))
    }
}

/// The text of a whole answer.
pub(crate) fn answer(mut socket: TcpStream) -> String {
    let mut said = String::new();
    socket.read_to_string(&mut said).expect("text");
    let (head, body) = said.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200"), "{said}");
    let answer: Value = serde_json::from_str(body).expect("JSON");
    answer["choices"][0]["message"]["content"].as_str().expect("text").to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
