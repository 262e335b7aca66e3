//! A server on the simulated model, and a client made of a socket.

mod client;
mod dice;
mod model;

pub(crate) use client::{Answer, events, get, one_answer, post};
pub(crate) use dice::{Dice, scaled};
pub(crate) use model::{BROKEN, Pace, SLOW, parts};

use echo_core::Limits;
use echo_runtime::{Engine, Handle, Options};
use echo_serve::{Listeners, Phase, ServeOptions, serve};
use model::Bytes;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// What kind of server a test wants.
pub(crate) struct Setup {
    pub(crate) options: ServeOptions,
    /// Sequences decoded at once.
    pub(crate) seqs: usize,
    pub(crate) queue_max: usize,
    pub(crate) has_memory: fn() -> bool,
    /// Time that every forward takes longer than it must.
    pub(crate) step: Duration,
    /// Whether it has a second listener for those who watch.
    pub(crate) has_watch: bool,
}

impl Setup {
    /// Four places, a long queue, forwards as fast as they are, and no wait at the end.
    pub(crate) fn usual() -> Self {
        let options = ServeOptions { ready_delay: Duration::ZERO, ..ServeOptions::new("sim") };
        Setup {
            options,
            seqs: 4,
            queue_max: 512,
            has_memory: || true,
            step: Duration::ZERO,
            has_watch: false,
        }
    }
}

/// A free port of this machine.
fn bind() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("a socket");
    let address = socket.local_addr().expect("a bound socket");
    (socket, address)
}

/// A server on a thread of its own; it is drained and its engine audited at the end.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Where it is watched.
    pub(crate) watch: Option<SocketAddr>,
    pub(crate) handle: Handle,
    pub(crate) pace: Pace,
    phase: watch::Sender<Phase>,
    threads: Option<(JoinHandle<()>, JoinHandle<Engine>)>,
}

impl Server {
    pub(crate) fn start(setup: Setup) -> Self {
        let Setup { options, seqs, queue_max, has_memory, step, has_watch } = setup;
        let limits = Limits { seqs_max: seqs, ..Limits::usual(seqs, 256) };
        let pace = Pace::new(step);
        let options_of_engine = Options { queue_max, has_memory, ..Options::default() };
        let engine = Engine::new(parts(&limits, &pace), limits, options_of_engine);
        let (handle, engine) = Handle::spawn(engine.expect("limits are legal"));
        let (socket, address) = bind();
        let watch = has_watch.then(bind);
        let watch_address = watch.as_ref().map(|(_, address)| *address);
        let (phase, seen) = watch::channel(Phase::Serve);
        let served = handle.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let listen = |s| tokio::net::TcpListener::from_std(s).expect("a socket");
                let watch = watch.map(|(socket, _)| listen(socket));
                let listeners = Listeners { main: listen(socket), watch };
                serve(listeners, served, Arc::new(Bytes::default()), options, seen).await;
            });
        });
        let threads = Some((server, engine));
        Server { address, watch: watch_address, handle, pace, phase, threads }
    }

    /// Tells the server how far to go; returns at once.
    pub(crate) fn go(&self, phase: Phase) {
        let _ = self.phase.send(phase);
    }

    /// Waits until the server has ended; the engine may still have its threads.
    pub(crate) fn wait(&mut self) {
        let (server, engine) = self.threads.take().expect("it is waited for once");
        let ended = (server.join(), engine.join());
        if !std::thread::panicking() {
            ended.0.expect("the server ends well");
            let engine = ended.1.expect("the engine ends well");
            assert!(engine.is_idle());
            engine.audit();
        }
    }

    /// A socket to the server.
    pub(crate) fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("the server listens");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        socket
    }

    /// The answer to a request as it is on the wire.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut socket = self.connect();
        // A server that has seen enough may close before all is written.
        let _ = socket.write_all(request);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        Answer::new(&answer)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.raw(get(path).as_bytes())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.raw(post(path, &body.to_string()).as_bytes())
    }

    pub(crate) fn complete(&self, body: &Value) -> Answer {
        self.post("/v1/completions", body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.pace.set(Duration::ZERO);
        self.go(Phase::Drain);
        if self.threads.is_some() {
            self.wait();
        }
    }
}
