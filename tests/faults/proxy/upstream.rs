//! The way to the API server: one connection of its own for each connection of the process.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where the API server is, and whom to trust.
pub(super) struct Upstream {
    address: SocketAddr,
    connector: TlsConnector,
}

/// A connection, made when it is needed.
#[derive(Default)]
pub(super) struct Way(Option<SendRequest<Full<Bytes>>>);

impl Upstream {
    pub(super) fn of(kubeconfig: &Value) -> Self {
        let cluster = &kubeconfig["clusters"][0]["cluster"];
        let text = |field: &str| cluster[field].as_str().expect("a kubeconfig has it").to_owned();
        let server = text("server");
        let address = server.trim_start_matches("https://").parse().expect("it is an address");
        let pem = BASE64
            .decode(text("certificate-authority-data").as_bytes())
            .expect("it is base64");
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.expect("it is PEM");
            roots.add(certificate).expect("it is a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = self.connector.connect(name, stream).await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with its sender, or with the API server.
        drop(tokio::spawn(connection));
        Ok(sender)
    }

    /// Passes a request on.
    pub(super) async fn ask(&self, way: &mut Way, request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        let mut sender = match way.0.take().filter(|kept| !kept.is_closed()) {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        sender.ready().await?;
        let response = sender.send_request(request).await.context("the API server broke off")?;
        way.0 = Some(sender);
        Ok(response)
    }
}
