//! The loop that takes connections, and the way it ends.

use crate::clients::Clients;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::parsers::Parsers;
use crate::patience::Patience;
use crate::peers::Peers;
use crate::phase::{Ending, Phase};
use crate::scores::Scores;
use crate::{App, Codec, ServeOptions, auth, id, routes};
use axum::Router;
use echo_runtime::Handle;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

/// Bytes and fields of a request's head at most.
const HEAD_MAX: (usize, usize) = (16 << 10, 64);
/// Connections of those who watch.
const WATCHERS_MAX: usize = 16;
/// Time between two tidyings of the metrics.
const TIDY: Duration = Duration::from_secs(5);
/// Time that is left for last words once running requests were cut.
const LAST_WORDS: Duration = Duration::from_millis(800);

/// Where a server listens.
pub struct Listeners {
    /// For clients.
    pub main: TcpListener,
    /// For those who watch it: `/metrics`, `/health` and `/ready` alone, without a key. No place of
    /// the clients' is taken by them, and none of theirs by clients.
    pub watch: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(main: TcpListener) -> Self {
        Listeners { main, watch: None }
    }
}

/// Serves on `listeners` until `phase` says otherwise, then ends in order: `/ready` says no;
/// requests are refused; running ones end and are read, or are told at the drain deadline (or by
/// [`Phase::Stop`]) that they are cut. Shuts the engine down.
pub async fn serve(
    listeners: impl Into<Listeners>,
    handle: Handle,
    codec: Arc<dyn Codec>,
    options: ServeOptions,
    phase: watch::Receiver<Phase>,
) {
    let Listeners { main, watch } = listeners.into();
    let options = Arc::new(options.called_by(main.local_addr().ok()));
    let (ending, seen) = watch::channel(Ending::NotYet);
    let places = handle.limits().seqs_max + handle.queue_max();
    // A key that is given twice is one client's.
    let mut known = BTreeSet::new();
    let digests = options.api_keys.iter().map(|key| auth::digest(key.as_bytes()));
    let keys: Arc<[_]> = digests.filter(|digest| known.insert(*digest)).collect();
    let app = App {
        metrics: Arc::new(Metrics::new(&handle, &options.model)),
        live: Live::new(&handle, options.profile.clone()),
        since: id::now_s(),
        handle,
        codec,
        clients: Arc::new(Clients::new(keys.len(), places)),
        keys,
        parsers: Arc::new(Parsers::new(options.queue_deadline)),
        scores: Arc::new(Scores::new(options.scores_max)),
        options,
        ending: seen,
    };
    let graceful = GracefulShutdown::new();
    let mut cut = phase.clone();
    let left = tokio::select! {
        () = take(&main, routes::router(app.clone()), &app.options, &graceful) => LAST_WORDS,
        () = show(watch.as_ref(), &app, &graceful) => LAST_WORDS,
        () = tidy(&app) => LAST_WORDS,
        left = end(&app, ending, phase) => left,
    };
    drop((main, watch));
    let read = graceful.shutdown();
    tokio::pin!(read);
    tokio::select! {
        () = &mut read => return,
        () = sleep(left) => {}
        () = stopped(&mut cut) => {}
    }
    let _ = timeout(LAST_WORDS, read).await;
}

/// Keeps the metrics' memory flat, for ever.
async fn tidy(app: &App) {
    loop {
        sleep(TIDY).await;
        app.metrics.tidy();
    }
}

/// Takes the connections of those who watch, for ever.
async fn show(listener: Option<&TcpListener>, app: &App, graceful: &GracefulShutdown) {
    let Some(listener) = listener else { return std::future::pending().await };
    // Whoever opened it to other machines did so by its address.
    let is_own = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let options = ServeOptions {
        insecure: !is_own,
        connections_max: WATCHERS_MAX,
        ..app.options.called_by(listener.local_addr().ok())
    };
    let app = App { keys: Arc::new([]), options: Arc::new(options), ..app.clone() };
    take(listener, routes::watch(app.clone()), &app.options, graceful).await;
}

/// Takes connections for ever.
async fn take(
    listener: &TcpListener,
    router: Router,
    options: &ServeOptions,
    graceful: &GracefulShutdown,
) {
    let service = TowerToHyperService::new(router);
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_deadline)
        .max_buf_size(HEAD_MAX.0)
        .max_headers(HEAD_MAX.1);
    let places = Arc::new(Semaphore::new(options.connections_max));
    let peers = Peers::default();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let Ok((socket, peer)) = listener.accept().await else {
            // Out of files, or a client that left before it was taken: the next may do better.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(visit) = peers.enter(peer.ip().to_canonical(), options.peer_connections_max)
        else {
            continue;
        };
        // Tokens are small and each is awaited.
        let _ = socket.set_nodelay(true);
        let socket = TokioIo::new(Patience::new(socket, options.stall_deadline));
        let connection = builder.serve_connection(socket, service.clone());
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            // What goes wrong on a connection is its client's to see.
            let _ = connection.await;
            drop((place, visit));
        });
    }
}

/// Waits for the end and goes through its stages. Returns the time that clients have to read what
/// was answered.
async fn end(
    app: &App,
    ending: watch::Sender<Ending>,
    mut phase: watch::Receiver<Phase>,
) -> Duration {
    // Whoever dropped the sender wants no end.
    if phase.wait_for(|&phase| phase > Phase::Serve).await.is_err() {
        std::future::pending::<()>().await;
    }
    let drained = async {
        let _ = ending.send(Ending::Leaving);
        sleep(app.options.ready_delay).await;
        app.handle.shutdown();
        let _ = ending.send(Ending::Closed);
        let (start, deadline) = (Instant::now(), app.options.drain_deadline);
        let _ = timeout(deadline, all_answered(app)).await;
        deadline.saturating_sub(start.elapsed())
    };
    let left = tokio::select! {
        () = stopped(&mut phase) => Duration::ZERO,
        left = drained => left,
    };
    app.handle.shutdown();
    let _ = ending.send(Ending::Cut);
    let _ = timeout(LAST_WORDS, all_answered(app)).await;
    left
}

/// Waits for [`Phase::Stop`], for ever if nobody is left to say it.
async fn stopped(phase: &mut watch::Receiver<Phase>) {
    if phase.wait_for(|&phase| phase == Phase::Stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn all_answered(app: &App) {
    while app.clients.n_open() > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}
