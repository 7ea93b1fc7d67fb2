//! The accept loop, the connections, and their end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit};
use rustls::server::ResolvesServerCert;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::observer::Observer;
use crate::pace::{Pace, Paced};
use crate::parting;
use crate::seats::Seats;
use crate::{TlsVersion, WebhookError, http, tls};

/// Open connections; beyond it, the one that would be missed least has to go.
/// An API server keeps 25 idle ones to a webhook, and there are seldom more than five API servers.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Connections that wait for `accept`. What finds the queue full is dropped in silence, and the client's system
/// tries again after 1 s and after 3 s: the usual 128 are gone with the first hundred that somebody opens at once.
const ACCEPT_QUEUE: u32 = 4096;
/// Connections in their handshake; beyond it, the one that takes longest has to go.
/// A flood of half-open connections so costs those that never get anywhere, not the API server.
const HANDSHAKES_MAX: usize = 1024;
/// Open files that are left to the rest of the process: its listeners, its connections to the API server.
const OTHER_FILES: u64 = 256;
/// As few connections, and as few handshakes, as make a webhook, even if the limit of open files allows for less.
const TABLE_MIN: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// Rest after a failed `accept`: the usual cause, no more file descriptors, does not pass within microseconds.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers may take that are under way when the server stops. API servers give up after 5 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// More than any API server sends, with the head's size below.
const HEADERS_MAX: usize = 100;
const HEAD_BYTES_MAX: usize = 32 << 10;
/// hyper's buffer per connection, which no budget counts.
const BUFFER_MAX: usize = 64 << 10;

const _: () = assert!(HEAD_BYTES_MAX < BUFFER_MAX, "a head must fit into the buffer");

/// How to serve.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub address: SocketAddr,
    /// The oldest TLS to speak.
    pub min_tls: TlsVersion,
    /// How long to go on answering after the shutdown signal: until no API server has this replica
    /// among the endpoints any more. 15 s is what the chart allows for.
    pub drain: Duration,
}

/// A webhook that owns its port.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
    observer: Arc<dyn Observer>,
}

/// Takes the port.
///
/// # Errors
/// [`WebhookError::Bind`] if the address cannot be listened on.
pub async fn bind(settings: Settings, observer: Arc<dyn Observer>) -> Result<Bound, WebhookError> {
    let failed = |source| WebhookError::Bind {
        address: settings.address,
        source,
    };
    let listener = listen(settings.address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound {
        listener,
        address,
        settings,
        observer,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Or a restart would wait for the old connections' last minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

impl Bound {
    /// The address listened on, with the port that the system chose if the settings left it open.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then for the drain period with `Connection: close`, then finishes what is in flight.
    /// Dropping the future ends everything at once.
    ///
    /// # Errors
    /// [`WebhookError::Tls`] if TLS cannot be set up. Once it serves, nothing ends it but `shutdown`.
    pub async fn serve(
        self,
        resolver: Arc<dyn ResolvesServerCert>,
        shutdown: CancellationToken,
    ) -> Result<(), WebhookError> {
        let tls = TlsAcceptor::from(tls::config(self.settings.min_tls, resolver)?);
        let drain = self.settings.drain;
        let table = table_within(getrlimit(Resource::Nofile).current);
        let mut server = Server {
            tls,
            router: http::router(Arc::clone(&self.observer)),
            observer: self.observer,
            closing: shutdown.clone(),
            stopping: CancellationToken::new(),
            handshakes_max: table.min(HANDSHAKES_MAX),
            handshakes: JoinSet::new(),
            oldest_handshakes: VecDeque::new(),
            connections: Seats::new(table.min(CONNECTIONS_MAX)),
            pause: None,
        };
        let end = async {
            shutdown.cancelled().await;
            tracing::info!(seconds = drain.as_secs(), "webhook drains");
            sleep(drain).await;
        };
        server.run(&self.listener, end).await;
        drop(self.listener);
        server.stop().await;
        Ok(())
    }
}

/// How many handshakes, and how many connections, fit into the limit of open files: whoever opens more must cost
/// others of their kind, not the whole process its descriptors.
fn table_within(files: Option<u64>) -> usize {
    let each = files.map(|files| files.saturating_sub(OTHER_FILES) / 2);
    each.and_then(|each| usize::try_from(each).ok())
        .map_or(usize::MAX, |each| each.max(TABLE_MIN))
}

type Connection = TlsStream<TcpStream>;

struct Server {
    tls: TlsAcceptor,
    router: Router,
    observer: Arc<dyn Observer>,
    /// Each answer closes its connection.
    closing: CancellationToken,
    /// No idle connection takes another request.
    stopping: CancellationToken,
    handshakes_max: usize,
    handshakes: JoinSet<Option<Connection>>,
    oldest_handshakes: VecDeque<AbortHandle>,
    connections: Seats,
    /// No `accept` before this.
    pause: Option<Instant>,
}

impl Server {
    async fn run(&mut self, listener: &TcpListener, end: impl Future<Output = ()>) {
        let mut end = pin!(end);
        loop {
            let resume = self.pause.unwrap_or_else(Instant::now);
            tokio::select! {
                () = &mut end => return,
                accepted = listener.accept(), if self.pause.is_none() => match accepted {
                    Ok((stream, _)) => self.greet(stream),
                    Err(error) => self.rest(&error),
                },
                () = sleep_until(resume), if self.pause.is_some() => self.pause = None,
                Some(greeted) = self.handshakes.join_next() => self.attach(greeted),
                Some(ended) = self.connections.ended() => note_panic(ended),
            }
        }
    }

    fn greet(&mut self, stream: TcpStream) {
        if self.oldest_handshakes.len() >= self.handshakes_max {
            self.oldest_handshakes.retain(|handshake| !handshake.is_finished());
        }
        if self.oldest_handshakes.len() >= self.handshakes_max
            && let Some(oldest) = self.oldest_handshakes.pop_front()
        {
            oldest.abort();
            self.observer.connection_refused();
        }
        let handshake = self.handshakes.spawn(shake_hands(self.tls.clone(), stream));
        self.oldest_handshakes.push_back(handshake);
    }

    fn attach(&mut self, greeted: Result<Option<Connection>, JoinError>) {
        let stream = match greeted {
            Ok(Some(stream)) => stream,
            Ok(None) => return,
            Err(error) => return note_panic(Err(error)),
        };
        let (router, pace) = (self.router.clone(), Pace::new());
        let (closing, stopping) = (self.closing.clone(), self.stopping.clone());
        let connection = converse(stream, pace.clone(), router, closing, stopping);
        if self.connections.take(pace, connection) {
            tracing::debug!("webhook connection displaced: too many are open");
            self.observer.connection_refused();
        }
    }

    fn rest(&mut self, error: &io::Error) {
        // The client went away while it was in the queue; the next one is not affected.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
        ) {
            return;
        }
        tracing::warn!(%error, "webhook cannot accept a connection");
        self.observer.connection_refused();
        self.pause = Some(Instant::now() + ACCEPT_PAUSE);
    }

    async fn stop(mut self) {
        self.handshakes.shutdown().await;
        self.stopping.cancel();
        let left = self.connections.close(STOP_TIMEOUT, note_panic).await;
        if left > 0 {
            tracing::warn!(connections = left, "webhook stops with reviews unanswered");
        }
    }
}

/// A panic ends its own connection; the others do not notice.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "webhook connection ended by a panic");
    }
}

async fn shake_hands(tls: TlsAcceptor, stream: TcpStream) -> Option<Connection> {
    // Answers are one small write; waiting for more to send would add 40 ms to each.
    stream.set_nodelay(true).ok()?;
    match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "webhook TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("webhook TLS handshake timed out");
            None
        }
    }
}

async fn converse(
    stream: Connection,
    pace: Pace,
    router: Router,
    closing: CancellationToken,
    stopping: CancellationToken,
) {
    let socket = TokioIo::new(Paced::new(stream, pace.clone(), stopping));
    let counted = pace.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        counted.request();
        let (pace, router, closing) = (counted.clone(), router.clone(), closing.clone());
        Box::pin(async move {
            let mut response = router.oneshot(request).await?;
            if closing.is_cancelled() {
                // It is not idle after this answer, but over.
                response
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            } else {
                pace.answered(response.status() == StatusCode::OK);
            }
            Ok::<_, Infallible>(response)
        })
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(BUFFER_MAX)
        .serve_connection(socket, service);
    match connection.without_shutdown().await {
        Ok(parts) => close(parts.io.into_inner(), &pace).await,
        Err(error) => tracing::debug!(%error, "webhook connection ended"),
    }
}

async fn close(mut socket: Paced<Connection>, pace: &Pace) {
    let closed = if pace.has_parted() {
        parting::take_leave(&mut socket).await
    } else {
        socket.shutdown().await
    };
    if let Err(error) = closed {
        tracing::debug!(%error, "webhook connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f34_the_tables_fit_into_the_limit_of_open_files() {
        assert_eq!(table_within(Some(1024)), 384);
        assert_eq!(table_within(Some(2304)), 1024);
        assert_eq!(table_within(Some(100)), TABLE_MIN);
        assert_eq!(table_within(None), usize::MAX);
    }
}
