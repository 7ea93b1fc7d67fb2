//! The Secret that holds the authorities: read, created and patched by its name, never listed.
//!
//! Every write carries the `resourceVersion` that was read: of two replicas that make an authority at once,
//! one is told of a conflict, reads again and uses the other's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
pub(crate) use kube::Client;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde::Serialize;
use thiserror::Error;

use crate::authority::{Anchor, Authority, Fault};
use crate::rotation::{Previous, Slot, Slots};

/// No call takes longer: the client has no read timeout of its own, and a hung call would stop every later tick.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Who writes, in `managedFields`.
pub(crate) const FIELD_MANAGER: &str = "daemonjob";

const CURRENT_CERTIFICATE: &str = "current.crt";
const CURRENT_KEY: &str = "current.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS_CERTIFICATES: &str = "previous.crt";
const PREVIOUS_RETIRED: &str = "previous.retired";

/// Every key of the Secret's data that is ours; others are left alone.
const DATA_KEYS: [&str; 6] = [
    CURRENT_CERTIFICATE,
    CURRENT_KEY,
    NEXT_CERTIFICATE,
    NEXT_KEY,
    PREVIOUS_CERTIFICATES,
    PREVIOUS_RETIRED,
];

type Data = BTreeMap<String, ByteString>;

/// A call to the API server that failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// The API server refused, or could not be reached.
    #[error("the API server refused the request or cannot be reached")]
    Api {
        /// What the client says.
        #[source]
        source: kube::Error,
    },
    /// No answer in time.
    #[error("no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut,
}

impl CallError {
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status) } if status.is_conflict() || status.is_already_exists())
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status) } if status.is_not_found())
    }
}

/// Awaits a call for at most [`CALL_TIMEOUT`].
pub(crate) async fn call<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, CallError> {
    match tokio::time::timeout(CALL_TIMEOUT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(CallError::Api { source }),
        Err(_) => Err(CallError::TimedOut),
    }
}

/// The Secret could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The Secret is missing and could not be created.
    #[error("cannot create the Secret {name}")]
    Create {
        /// The Secret.
        name: String,
        /// What went wrong.
        #[source]
        source: CallError,
    },
    /// The Secret could not be changed.
    #[error("cannot patch the Secret {name}")]
    Patch {
        /// The Secret.
        name: String,
        /// What went wrong.
        #[source]
        source: CallError,
    },
    /// The Secret could not be read.
    #[error("cannot read the Secret {name}")]
    Read {
        /// The Secret.
        name: String,
        /// What went wrong.
        #[source]
        source: CallError,
    },
}

/// Which Secret, as it was when it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Basis {
    /// It did not exist.
    Missing,
    /// It had this `resourceVersion`.
    Version(String),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Written {
    /// Somebody else wrote first: read again.
    Conflict,
    Created,
    Patched,
}

/// The Secret's place.
#[derive(Clone)]
pub(crate) struct SecretStore {
    secrets: Api<Secret>,
    name: String,
}

impl SecretStore {
    pub(crate) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }

    pub(crate) async fn read(&self) -> Result<(Slots, Basis), StoreError> {
        let read = call(self.secrets.get_opt(&self.name)).await;
        let secret = read.map_err(|source| StoreError::Read {
            name: self.name.clone(),
            source,
        })?;
        Ok(match secret {
            None => (Slots::default(), Basis::Missing),
            Some(secret) => {
                let version = secret.metadata.resource_version.unwrap_or_default();
                (decode(&secret.data.unwrap_or_default()), Basis::Version(version))
            }
        })
    }

    /// Writes the slots if the Secret is still as it was read.
    pub(crate) async fn write(&self, slots: &Slots, basis: &Basis) -> Result<Written, StoreError> {
        match basis {
            Basis::Missing => self.create(slots).await,
            Basis::Version(version) => self.patch(slots, version).await,
        }
    }

    async fn create(&self, slots: &Slots) -> Result<Written, StoreError> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            ..ObjectMeta::default()
        };
        let secret = Secret {
            metadata,
            data: Some(encode(slots)),
            ..Secret::default()
        };
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match call(self.secrets.create(&params, &secret)).await {
            Ok(_) => Ok(Written::Created),
            Err(error) if error.is_conflict() => Ok(Written::Conflict),
            Err(source) => Err(StoreError::Create {
                name: self.name.clone(),
                source,
            }),
        }
    }

    async fn patch(&self, slots: &Slots, version: &str) -> Result<Written, StoreError> {
        let mut written = encode(slots);
        let data = DATA_KEYS.into_iter().map(|key| (key, written.remove(key))).collect();
        let patch = SecretPatch {
            metadata: PatchMetadata {
                resource_version: version,
            },
            data,
        };
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match call(self.secrets.patch(&self.name, &params, &Patch::Merge(patch))).await {
            Ok(_) => Ok(Written::Patched),
            // Gone since it was read: it is made again from what the next read finds.
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(Written::Conflict),
            Err(source) => Err(StoreError::Patch {
                name: self.name.clone(),
                source,
            }),
        }
    }
}

/// A merge patch: a key without a value is removed.
#[derive(Serialize)]
struct SecretPatch<'a> {
    metadata: PatchMetadata<'a>,
    data: BTreeMap<&'static str, Option<ByteString>>,
}

#[derive(Serialize)]
struct PatchMetadata<'a> {
    #[serde(rename = "resourceVersion")]
    resource_version: &'a str,
}

/// Without the data: the client asks for `Debug`, and keys must never reach a log.
impl fmt::Debug for SecretPatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretPatch").finish_non_exhaustive()
    }
}

/// Reads any content whatever; what cannot be used is a broken slot.
fn decode(data: &Data) -> Slots {
    let field = |key: &str| {
        data.get(key)
            .map(|value| value.0.as_slice())
            .filter(|value| !value.is_empty())
    };
    let mut slots = Slots {
        current: decode_authority(field(CURRENT_CERTIFICATE), field(CURRENT_KEY)),
        next: decode_authority(field(NEXT_CERTIFICATE), field(NEXT_KEY)),
        previous: decode_previous(field(PREVIOUS_CERTIFICATES), field(PREVIOUS_RETIRED)),
    };
    if slots.current == Slot::Empty && data.keys().any(|key| !DATA_KEYS.contains(&key.as_str())) {
        slots.current = Slot::Broken {
            fault: Fault::Foreign,
            anchor: None,
        };
    }
    slots
}

fn decode_authority(certificate: Option<&[u8]>, key: Option<&[u8]>) -> Slot<Authority> {
    let read = match (certificate, key) {
        (None, None) => return Slot::Empty,
        (Some(certificate), Some(key)) => Authority::from_pem(certificate, key),
        (Some(_), None) | (None, Some(_)) => Err(Fault::Incomplete),
    };
    match read {
        Ok(authority) => Slot::Filled(authority),
        Err(fault) => {
            let anchor = certificate.and_then(|pem| Anchor::all_in_pem(pem).pop());
            Slot::Broken { fault, anchor }
        }
    }
}

fn decode_previous(certificates: Option<&[u8]>, retired: Option<&[u8]>) -> Slot<Previous> {
    let Some(pem) = certificates else { return Slot::Empty };
    let anchors: BTreeSet<_> = Anchor::all_in_pem(pem).into_iter().collect();
    if anchors.is_empty() {
        return Slot::Broken {
            fault: Fault::UnreadableCertificate,
            anchor: None,
        };
    }
    let retired = retired
        .and_then(|text| std::str::from_utf8(text).ok())
        .and_then(|text| text.parse().ok());
    Slot::Filled(Previous { anchors, retired })
}

fn encode(slots: &Slots) -> Data {
    let mut data = Data::new();
    let mut put = |key: &str, value: String| data.insert(key.to_owned(), ByteString(value.into_bytes()));
    let authorities = [
        (CURRENT_CERTIFICATE, CURRENT_KEY, &slots.current),
        (NEXT_CERTIFICATE, NEXT_KEY, &slots.next),
    ];
    for (certificate, key, slot) in authorities {
        if let Slot::Filled(authority) = slot {
            put(certificate, authority.anchor().pem());
            put(key, authority.key_pem());
        }
    }
    if let Slot::Filled(previous) = &slots.previous {
        put(
            PREVIOUS_CERTIFICATES,
            previous.anchors.iter().map(Anchor::pem).collect(),
        );
        if let Some(retired) = previous.retired.map(|time: Timestamp| time.to_string()) {
            put(PREVIOUS_RETIRED, retired);
        }
    }
    data
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn now() -> Timestamp {
        "2026-05-01T12:00:00Z".parse().expect("a time")
    }

    fn authority() -> Authority {
        Authority::generate(now()).expect("an authority")
    }

    fn full() -> Slots {
        let anchors = [authority(), authority()]
            .map(|authority| authority.anchor().clone())
            .into();
        Slots {
            current: Slot::Filled(authority()),
            next: Slot::Filled(authority()),
            previous: Slot::Filled(Previous {
                anchors,
                retired: Some(now()),
            }),
        }
    }

    fn data(pairs: &[(&str, &str)]) -> Data {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
            .collect()
    }

    fn broken<T>(fault: Fault) -> Slot<T> {
        Slot::Broken { fault, anchor: None }
    }

    #[test]
    fn slots_survive_the_secret() {
        for slots in [
            full(),
            Slots::default(),
            Slots {
                next: Slot::Empty,
                ..full()
            },
        ] {
            assert_eq!(decode(&encode(&slots)), slots);
        }
    }

    #[test]
    fn documented_keys_are_the_ones_written() {
        assert!(encode(&full()).keys().eq(DATA_KEYS.iter()));
    }

    #[rstest]
    #[case::emptied(&[], Slot::Empty)]
    #[case::values_emptied(&[("current.crt", ""), ("current.key", "")], Slot::Empty)]
    #[case::garbage(&[("current.crt", "x"), ("current.key", "y")], broken(Fault::UnreadableCertificate))]
    #[case::key_alone(&[("current.key", "y")], broken(Fault::Incomplete))]
    #[case::foreign(&[("tls.crt", "x"), ("tls.key", "y")], broken(Fault::Foreign))]
    fn f29_bad_content_is_a_broken_slot(#[case] pairs: &[(&str, &str)], #[case] current: Slot<Authority>) {
        assert_eq!(
            decode(&data(pairs)),
            Slots {
                current,
                ..Slots::default()
            }
        );
    }

    #[test]
    fn f29_certificate_with_the_wrong_key_stays_known() {
        let (one, other) = (authority(), authority());
        let pairs = [("current.crt", one.anchor().pem()), ("current.key", other.key_pem())];
        let slots = decode(&data(&pairs.each_ref().map(|(key, value)| (*key, value.as_str()))));
        let anchor = Some(one.anchor().clone());
        assert_eq!(
            slots.current,
            Slot::Broken {
                fault: Fault::KeyMismatch,
                anchor
            }
        );
    }

    #[test]
    fn previous_with_an_unreadable_time_is_still_trusted() {
        let anchor = authority().anchor().clone();
        let slots = decode(&data(&[
            ("previous.crt", &anchor.pem()),
            ("previous.retired", "yesterday"),
        ]));
        assert_eq!(
            slots.previous,
            Slot::Filled(Previous {
                anchors: [anchor].into(),
                retired: None
            })
        );
        let slots = decode(&data(&[("previous.crt", "garbage")]));
        assert_eq!(slots.previous, broken(Fault::UnreadableCertificate));
    }

    #[test]
    fn patch_removes_what_is_empty_and_shows_nothing() {
        let slots = Slots {
            current: Slot::Filled(authority()),
            ..Slots::default()
        };
        let mut written = encode(&slots);
        let data = DATA_KEYS.into_iter().map(|key| (key, written.remove(key))).collect();
        let patch = SecretPatch {
            metadata: PatchMetadata { resource_version: "7" },
            data,
        };
        let json = serde_json::to_value(&patch).expect("JSON");
        assert_eq!(json["metadata"]["resourceVersion"], "7");
        assert!(json["data"]["current.key"].is_string());
        assert!(json["data"]["next.key"].is_null() && json["data"].get("next.key").is_some());
        assert_eq!(format!("{patch:?}"), "SecretPatch { .. }");
    }
}
