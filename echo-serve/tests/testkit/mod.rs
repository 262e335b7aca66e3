//! A server on the simulated model, and a client made of a socket.

use echo_core::{Budget, Limits, Plan, Solver, SuperTreeView, Token, Vocab};
use echo_gate::Always;
use echo_model::sim::{ByteVocab, SimDraft, SimDrafter, SimLaw, SimOptions, SimTarget};
use echo_model::template::Message;
use echo_runtime::{Engine, Handle, Options, Parts};
use echo_serve::{Codec, ServeOptions, serve};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Letters as tokens; a template that panics at the word `panic`.
struct Bytes(ByteVocab);

impl Codec for Bytes {
    fn vocab(&self) -> &dyn Vocab {
        &self.0
    }

    fn encode(&self, text: &str) -> Result<Vec<Token>, String> {
        assert!(!text.contains("panic"), "a tokenizer with a bug");
        Ok(text.bytes().map(Token::from).collect())
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Vec<Token>, String> {
        let turns: Vec<String> =
            messages.iter().map(|m| format!("{}: {}\n", m.role, m.content)).collect();
        self.encode(&turns.concat())
    }
}

/// Nodes in order while the budget lasts.
struct Greedy;

impl Solver for Greedy {
    fn choose(&mut self, tree: SuperTreeView<'_>, budget: Budget<'_>, plan: &mut Plan) {
        let mut drafted = [0; 64];
        for n in tree.roots()..tree.len() {
            let drafted = &mut drafted[tree.seq[n] as usize];
            let fits = plan.len() < budget.rows && *drafted < budget.tree_max;
            if fits && plan.contains(tree.parent[n] as usize) {
                plan.keep(n);
                *drafted += 1;
            }
        }
    }
}

/// A server on a thread of its own; it is drained and its engine audited at the end.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    threads: Option<(JoinHandle<()>, JoinHandle<Engine>)>,
}

impl Server {
    pub(crate) fn start(options: ServeOptions, queue_max: usize) -> Self {
        let limits = Limits { seqs_max: 4, ..Limits::usual(4, 256) };
        let law = SimLaw { seed: 3, vocab: 256, spread: 1.5, ties: 0.05 };
        let (kv_slots, rows_max) = (limits.kv_slots, limits.rows_max);
        let context_max = limits.context_max;
        let target = SimTarget::new(SimOptions { law, kv_slots, rows_max, context_max });
        let draft = SimDraft { law, agreement: vec![0.8; 5], silence: 0.0, unruly: 0.0 };
        let parts = Parts {
            target: Box::new(target),
            drafter: Box::new(SimDrafter::new(draft)),
            gate: Box::new(Always),
            solver: Box::new(Greedy),
            vocab: Arc::new(ByteVocab::default()),
        };
        let options_of_engine = Options { queue_max, ..Options::default() };
        let engine = Engine::new(parts, limits, options_of_engine).expect("limits are legal");
        let (handle, engine) = Handle::spawn(engine);
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        socket.set_nonblocking(true).expect("a socket");
        let address = socket.local_addr().expect("a bound socket");
        let (stop, stopped) = oneshot::channel();
        let served = handle.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(socket).expect("a socket");
                let codec = Arc::new(Bytes(ByteVocab::default()));
                let stop = async { drop(stopped.await) };
                serve(listener, served, codec, options, stop).await;
            });
        });
        Server { address, handle, stop: Some(stop), threads: Some((server, engine)) }
    }

    /// Tells the server to stop; returns at once.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// The status and the rest of the answer to a request as it is on the wire.
    pub(crate) fn raw(&self, request: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        socket.write_all(request.as_bytes()).expect("the server reads");
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    }

    pub(crate) fn post_text(&self, path: &str, body: &str) -> (u16, String) {
        self.raw(&post(path, body))
    }

    /// The status and the JSON body of the answer.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = self.post_text(path, &body.to_string());
        let body = answer.split_once("\r\n\r\n").expect("an answer has a head").1;
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }
}

/// A request on the wire.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let (server, engine) = self.threads.take().expect("it is dropped once");
        let ended = (server.join(), engine.join());
        if !std::thread::panicking() {
            ended.0.expect("the server ends well");
            let engine = ended.1.expect("the engine ends well");
            assert!(engine.is_idle());
            engine.audit();
        }
    }
}
