//! A client as thin as can be: on shared processors, what it spends hides what the server does.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::serve::NAME;

/// Who can connect to a server.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, certificate: CertificateDer<'static>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // As an API server does.
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Each handshake is a whole one.
        tls.resumption = Resumption::disabled();
        Ok(Self {
            address,
            tls: Arc::new(tls),
        })
    }

    /// A TCP connection, and nothing sent.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn dial(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection with its handshake behind it.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn connect(&self) -> Result<Connection> {
        let stream = self.dial().await?;
        let name = ServerName::try_from(NAME)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        Ok(Connection {
            stream,
            received: Vec::with_capacity(4 << 10),
        })
    }

    /// The first bytes that a client sends.
    pub(crate) fn hello(&self) -> Result<Vec<u8>> {
        let name = ServerName::try_from(NAME)?;
        let mut session = rustls::ClientConnection::new(Arc::clone(&self.tls), name)?;
        let mut bytes = Vec::new();
        session.write_tls(&mut bytes)?;
        Ok(bytes)
    }
}

/// A connection that can be kept.
#[derive(Debug)]
pub struct Connection {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

impl Connection {
    /// Sends a request and waits for its answer, whose body is returned.
    ///
    /// # Errors
    /// If the connection breaks, or the status is not 200.
    pub async fn ask(&mut self, request: &[u8]) -> Result<&[u8]> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.received.clear();
        let body = loop {
            let count = self.stream.read_buf(&mut self.received).await?;
            ensure!(count > 0, "closed before the answer was complete");
            if let Some((start, length)) = frame(&self.received)?
                && self.received.len() >= start + length
            {
                break start..start + length;
            }
        };
        Ok(&self.received[body])
    }

    /// The same with a review that has to be allowed.
    ///
    /// # Errors
    /// If it is not.
    pub async fn ask_for_leave(&mut self, review: &[u8]) -> Result<()> {
        let answer = std::str::from_utf8(self.ask(review).await?)?;
        ensure!(answer.contains(r#""allowed":true"#), "not allowed: {answer}");
        Ok(())
    }

    /// Sends what is not a whole request.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// Waits until the server closes.
    pub(crate) async fn closed(&mut self) {
        while matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {
            self.received.clear();
        }
    }
}

/// Where the body begins and how long it is, once the head is complete.
fn frame(received: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&received[..end])?;
    ensure!(head.starts_with("HTTP/1.1 200 "), "answered {head}");
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    let length = length.context("the answer has a length")?.parse()?;
    Ok(Some((end + 4, length)))
}
