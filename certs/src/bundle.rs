//! The `caBundle`: its one spelling, and whether a leaf verifies against it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use crate::authority::Anchor;
use crate::time;

/// Why an API server would refuse the leaf.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum VerifyError {
    /// The bundle holds no certificate.
    #[error("the caBundle holds no certificate")]
    EmptyBundle,
    /// No server name follows from the configuration.
    #[error("the webhook names no server")]
    NoServerName,
    /// The leaf does not lead to a certificate of the bundle, or is not valid now.
    #[error("the serving certificate does not verify against the caBundle")]
    Path {
        /// What webpki says.
        #[source]
        source: webpki::Error,
    },
    /// The leaf is for other names.
    #[error("the serving certificate is not valid for {name}")]
    ServerName {
        /// The name that the API server will ask for.
        name: String,
        /// What webpki says.
        #[source]
        source: webpki::Error,
    },
}

/// All anchors as one PEM text.
/// The set's order makes it the same text on every replica, so that none of them repairs another's spelling.
pub(crate) fn encode(anchors: &BTreeSet<Anchor>) -> Vec<u8> {
    anchors.iter().map(Anchor::pem).collect::<String>().into_bytes()
}

/// Whether an API server that trusts `bundle` accepts `leaf` under `server_name` at `now`.
///
/// # Errors
/// The first thing that it would object to.
pub(crate) fn verify(
    leaf: &CertificateDer<'_>,
    bundle: &[u8],
    server_name: &str,
    now: Timestamp,
) -> Result<(), VerifyError> {
    let path = |source| VerifyError::Path { source };
    let trusted: Vec<_> = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
    if trusted.is_empty() {
        return Err(VerifyError::EmptyBundle);
    }
    let anchors: Vec<_> = trusted
        .iter()
        .filter_map(|der| anchor_from_trusted_cert(der).ok())
        .collect();
    let certificate = EndEntityCert::try_from(leaf).map_err(path)?;
    let algorithms = [webpki::ring::ECDSA_P256_SHA256];
    certificate
        .verify_for_usage(
            &algorithms,
            &anchors,
            &[],
            time::unix(now),
            KeyUsage::server_auth(),
            None,
            None,
        )
        .map_err(path)?;
    let name = ServerName::try_from(server_name).map_err(|_| VerifyError::NoServerName)?;
    certificate
        .verify_is_valid_for_subject_name(&name)
        .map_err(|source| VerifyError::ServerName {
            name: server_name.to_owned(),
            source,
        })
}
