//! TLS: which versions, and HTTP/1.1 alone by ALPN.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use rustls::version::{TLS12, TLS13};

use crate::WebhookError;

/// The oldest protocol that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    V1_2,
    /// TLS 1.3 alone.
    V1_3,
}

/// The provider is named here, so that it does not matter what else the process installs.
pub(crate) fn config(
    min: TlsVersion,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, WebhookError> {
    let versions: &[_] = match min {
        TlsVersion::V1_2 => &[&TLS12, &TLS13],
        TlsVersion::V1_3 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .map_err(WebhookError::Tls)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    // HTTP/2 lets one connection start and reset requests without end; API servers take 1.1 as well.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
