//! The leaf: the certificate that this replica serves, and its key. It lives in memory only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::PKCS_ECDSA_P256_SHA256;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

use crate::authority::{self, Anchor, Authority, Fault};
use crate::time;

/// How long a leaf is valid. Short, because a leaf cannot be revoked; a replica that is cut off for days still serves.
pub const LEAF_LIFE: Duration = Duration::from_hours(24 * 7);

/// How far the beginning of a leaf's validity lies in the past: API servers' clocks may be this far behind ours.
pub const LEAF_BACKDATE: Duration = Duration::from_hours(1);

/// A leaf could not be made.
#[derive(Debug, Error)]
pub enum LeafError {
    /// The key or the certificate could not be generated.
    #[error("cannot issue a serving certificate")]
    Issue {
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// A name that cannot stand in a certificate.
    #[error("cannot put the names {names:?} into a certificate")]
    Names {
        /// The names asked for.
        names: Vec<String>,
        /// What the library says.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate just generated could not be read back.
    #[error("cannot read back the serving certificate just issued")]
    ReadBack {
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
}

/// A serving certificate, its key and who signed it.
pub struct Leaf {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    issuer: Anchor,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// Without the key: it must never reach a log.
impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Leaf");
        shown
            .field("issuer", &self.issuer)
            .field("not_before", &self.not_before);
        shown.field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Leaf {
    /// Issues a leaf for `names` (DNS names or IP addresses), valid from an hour before `now` for seven days.
    ///
    /// # Errors
    /// When a name cannot be in a certificate, or the library cannot make one.
    pub fn issue(authority: &Authority, names: &[String], now: Timestamp) -> Result<Self, LeafError> {
        let failed = |source| LeafError::Issue { source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = authority
            .sign(&params(names, authority.anchor(), now)?, &key)
            .map_err(failed)?;
        let certificate = certificate.der().clone();
        let (not_before, not_after) = authority::parse(&certificate)
            .and_then(|parsed| authority::validity(&parsed))
            .map_err(|source| LeafError::ReadBack { source })?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self {
            certificate,
            key,
            issuer: authority.anchor().clone(),
            not_before,
            not_after,
        })
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The key.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The authority that signed it.
    pub fn issuer(&self) -> &Anchor {
        &self.issuer
    }

    /// The end of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is valid at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether a new one is due: two thirds of its life are over, or the clock went back before its beginning.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now < self.not_before || now >= time::two_thirds(self.not_before, self.not_after)
    }
}

fn params(names: &[String], issuer: &Anchor, now: Timestamp) -> Result<CertificateParams, LeafError> {
    let rejected = |source| LeafError::Names {
        names: names.to_vec(),
        source,
    };
    let mut params = CertificateParams::new(names).map_err(rejected)?;
    // A leaf that outlives its authority would look valid here and be refused everywhere.
    let not_after = time::later(now, LEAF_LIFE).min(issuer.not_after());
    time::set_validity(&mut params, time::earlier(now, LEAF_BACKDATE), not_after);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "daemonjob webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // So that a verifier picks the right one of several authorities in the bundle.
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// What is known when deciding whether the served leaf stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeafView<'a> {
    /// The leaf that is served, if any.
    pub(crate) served: Option<&'a Leaf>,
    /// The authority that signs now.
    pub(crate) current: &'a Anchor,
    /// The anchors that both configurations carry, and for how long this replica has seen that.
    pub(crate) trusted: &'a BTreeMap<Anchor, Duration>,
    /// For how long both must carry an authority before its leaves are served.
    pub(crate) soak: Duration,
}

impl LeafView<'_> {
    /// Whether a new leaf must be issued.
    ///
    /// A leaf of the current authority is renewed in time.
    /// A leaf of an earlier one is kept until its successor is trusted everywhere;
    /// only when it is of no use any more, the successor is taken at once.
    /// An authority that is out of its time signs nothing: if the clock is wrong, the leaf before is better.
    pub(crate) fn must_issue(&self, now: Timestamp) -> bool {
        if self.current.check_time(now).is_err() {
            return false;
        }
        let Some(leaf) = self.served else { return true };
        if leaf.issuer() == self.current {
            return leaf.is_due(now);
        }
        match self.trusted.get(self.current) {
            Some(seen) if *seen >= self.soak || !self.trusted.contains_key(leaf.issuer()) => true,
            Some(_) | None => !leaf.is_valid(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::bundle::{self, VerifyError};
    use crate::rotation::SOAK;

    fn names() -> Vec<String> {
        ["hook.jobs.svc", "hook.jobs.svc.cluster.local", "127.0.0.1", "fd00::1"]
            .map(String::from)
            .to_vec()
    }

    fn now() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().expect("a time")
    }

    fn authority() -> Authority {
        Authority::generate(now()).expect("an authority")
    }

    fn leaf(authority: &Authority) -> Leaf {
        Leaf::issue(authority, &names(), now()).expect("a leaf")
    }

    fn bundle(authorities: &[&Authority]) -> Vec<u8> {
        bundle::encode(&authorities.iter().map(|authority| authority.anchor().clone()).collect())
    }

    #[rstest]
    #[case::service("hook.jobs.svc")]
    #[case::service_in_full("hook.jobs.svc.cluster.local")]
    #[case::ipv4("127.0.0.1")]
    #[case::ipv6("fd00::1")]
    fn verifies_for_each_name(#[case] name: &str) {
        let (ours, other) = (authority(), authority());
        let leaf = leaf(&ours);
        assert_eq!(
            bundle::verify(leaf.certificate(), &bundle(&[&ours]), name, now()),
            Ok(())
        );
        assert_eq!(
            bundle::verify(leaf.certificate(), &bundle(&[&other, &ours]), name, now()),
            Ok(())
        );
    }

    #[rstest]
    #[case::other_service("hook.other.svc")]
    #[case::other_address("127.0.0.2")]
    fn does_not_verify_for_another_name(#[case] name: &str) {
        let ours = authority();
        let verdict = bundle::verify(leaf(&ours).certificate(), &bundle(&[&ours]), name, now());
        assert!(matches!(verdict, Err(VerifyError::ServerName { .. })), "{verdict:?}");
    }

    #[test]
    fn does_not_verify_against_another_authority_or_nothing() {
        let leaf = leaf(&authority());
        let verdict = bundle::verify(leaf.certificate(), &bundle(&[&authority()]), "hook.jobs.svc", now());
        assert!(matches!(verdict, Err(VerifyError::Path { .. })), "{verdict:?}");
        let verdict = bundle::verify(leaf.certificate(), b"garbage", "hook.jobs.svc", now());
        assert_eq!(verdict, Err(VerifyError::EmptyBundle));
    }

    #[test]
    fn f28_is_valid_for_clocks_an_hour_behind_and_for_seven_days() {
        let ours = authority();
        let leaf = leaf(&ours);
        let at = |time| bundle::verify(leaf.certificate(), &bundle(&[&ours]), "hook.jobs.svc", time).is_ok();
        assert!(at(time::earlier(now(), LEAF_BACKDATE)));
        assert!(!at(time::earlier(now(), LEAF_BACKDATE + Duration::from_secs(1))));
        assert!(at(time::later(now(), LEAF_LIFE)));
        assert!(!at(time::later(now(), LEAF_LIFE + Duration::from_secs(1))));
    }

    #[test]
    fn is_due_after_two_thirds_of_its_life_or_before_its_beginning() {
        let leaf = leaf(&authority());
        // Seven days and an hour are 169 hours, two thirds of them 112 h 40 min, one of them before `now`.
        let due = time::later(now(), Duration::from_mins(111 * 60 + 40));
        assert!(!leaf.is_due(now()));
        assert!(!leaf.is_due(time::earlier(due, Duration::from_secs(1))));
        assert!(leaf.is_due(due));
        assert!(leaf.is_due(time::earlier(now(), Duration::from_hours(2))));
    }

    #[test]
    fn never_outlives_its_authority() {
        let ours = authority();
        let late = time::earlier(ours.anchor().not_after(), Duration::from_hours(1));
        let leaf = Leaf::issue(&ours, &names(), late).expect("a leaf");
        assert_eq!(leaf.not_after(), ours.anchor().not_after());
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_an_error() {
        let issued = Leaf::issue(&authority(), &["häuschen.svc".to_owned()], now());
        assert!(matches!(issued, Err(LeafError::Names { .. })));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", leaf(&authority()));
        assert!(!shown.contains("key") && !shown.contains("Pkcs8"), "{shown}");
    }

    #[rstest]
    #[case::both_trusted_not_soaked(true, Some(Duration::ZERO), false)]
    #[case::both_trusted_and_soaked(true, Some(SOAK), true)]
    #[case::only_the_new_one_trusted(false, Some(Duration::ZERO), true)]
    #[case::none_trusted(false, None, false)]
    #[case::only_the_old_one_trusted(true, None, false)]
    fn leaf_of_an_earlier_authority(#[case] old: bool, #[case] new: Option<Duration>, #[case] must_issue: bool) {
        let (before, current) = (authority(), authority());
        let served = leaf(&before);
        let mut trusted = BTreeMap::new();
        trusted.extend(old.then(|| (before.anchor().clone(), SOAK)));
        trusted.extend(new.map(|seen| (current.anchor().clone(), seen)));
        let view = LeafView {
            served: Some(&served),
            current: current.anchor(),
            trusted: &trusted,
            soak: SOAK,
        };
        assert_eq!(view.must_issue(now()), must_issue);
        let expired = time::later(now(), LEAF_LIFE + Duration::from_secs(1));
        assert!(view.must_issue(expired), "an expired leaf is of no use");
    }
}
