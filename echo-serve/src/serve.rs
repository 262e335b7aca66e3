//! The loop that takes connections, and the way it ends.

use crate::{App, Codec, ServeOptions, routes};
use echo_runtime::Handle;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Bytes and fields of a request's head at most.
const HEAD_MAX: (usize, usize) = (16 << 10, 64);

/// Serves on `listener` until `stop` is done; then takes no more requests, lets running ones end
/// within the drain deadline, and returns. Whoever dropped its future stops it at once.
pub async fn serve(
    listener: TcpListener,
    handle: Handle,
    codec: Arc<dyn Codec>,
    options: ServeOptions,
    stop: impl Future<Output = ()>,
) {
    let options = Arc::new(options);
    let app = App { handle: handle.clone(), codec, options: Arc::clone(&options) };
    let service = TowerToHyperService::new(routes::router(app));
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.head_deadline)
        .max_buf_size(HEAD_MAX.0)
        .max_headers(HEAD_MAX.1);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(options.connections_max));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accept => accepted,
        };
        let Ok((socket, _)) = accepted else {
            // Out of files, or a client that left before it was taken: the next may do better.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Tokens are small and each is awaited.
        let _ = socket.set_nodelay(true);
        let connection = builder.serve_connection(TokioIo::new(socket), service.clone());
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move {
            // What goes wrong on a connection is its client's to see.
            let _ = connection.await;
            drop(place);
        });
    }
    handle.shutdown();
    drop(listener);
    let _ = tokio::time::timeout(options.drain_deadline, graceful.shutdown()).await;
}
