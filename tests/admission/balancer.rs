//! What a Service is in a cluster: new connections go to replicas that say that they are ready, in turn.
//! Connections that stand are left alone, also those to a replica that is not ready any more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between two looks at who is ready; kubelets and endpoint controllers take a second or two.
const LOOK: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(2);

/// A replica behind the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Where its webhook listens.
    pub(crate) webhook: SocketAddr,
    /// Where it says whether it is ready.
    pub(crate) admin: SocketAddr,
}

#[derive(Default)]
struct Backends {
    all: Vec<Endpoint>,
    ready: Vec<Endpoint>,
    turn: usize,
}

impl Backends {
    /// One that was taken away during the look is not asked.
    fn found_ready(&mut self, mut ready: Vec<Endpoint>) {
        ready.retain(|endpoint| self.all.contains(endpoint));
        self.ready = ready;
    }

    fn next(&mut self) -> Option<Endpoint> {
        self.turn = self.turn.wrapping_add(1);
        self.ready.get(self.turn % self.ready.len().max(1)).copied()
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Backends>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Backends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A balancer on a port of loopback, until it is dropped.
pub(crate) struct Balancer {
    address: SocketAddr,
    shared: Shared,
    _runtime: Runtime,
}

impl Balancer {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread starts");
        let shared = Shared::default();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let backends = shared.clone();
        // Ends with the runtime; a panic of it fails every test, as nothing is admitted any more.
        drop(runtime.spawn(serve(listener, backends)));
        Self {
            address,
            shared,
            _runtime: runtime,
        }
    }

    /// The port that webhook configurations name.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Puts a replica behind the balancer; it is asked once it is ready.
    pub(crate) fn add(&self, endpoint: Endpoint) {
        self.shared.lock().all.push(endpoint);
    }

    /// A replica is gone.
    pub(crate) fn remove(&self, endpoint: Endpoint) {
        let mut backends = self.shared.lock();
        backends.all.retain(|one| *one != endpoint);
        backends.ready.retain(|one| *one != endpoint);
    }

    /// The replicas that are asked.
    pub(crate) fn ready(&self) -> Vec<Endpoint> {
        self.shared.lock().ready.clone()
    }
}

async fn serve(listener: TcpListener, shared: Shared) {
    let mut connections = JoinSet::new();
    connections.spawn(look(shared.clone()));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let backend = shared.lock().next();
                connections.spawn(relay(client, backend));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Without a ready replica the connection is closed at once, as a Service without endpoints refuses it.
async fn relay(mut client: TcpStream, backend: Option<Endpoint>) {
    let Some(backend) = backend else { return };
    let Ok(mut server) = TcpStream::connect(backend.webhook).await else {
        return;
    };
    // A side that breaks off ends the other, which notices for itself.
    drop(copy_bidirectional(&mut client, &mut server).await);
}

async fn look(shared: Shared) {
    loop {
        let all = shared.lock().all.clone();
        let mut ready = Vec::new();
        for endpoint in all {
            if is_ready(endpoint.admin).await {
                ready.push(endpoint);
            }
        }
        shared.lock().found_ready(ready);
        sleep(LOOK).await;
    }
}

async fn is_ready(admin: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200 "))
    };
    matches!(timeout(ANSWER, ask).await, Ok(Ok(true)))
}
