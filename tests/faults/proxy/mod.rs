//! A proxy in front of the real API server, which sees every request of a process and can let each go wrong.
//!
//! It ends the TLS of the process with a certificate of its own, which stands in the kubeconfig that it writes; the
//! token of the service account passes through, so the API server knows the process by its own name.

#![expect(
    clippy::disallowed_methods,
    reason = "its tasks end with the runtime of the proxy, and what breaks in them fails the test that waits"
)]

mod call;
mod fault;
mod flow;
mod relay;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemonjob_cluster::Call;
use data_encoding::BASE64;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(crate) use self::call::{is_write, kind};
use self::fault::Rules;
pub(crate) use self::fault::{Fault, Pace, Refusal};
use self::upstream::Upstream;

/// When the process is killed: the API server has done the write in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It never learns.
    BeforeTheAnswer,
    /// It learns, and dies before its next write leaves.
    AfterTheAnswer,
}

/// An appointed end of a process.
struct Killing {
    pid: u32,
    /// Writes that are still let through.
    left: usize,
    moment: Moment,
}

/// A watch that is open.
#[derive(Clone)]
struct Stream {
    call: Call,
    silence: CancellationToken,
    end: CancellationToken,
}

/// What the connections share.
struct Shared {
    upstream: Upstream,
    rules: Mutex<Rules>,
    record: Mutex<Vec<Call>>,
    asked: Mutex<Vec<Call>>,
    streams: Mutex<Vec<Stream>>,
    /// Held while a write is on its way: with an appointed end, writes pass one at a time.
    killing: tokio::sync::Mutex<Option<Killing>>,
    /// Ends all connections of the process that was killed.
    sever: Mutex<CancellationToken>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The proxy, until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    certificate: String,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

impl Proxy {
    /// Stands in front of the API server that this kubeconfig names.
    pub(crate) fn start(kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread starts");
        let (acceptor, certificate) = identity();
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            upstream: Upstream::of(&read(kubeconfig)),
            rules: Mutex::new(Box::new(|_| Fault::None)),
            record: Mutex::default(),
            asked: Mutex::default(),
            streams: Mutex::default(),
            killing: tokio::sync::Mutex::default(),
            sever: Mutex::default(),
        });
        // Ends with the runtime.
        drop(runtime.spawn(relay::serve(listener, acceptor, Arc::clone(&shared))));
        Self {
            address,
            certificate,
            shared,
            _runtime: runtime,
        }
    }

    /// Writes a kubeconfig like this one, which leads to the proxy.
    pub(crate) fn kubeconfig(&self, original: &Path, file: &Path) -> PathBuf {
        let mut config = read(original);
        let cluster = json!({
            "server": format!("https://{}", self.address),
            "certificate-authority-data": BASE64.encode(self.certificate.as_bytes()),
        });
        let clusters = config["clusters"].as_array_mut().expect("a kubeconfig has clusters");
        clusters.iter_mut().for_each(|one| one["cluster"] = cluster.clone());
        std::fs::write(file, config.to_string()).expect("the folder can be written");
        file.to_owned()
    }

    /// From now on each request meets what these rules say.
    pub(crate) fn set(&self, rules: impl FnMut(&Call) -> Fault + Send + 'static) {
        *lock(&self.shared.rules) = Box::new(rules);
    }

    /// From now on nothing goes wrong. Streams that have fallen silent stay so.
    pub(crate) fn heal(&self) {
        self.set(|_| Fault::None);
    }

    /// The watches that are open and meet this fall silent: nothing comes any more, not even their end.
    pub(crate) fn silence(&self, is_meant: impl Fn(&Call) -> bool) {
        let streams = lock(&self.shared.streams);
        let meant = streams.iter().filter(|stream| is_meant(&stream.call));
        let silenced = meant.map(|stream| stream.silence.cancel()).count();
        assert!(silenced > 0, "no such watch is open");
    }

    /// The watches that are open and meet this come to their end, as they do now and then.
    pub(crate) fn end(&self, is_meant: impl Fn(&Call) -> bool) {
        let streams = std::mem::take(&mut *lock(&self.shared.streams));
        let (ended, others) = streams.into_iter().partition(|stream| is_meant(&stream.call));
        *lock(&self.shared.streams) = others;
        let ended: Vec<Stream> = ended;
        ended.iter().for_each(|stream| stream.end.cancel());
    }

    /// Kills this process with its k-th write from now on.
    pub(crate) fn kill_with_write(&self, k: usize, moment: Moment, pid: u32) {
        let killing = Killing { pid, left: k, moment };
        *self.shared.killing.blocking_lock() = Some(killing);
    }

    /// Nobody is to be killed any more.
    pub(crate) fn spare(&self) {
        *self.shared.killing.blocking_lock() = None;
    }

    /// All calls so far that have been answered, or that never will be.
    pub(crate) fn calls(&self) -> Vec<Call> {
        lock(&self.shared.record).clone()
    }

    /// All calls so far that have come in, answered or not.
    pub(crate) fn asked(&self) -> Vec<Call> {
        lock(&self.shared.asked).clone()
    }

    /// How many calls so far; a place to read on from.
    pub(crate) fn mark(&self) -> usize {
        lock(&self.shared.record).len()
    }

    /// The calls since a mark.
    pub(crate) fn since(&self, mark: usize) -> Vec<Call> {
        lock(&self.shared.record)[mark..].to_vec()
    }
}

impl Shared {
    fn sever(&self) {
        std::mem::take(&mut *lock(&self.sever)).cancel();
    }
}

fn read(kubeconfig: &Path) -> Value {
    let text = std::fs::read_to_string(kubeconfig).expect("the kubeconfig is there");
    serde_json::from_str(&text).expect("ours is JSON")
}

/// A certificate for loopback that vouches for itself.
fn identity() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a key");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key of ours");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("the key is that of the certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}
