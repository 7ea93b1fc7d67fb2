//! The authority: a self-signed P-256 certificate, and the key that signs the leaves.
//!
//! [`Anchor`] is its public half, which goes into `caBundle`; [`Authority`] has the key too.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::bundle;
use crate::time;

/// How long an authority is valid.
/// Long, because `caBundle` must be in step with it on every API server; it is not revocable, so not longer.
pub const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 365);

/// How far the beginning of an authority's validity lies in the past.
/// A replica whose clock is a day off must neither make an authority that others cannot use yet,
/// nor take a good one for one from the future and replace it.
pub const AUTHORITY_BACKDATE: Duration = Duration::from_hours(48);

/// The common name begins with this; what does not is not ours and is never used to sign.
const COMMON_NAME: &str = "daemonjob webhook authority";

/// The label of a certificate in PEM.
const PEM_LABEL: &str = "CERTIFICATE";

/// Why a slot of the Secret cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Fault {
    /// Nothing is there.
    #[error("nothing is stored")]
    Absent,
    /// The certificate's time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Something is there that this program did not make.
    #[error("the content was not made by this program")]
    Foreign,
    /// The certificate or the key is missing.
    #[error("the certificate or the key is missing")]
    Incomplete,
    /// The key does not belong to the certificate.
    #[error("the key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate's time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The certificate cannot be parsed.
    #[error("the certificate cannot be read")]
    UnreadableCertificate,
    /// The key cannot be parsed, or is not on P-256.
    #[error("the key cannot be read")]
    UnreadableKey,
}

impl Fault {
    /// Whether the content is good and only the clock speaks against it.
    pub(crate) fn is_of_time(self) -> bool {
        matches!(self, Self::Expired | Self::NotYetValid)
    }
}

/// An authority could not be made.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// The key or the certificate could not be generated.
    #[error("cannot generate an authority")]
    Generate {
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate just generated could not be read back.
    #[error("cannot read back the authority just generated")]
    ReadBack {
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
}

/// The public half of an authority of ours: what API servers must trust.
///
/// Ordered by its bytes, so that a bundle has one spelling only.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub struct Anchor {
    der: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl fmt::Debug for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = &self.der[self.der.len().saturating_sub(4)..];
        write!(f, "Anchor(…{} until {})", HEXLOWER.encode(tail), self.not_after)
    }
}

impl Anchor {
    /// Reads a certificate, and accepts it only if an authority of ours can have made it.
    ///
    /// # Errors
    /// `UnreadableCertificate` or `Foreign`; its dates are not looked at.
    pub fn from_der(der: &[u8]) -> Result<Self, Fault> {
        let certificate = parse(der)?;
        let ours = certificate
            .subject()
            .iter_common_name()
            .any(|name| name.as_str().is_ok_and(is_our_name));
        let signs = matches!(certificate.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign());
        if !(ours && signs && certificate.is_ca()) {
            return Err(Fault::Foreign);
        }
        let (not_before, not_after) = validity(&certificate)?;
        Ok(Self {
            der: der.to_vec(),
            not_before,
            not_after,
        })
    }

    /// All anchors of ours in a PEM text; anything else in it is passed over.
    pub fn all_in_pem(pem: &[u8]) -> Vec<Self> {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        certificates.filter_map(|der| Self::from_der(&der).ok()).collect()
    }

    /// The certificate as PEM text.
    pub fn pem(&self) -> String {
        let body = BASE64.encode(&self.der);
        let mut text = format!("-----BEGIN {PEM_LABEL}-----\n");
        for line in body.as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text.push('\n');
        }
        text + &format!("-----END {PEM_LABEL}-----\n")
    }

    /// The certificate as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The end of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// From when on a successor is to be published: two thirds of its life, or the age `rotate_after` if that is less.
    pub fn renew_at(&self, rotate_after: Duration) -> Timestamp {
        let made = time::later(self.not_before, AUTHORITY_BACKDATE);
        time::two_thirds(self.not_before, self.not_after).min(time::later(made, rotate_after))
    }

    /// Whether it is valid at `now`.
    ///
    /// # Errors
    /// `NotYetValid` or `Expired`.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Fault> {
        if now < self.not_before {
            Err(Fault::NotYetValid)
        } else if now > self.not_after {
            Err(Fault::Expired)
        } else {
            Ok(())
        }
    }
}

fn is_our_name(name: &str) -> bool {
    name.starts_with(COMMON_NAME)
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Fault> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Fault::UnreadableCertificate),
    }
}

pub(crate) fn validity(certificate: &X509Certificate<'_>) -> Result<(Timestamp, Timestamp), Fault> {
    let validity = certificate.validity();
    let read = |seconds| Timestamp::from_second(seconds).map_err(|_| Fault::UnreadableCertificate);
    Ok((
        read(validity.not_before.timestamp())?,
        read(validity.not_after.timestamp())?,
    ))
}

/// An authority that can sign: its anchor and its key.
#[derive(Clone)]
pub struct Authority {
    anchor: Anchor,
    key: Arc<KeyPair>,
}

/// Without the key: it must never reach a log.
impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("anchor", &self.anchor)
            .finish_non_exhaustive()
    }
}

/// Two authorities with the same certificate are the same: their keys were checked against it.
impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        self.anchor == other.anchor
    }
}

impl Eq for Authority {}

impl Authority {
    /// Makes a new authority, valid from [`AUTHORITY_BACKDATE`] before `now` for [`AUTHORITY_LIFE`] after it.
    ///
    /// # Errors
    /// When the library cannot make it.
    pub fn generate(now: Timestamp) -> Result<Self, AuthorityError> {
        let failed = |source| AuthorityError::Generate { source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        time::set_validity(
            &mut params,
            time::earlier(now, AUTHORITY_BACKDATE),
            time::later(now, AUTHORITY_LIFE),
        );
        // The time keeps two authorities apart for a human reader; nothing depends on it.
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{COMMON_NAME} {}", now.as_second()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        let anchor = Anchor::from_der(certificate.der()).map_err(|source| AuthorityError::ReadBack { source })?;
        Ok(Self {
            anchor,
            key: Arc::new(key),
        })
    }

    /// Reads an authority from PEM texts, and checks that key and certificate belong together and that it can sign.
    ///
    /// # Errors
    /// The fault of the content; its dates are not looked at.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let der = CertificateDer::from_pem_slice(certificate).map_err(|_| Fault::UnreadableCertificate)?;
        let anchor = Anchor::from_der(&der)?;
        let text = std::str::from_utf8(key).map_err(|_| Fault::UnreadableKey)?;
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(text, &PKCS_ECDSA_P256_SHA256);
        let key = pair.map_err(|_| Fault::UnreadableKey)?;
        if parse(&der)?.public_key().raw != key.subject_public_key_info() {
            return Err(Fault::KeyMismatch);
        }
        let authority = Self {
            anchor,
            key: Arc::new(key),
        };
        if authority.is_believed() {
            Ok(authority)
        } else {
            Err(Fault::Foreign)
        }
    }

    /// Whether who trusts it accepts what it signs. A certificate with a damaged byte can still be read, and belong to
    /// its key, and yet no leaf of it would ever verify.
    fn is_believed(&self) -> bool {
        let name = "daemonjob.invalid";
        let Ok(mut params) = CertificateParams::new([name.to_owned()]) else {
            return false;
        };
        time::set_validity(&mut params, self.anchor.not_before, self.anchor.not_after);
        params.use_authority_key_identifier_extension = true;
        let Ok(leaf) = self.sign(&params, self.key.as_ref()) else {
            return false;
        };
        let trusted = bundle::encode(&BTreeSet::from([self.anchor.clone()]));
        bundle::verify(leaf.der(), &trusted, name, self.anchor.not_after).is_ok()
    }

    /// Its public half.
    pub fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The key as PEM text, for the Secret and for nothing else.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn sign(&self, params: &CertificateParams, key: &impl SigningKey) -> Result<Certificate, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(self.anchor.der()), self.key.as_ref())?;
        params.signed_by(key, &issuer)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn now() -> Timestamp {
        "2026-05-01T12:00:00.5Z".parse().expect("a time")
    }

    fn authority() -> Authority {
        Authority::generate(now()).expect("an authority")
    }

    /// A self-signed P-256 certificate and key that only resemble ours.
    fn lookalike(name: &str, is_ca: IsCa) -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = is_ca;
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (
            params.self_signed(&key).expect("a certificate").pem(),
            key.serialize_pem(),
        )
    }

    #[test]
    fn survives_its_pem_form() {
        let made = authority();
        let read = Authority::from_pem(made.anchor().pem().as_bytes(), made.key_pem().as_bytes()).expect("readable");
        assert_eq!(read, made);
    }

    #[test]
    fn is_valid_from_two_days_ago_for_a_year() {
        let anchor = authority().anchor().clone();
        assert_eq!(anchor.not_before, "2026-04-29T12:00:00Z".parse().expect("a time"));
        assert_eq!(anchor.not_after, "2027-05-01T12:00:00Z".parse().expect("a time"));
        assert_eq!(anchor.check_time(time::earlier(now(), AUTHORITY_BACKDATE)), Ok(()));
        assert_eq!(
            anchor.check_time(time::earlier(now(), Duration::from_hours(49))),
            Err(Fault::NotYetValid)
        );
        assert_eq!(
            anchor.check_time(time::later(now(), AUTHORITY_LIFE)),
            Err(Fault::Expired)
        );
    }

    #[test]
    fn key_of_another_authority_is_a_mismatch() {
        let (one, other) = (authority(), authority());
        let read = Authority::from_pem(one.anchor().pem().as_bytes(), other.key_pem().as_bytes());
        assert_eq!(read, Err(Fault::KeyMismatch));
    }

    #[rstest]
    #[case::empty(b"", Fault::UnreadableCertificate)]
    #[case::no_pem(b"garbage\xff\x00", Fault::UnreadableCertificate)]
    #[case::pem_of_garbage(
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        Fault::UnreadableCertificate
    )]
    fn garbage_certificate_is_unreadable(#[case] certificate: &[u8], #[case] fault: Fault) {
        assert_eq!(
            Authority::from_pem(certificate, authority().key_pem().as_bytes()),
            Err(fault)
        );
    }

    #[rstest]
    #[case::empty(b"")]
    #[case::not_text(b"\xff\xfe")]
    #[case::pem_of_garbage(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")]
    fn garbage_key_is_unreadable(#[case] key: &[u8]) {
        assert_eq!(
            Authority::from_pem(authority().anchor().pem().as_bytes(), key),
            Err(Fault::UnreadableKey)
        );
    }

    #[rstest]
    #[case::somebody_elses("Example Root", IsCa::Ca(BasicConstraints::Unconstrained))]
    #[case::our_name_but_no_authority(COMMON_NAME, IsCa::NoCa)]
    fn certificates_of_others_are_foreign(#[case] name: &str, #[case] is_ca: IsCa) {
        let (certificate, key) = lookalike(name, is_ca);
        assert_eq!(
            Authority::from_pem(certificate.as_bytes(), key.as_bytes()),
            Err(Fault::Foreign)
        );
    }

    #[test]
    fn anchors_are_found_among_what_is_not_ours() {
        let ours = authority().anchor().clone();
        let (foreign, _) = lookalike("Example Root", IsCa::Ca(BasicConstraints::Unconstrained));
        let text = format!("# a comment\n{foreign}{}junk", ours.pem());
        assert_eq!(Anchor::all_in_pem(text.as_bytes()), [ours]);
    }

    #[test]
    fn debug_shows_no_key() {
        let made = authority();
        let shown = format!("{made:?}");
        let secret = made.key_pem().lines().nth(1).expect("a line").to_owned();
        assert!(!shown.contains(&secret) && !shown.contains("key:"), "{shown}");
    }
}
