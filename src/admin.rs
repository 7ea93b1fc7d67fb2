//! Health and metrics, over plain HTTP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::metrics::Metrics;

/// Probes and scrapers have a connection each, and seldom.
const CONNECTIONS_MAX: usize = 128;
/// From its begin to the end of its answer; probes give up after seconds.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Rest after a failed `accept`: the usual cause, no more file descriptors, does not pass within microseconds.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether this replica should be asked for reviews. Not ready until told so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness {
    ready: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready, or not any more.
    pub(crate) fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// Health and metrics cannot be served: their address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for health and metrics")]
pub(crate) struct AdminError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Takes the port.
///
/// # Errors
/// If the address cannot be listened on.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, AdminError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AdminError { address, source })
}

/// Serves until told to stop.
///
/// One request a connection, bounded in time and in number: whoever reaches the port could otherwise take every file
/// descriptor, the webhook's too. Beyond the bound the oldest connection has to go, which is never a probe's:
/// those are answered at once.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness, stop: CancellationToken) {
    let router = router(metrics, readiness);
    let mut connections = JoinSet::new();
    let mut oldest = VecDeque::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    make_room(&mut oldest);
                    oldest.push_back(connections.spawn(converse(stream, router.clone())));
                }
                Err(error) => {
                    warn!(%error, "health and metrics cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn make_room(oldest: &mut VecDeque<AbortHandle>) {
    oldest.retain(|connection| !connection.is_finished());
    if oldest.len() >= CONNECTIONS_MAX
        && let Some(connection) = oldest.pop_front()
    {
        connection.abort();
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a request for health or metrics failed"),
        Err(_) => debug!("a request for health or metrics took too long"),
    }
}

fn router(metrics: Arc<Metrics>, readiness: Readiness) -> Router {
    let page = move || async move { ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.render()) };
    let ready = move || async move {
        if readiness.is_ready() {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready")
        }
    };
    Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready))
        .route("/metrics", get(page))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(address: SocketAddr) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn f34_connections_that_say_nothing_keep_no_probe_waiting() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut served = JoinSet::new();
        served.spawn(serve(
            listener,
            Arc::new(Metrics::new()),
            Readiness::default(),
            stop.clone(),
        ));
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS_MAX {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let answer = timeout(CONNECTION_TIMEOUT / 2, ask(address))
            .await
            .expect("at once")
            .unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"),
            "{answer}"
        );
        let mut byte = [0];
        let first = timeout(CONNECTION_TIMEOUT / 2, silent[0].read(&mut byte)).await;
        assert!(matches!(first, Ok(Ok(0) | Err(_))), "the oldest had to go: {first:?}");
        stop.cancel();
        served.join_next().await.expect("one task").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn f34_a_connection_that_says_nothing_ends() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut served = JoinSet::new();
        let stop = CancellationToken::new();
        served.spawn(serve(listener, Arc::new(Metrics::new()), Readiness::default(), stop));
        let mut silent = TcpStream::connect(address).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(begun.elapsed().as_secs(), CONNECTION_TIMEOUT.as_secs());
    }
}
