//! `echo-llm serve`: the model over HTTP.

mod args;
pub(crate) mod config;

pub(crate) use args::ServeArgs;

use crate::codec::ModelCodec;
use crate::setup::Loaded;
use crate::{MEMORY, assemble};
use anyhow::{Context, Result, bail};
use echo_model::template::Message;
use echo_runtime::Handle;
use echo_serve::{Codec, Listeners, PARSERS, Phase, serve};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The variable that may hold a key.
const KEY_VARIABLE: &str = "ECHO_API_KEY";
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

pub(crate) fn run(args: &ServeArgs) -> Result<()> {
    let loaded = Loaded::open(&args.engine)?;
    let key = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty());
    let mut options = args.options(&loaded.path, key)?;
    let address = address(args)?;
    options.check(address)?;
    // Bound first: a port that is taken is told at once, and early clients wait for the model.
    let socket = bind(address, "--port")?;
    let address = socket.local_addr()?;
    let watch = args.metrics_address.map(|at| bind(at, "--metrics-address")).transpose()?;
    let codec = Arc::new(ModelCodec::new(&loaded));
    let (engine, profile) =
        assemble::engine(&args.engine, loaded, args.max_num_seqs, args.engine_options())?;
    options.profile = profile;
    MEMORY.fill();
    let (handle, thread) = Handle::spawn(engine);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(PARSERS)
        .thread_keep_alive(FOR_EVER)
        .on_thread_start(make_storage)
        .enable_all()
        .build()?;
    make_storage();
    let parser = Arc::clone(&codec);
    let model = options.model.clone();
    runtime.block_on(async {
        start_parsers(&parser);
        let main = tokio::net::TcpListener::from_std(socket)?;
        let watch = watch.map(tokio::net::TcpListener::from_std).transpose()?;
        let (phase, seen) = watch::channel(Phase::Serve);
        tokio::spawn(signals(phase));
        tell!("serving {model} on http://{address}; Ctrl-C ends it");
        if let Some(watch) = &watch {
            tell!("metrics on http://{}/metrics", watch.local_addr()?);
        }
        serve(Listeners { main, watch }, handle.clone(), codec, options, seen).await;
        anyhow::Ok(())
    })?;
    // What a client left behind on a blocking thread may not hold the end up.
    runtime.shutdown_background();
    if thread.join().is_err() {
        bail!("the engine stopped by a bug; please report the message above");
    }
    tell!("stopped");
    Ok(())
}

/// Has what metrics keep for each thread made for this one. The C library takes memory for the
/// storage of a thread by itself, when it is first used, and ends the program where there is none.
fn make_storage() {
    drop(crossbeam::epoch::pin());
}

/// Starts the threads that make tokens of prompts, while there is memory for them and for what they
/// keep: each has something to do and to wait for, so that none takes two.
fn start_parsers(codec: &Arc<ModelCodec>) {
    for _ in 0..PARSERS {
        let codec = Arc::clone(codec);
        tokio::task::spawn_blocking(move || {
            // Nobody asked; a template that refuses it tells whoever asks next.
            let _ = codec.encode_chat(&[Message::new("user", "Hello")]);
            std::thread::sleep(Duration::from_millis(50));
        });
    }
}

/// Listens on `address`, which `flag` can change.
fn bind(address: SocketAddr, flag: &str) -> Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address)
        .with_context(|| format!("can't listen on {address}; choose another {flag}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn address(args: &ServeArgs) -> Result<SocketAddr> {
    let named = (args.host.as_str(), args.port).to_socket_addrs();
    let found = named.with_context(|| format!("--host {}: no such address", args.host))?.next();
    found.with_context(|| format!("--host {}: no such address", args.host))
}

/// The first signal lets running requests end, the second ends them.
async fn signals(phase: watch::Sender<Phase>) {
    let Ok(mut signals) = Signals::new() else { return };
    signals.next().await;
    tell!("no new requests; running ones may end (a second signal ends them)");
    let _ = phase.send(Phase::Drain);
    signals.next().await;
    tell!("ending running requests");
    let _ = phase.send(Phase::Stop);
}

/// Ctrl-C and, where there is one, SIGTERM.
#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
