//! The webhook on a socket of this process, and a client that speaks to it as API servers do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use daemonjob_webhook::{Endpoint, Observer, Reviewed, Settings, TlsVersion, WebhookError, bind};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

/// Long enough for a loaded machine; nothing waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Default)]
pub(crate) struct Counter(pub(crate) AtomicUsize);

impl Observer for Counter {
    fn began(&self, _: Endpoint) {}

    fn ended(&self, _: Endpoint) {}

    fn reviewed(&self, _: &Reviewed) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn connection_refused(&self) {}
}

pub(crate) struct Webhook {
    pub(crate) address: SocketAddr,
    certificate: CertificateDer<'static>,
    pub(crate) shutdown: CancellationToken,
    served: JoinSet<Result<(), WebhookError>>,
    pub(crate) reviews: Arc<Counter>,
}

pub(crate) fn settings(min_tls: TlsVersion, drain: Duration) -> Settings {
    Settings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        min_tls,
        drain,
    }
}

pub(crate) fn key_pair() -> (CertificateDer<'static>, Arc<dyn ResolvesServerCert>) {
    let made = rcgen::generate_simple_self_signed(vec!["webhook.test".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.clone()], key));
    (certificate, Arc::new(resolver))
}

impl Webhook {
    pub(crate) async fn start(min_tls: TlsVersion, drain: Duration) -> Self {
        let (certificate, resolver) = key_pair();
        let shutdown = CancellationToken::new();
        let reviews = Arc::new(Counter::default());
        let bound = bind(settings(min_tls, drain), reviews.clone()).await.unwrap();
        let address = bound.local_address();
        let mut served = JoinSet::new();
        served.spawn(bound.serve(resolver, shutdown.clone()));
        Self {
            address,
            certificate,
            shutdown,
            served,
            reviews,
        }
    }

    pub(crate) async fn modern() -> Self {
        Self::start(TlsVersion::V1_3, Duration::ZERO).await
    }

    pub(crate) async fn connect_with(
        &self,
        version: &'static SupportedProtocolVersion,
        alpn: &[&str],
        is_named: bool,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_sni = is_named;
        config.resumption = Resumption::disabled();
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("webhook.test").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// As API servers do: TLS 1.3, and both versions of HTTP on offer.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        self.try_connect().await.unwrap()
    }

    pub(crate) async fn try_connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_with(&TLS13, &["h2", "http/1.1"], true).await
    }

    pub(crate) async fn ended(mut self) {
        self.shutdown.cancel();
        let ended = timeout(DEADLINE, self.served.join_next()).await.expect("ends in time");
        ended.expect("one task").unwrap().unwrap();
    }
}

/// The head of a review's request.
pub(crate) fn head_to(path: &str, extra: &str) -> String {
    format!("POST {path}?timeout=5s HTTP/1.1\r\nHost: webhook.test\r\nContent-Type: application/json\r\n{extra}\r\n")
}

/// One answer: its status line and headers in lower case, and its body.
pub(crate) async fn read_answer(stream: &mut TlsStream<TcpStream>) -> (String, String) {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            bytes.push(stream.read_u8().await.expect("an answer"));
            if bytes.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let head = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.unwrap();
        (head, String::from_utf8(body).unwrap())
    };
    timeout(DEADLINE, read).await.expect("an answer in time")
}
