//! The key that the server presents: swapped under running handshakes, never missing once it was there.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::InconsistentKeys;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// A key pair was not taken.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// No certificate was given.
    #[error("no certificate was given")]
    NoCertificate,
    /// The key cannot be used, or does not belong to the certificate.
    #[error("cannot serve with this certificate and key")]
    Unusable {
        /// What the library says.
        #[source]
        source: rustls::Error,
    },
}

/// Serves the key that was last accepted; refuses handshakes until there is one.
#[derive(Default)]
pub struct Resolver {
    served: ArcSwapOption<CertifiedKey>,
}

/// Without the key: rustls prints its resolvers.
impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("has_key", &self.has_key())
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver without a key.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a key is served.
    pub fn has_key(&self) -> bool {
        self.served.load().is_some()
    }

    /// Serves this chain and key from the next handshake on, if they belong together.
    /// Otherwise nothing changes.
    ///
    /// # Errors
    /// Why the pair was not taken.
    pub fn swap(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<(), ResolverError> {
        let unusable = |source| ResolverError::Unusable { source };
        if chain.is_empty() {
            return Err(ResolverError::NoCertificate);
        }
        let key = ring::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(unusable)?;
        let pair = CertifiedKey::new(chain, key);
        match pair.keys_match() {
            // ring tells the public key of every kind of key that it loads; a provider that does not is not one of ours.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(source) => return Err(unusable(source)),
        }
        self.served.store(Some(Arc::new(pair)));
        Ok(())
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.served.load_full()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::Arc;

    use jiff::Timestamp;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{
        ClientConfig, ClientConnection, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    };

    use super::*;
    use crate::authority::{Anchor, Authority};
    use crate::bundle;
    use crate::leaf::Leaf;

    pub(crate) const NAME: &str = "hook.jobs.svc";

    pub(crate) fn now() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().expect("a time")
    }

    fn leaf(authority: &Authority) -> Leaf {
        Leaf::issue(authority, &[NAME.to_owned()], now()).expect("a leaf")
    }

    fn serve(resolver: &Resolver, leaf: &Leaf) -> Result<(), ResolverError> {
        resolver.swap(vec![leaf.certificate().clone()], leaf.key().clone_key())
    }

    /// Verifies as an API server does, at a passed time: rustls' own verifier reads the clock.
    #[derive(Debug)]
    struct AtTime {
        bundle: Vec<u8>,
    }

    impl ServerCertVerifier for AtTime {
        fn verify_server_cert(
            &self,
            leaf: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            bundle::verify(leaf, &self.bundle, &name.to_str(), now())
                .map(|()| ServerCertVerified::assertion())
                .map_err(|error| rustls::Error::General(error.to_string()))
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = ring::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, leaf, signature, &algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = ring::default_provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, leaf, signature, &algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }

    pub(crate) fn server(resolver: &Arc<Resolver>) -> ServerConnection {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth();
        ServerConnection::new(Arc::new(builder.with_cert_resolver(resolver.clone()))).expect("a server")
    }

    pub(crate) fn client(trusted: &[&Anchor]) -> ClientConnection {
        let bundle = bundle::encode(&trusted.iter().map(|anchor| (*anchor).clone()).collect());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous();
        let config = builder
            .with_custom_certificate_verifier(Arc::new(AtTime { bundle }))
            .with_no_client_auth();
        ClientConnection::new(Arc::new(config), NAME.try_into().expect("a name")).expect("a client")
    }

    /// One flight from one end to the other, in memory.
    fn flight(
        mut write: impl FnMut(&mut Vec<u8>) -> io::Result<usize>,
        mut read: impl FnMut(&mut &[u8]) -> io::Result<usize>,
    ) -> bool {
        let mut bytes = Vec::new();
        while write(&mut bytes).expect("memory") > 0 {}
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && read(&mut rest).expect("memory") > 0 {}
        !bytes.is_empty()
    }

    /// A whole handshake in memory.
    pub(crate) fn shake(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), rustls::Error> {
        while client.is_handshaking() || server.is_handshaking() {
            let there = flight(|to| client.write_tls(to), |from| server.read_tls(from));
            server.process_new_packets()?;
            let back = flight(|to| server.write_tls(to), |from| client.read_tls(from));
            client.process_new_packets()?;
            assert!(there || back, "both ends wait");
        }
        Ok(())
    }

    #[test]
    fn without_a_key_the_handshake_is_refused() {
        let resolver = Arc::new(Resolver::new());
        let authority = Authority::generate(now()).expect("an authority");
        assert!(shake(&mut client(&[authority.anchor()]), &mut server(&resolver)).is_err());
        assert!(!resolver.has_key());
    }

    #[test]
    fn a_swap_reaches_the_next_handshake_and_leaves_running_ones_alone() {
        let resolver = Arc::new(Resolver::new());
        let (old, new) = (
            Authority::generate(now()).expect("old"),
            Authority::generate(now()).expect("new"),
        );
        serve(&resolver, &leaf(&old)).expect("served");

        let (mut early_client, mut early_server) = (client(&[old.anchor()]), server(&resolver));
        flight(|to| early_client.write_tls(to), |from| early_server.read_tls(from));
        early_server
            .process_new_packets()
            .expect("the server's flight is signed with the old key");

        serve(&resolver, &leaf(&new)).expect("served");
        shake(&mut early_client, &mut early_server).expect("a running handshake ends with the key it began with");
        shake(&mut client(&[new.anchor()]), &mut server(&resolver)).expect("the next one has the new key");
        assert!(
            shake(&mut client(&[old.anchor()]), &mut server(&resolver)).is_err(),
            "and the new key alone"
        );
    }

    #[test]
    fn a_bad_reload_keeps_the_last_good_key() {
        let resolver = Arc::new(Resolver::new());
        let authority = Authority::generate(now()).expect("an authority");
        let (good, other) = (leaf(&authority), leaf(&authority));
        serve(&resolver, &good).expect("served");

        let mismatch = resolver.swap(vec![good.certificate().clone()], other.key().clone_key());
        assert!(matches!(mismatch, Err(ResolverError::Unusable { .. })), "{mismatch:?}");
        let nothing = resolver.swap(Vec::new(), other.key().clone_key());
        assert!(matches!(nothing, Err(ResolverError::NoCertificate)), "{nothing:?}");
        let garbage = resolver.swap(
            vec![good.certificate().clone()],
            PrivateKeyDer::Pkcs8(vec![1, 2, 3].into()),
        );
        assert!(matches!(garbage, Err(ResolverError::Unusable { .. })), "{garbage:?}");

        shake(&mut client(&[authority.anchor()]), &mut server(&resolver)).expect("the good key still serves");
    }

    #[test]
    fn debug_shows_no_key() {
        let resolver = Resolver::new();
        serve(&resolver, &leaf(&Authority::generate(now()).expect("an authority"))).expect("served");
        assert_eq!(format!("{resolver:?}"), "Resolver { has_key: true, .. }");
    }
}
