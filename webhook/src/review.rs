//! The wire form of an AdmissionReview, `admission.k8s.io/v1` and nothing else.
//!
//! Reading has two stages. The envelope is decoded here, and `object` and `oldObject` stay unread text;
//! skipping them takes no recursion. So an object that cannot be read is still answered with the request's uid.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use data_encoding::BASE64;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::error::Malformed;
use crate::verdict::{Status, Verdict};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";
/// Longest uid that is answered. API servers send 36 characters; an answer repeats whatever it is given.
const UID_MAX: usize = 128;
/// Longest text of a member of the envelope, far above what API servers send.
/// Decoders copy what they read, and their errors repeat what they did not expect: longer members are not decoded.
const MEMBER_MAX: usize = 16 << 10;

/// The request of a review.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a> {
    #[serde(deserialize_with = "short")]
    pub(crate) uid: String,
    #[serde(deserialize_with = "mapping")]
    pub(crate) kind: GroupVersionKind,
    #[serde(deserialize_with = "mapping")]
    pub(crate) resource: GroupVersionResource,
    #[serde(default, deserialize_with = "short")]
    pub(crate) sub_resource: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "name")]
    pub(crate) namespace: Option<String>,
    #[serde(deserialize_with = "short")]
    pub(crate) operation: Operation,
    #[serde(deserialize_with = "mapping")]
    pub(crate) user_info: UserInfo,
    #[serde(borrow)]
    pub(crate) object: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) old_object: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "short")]
    pub(crate) dry_run: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GroupVersionKind {
    #[serde(deserialize_with = "short")]
    pub(crate) group: String,
    #[serde(deserialize_with = "short")]
    pub(crate) version: String,
    #[serde(deserialize_with = "short")]
    pub(crate) kind: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct GroupVersionResource {
    #[serde(deserialize_with = "short")]
    pub(crate) group: String,
    #[serde(deserialize_with = "short")]
    pub(crate) version: String,
    #[serde(deserialize_with = "short")]
    pub(crate) resource: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct UserInfo {
    #[serde(default, deserialize_with = "name")]
    pub(crate) username: Option<String>,
}

/// What the API server was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Operation {
    /// A connection to a subresource.
    Connect,
    /// A new object.
    Create,
    /// A deletion.
    Delete,
    /// A change.
    Update,
}

impl Operation {
    /// As it stands in a review.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
        }
    }
}

impl TryFrom<String> for Operation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        [Self::Connect, Self::Create, Self::Delete, Self::Update]
            .into_iter()
            .find(|operation| operation.as_str() == text)
            .ok_or_else(|| "operation must be CONNECT, CREATE, DELETE or UPDATE".to_owned())
    }
}

/// Reads a JSON object. Derived decoders take a list of the fields' values as well; we do not.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    // What JSON calls white space.
    if !text.trim_start_matches([' ', '\n', '\r', '\t']).starts_with('{') {
        return Err(serde_json::Error::custom("expected a JSON object"));
    }
    serde_json::from_str(text)
}

/// The same within a review.
fn mapping<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Mapping(PhantomData))
}

struct Mapping<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Mapping<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }

    /// The error that is usual would repeat the text.
    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<T, E> {
        Err(E::custom("expected a JSON object"))
    }
}

fn short<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<T, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?.get();
    if text.len() > MEMBER_MAX {
        let length = text.len();
        return Err(D::Error::custom(format_args!(
            "{length} bytes where at most {MEMBER_MAX} are read"
        )));
    }
    serde_json::from_str(text).map_err(|error| without_position(&error))
}

/// An error of a member, for the decoder of what is around it, which says where it is.
fn without_position<E: serde::de::Error>(error: &serde_json::Error) -> E {
    let text = error.to_string();
    E::custom(
        text.rsplit_once(" at line ")
            .map_or(text.as_str(), |(message, _)| message),
    )
}

/// A text that is only shown. Users choose it, so that its length is no fault of the review: a long one is left out.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let raw = <&RawValue>::deserialize(deserializer)?;
    if raw.get().len() > MEMBER_MAX && raw.get().starts_with('"') {
        return Ok(None);
    }
    short(raw).map_err(|error| without_position(&error))
}

/// The first stage: which review is this?
pub(crate) fn parse(body: &[u8]) -> Result<Request<'_>, Malformed> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Review<'a> {
        #[serde(deserialize_with = "short")]
        api_version: String,
        #[serde(deserialize_with = "short")]
        kind: String,
        #[serde(borrow, deserialize_with = "mapping")]
        request: Request<'a>,
    }

    let text = std::str::from_utf8(body).map_err(|_| Malformed::Utf8)?;
    let review: Review<'_> = object(text).map_err(|error| malformed(text, error))?;
    check_kind(review.api_version, review.kind)?;
    let length = review.request.uid.len();
    if length == 0 || length > UID_MAX {
        return Err(Malformed::Uid { length, max: UID_MAX });
    }
    Ok(review.request)
}

/// Of another version, the request has another shape, and the answer should name the version.
fn malformed(text: &str, error: serde_json::Error) -> Malformed {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope {
        #[serde(deserialize_with = "short")]
        api_version: String,
        #[serde(deserialize_with = "short")]
        kind: String,
    }

    let kind = object(text).map(|Envelope { api_version, kind }| check_kind(api_version, kind));
    match kind {
        Ok(Err(other)) => other,
        Ok(Ok(())) | Err(_) => Malformed::Json(error),
    }
}

fn check_kind(api_version: String, kind: String) -> Result<(), Malformed> {
    if api_version == API_VERSION && kind == KIND {
        Ok(())
    } else {
        Err(Malformed::Kind { api_version, kind })
    }
}

/// The answer to the request with this uid, as JSON.
pub(crate) fn answer(uid: &str, verdict: &Verdict) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Review<'a> {
        api_version: &'static str,
        kind: &'static str,
        response: Response<'a>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'a> {
        uid: &'a str,
        allowed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Status>,
        #[serde(skip_serializing_if = "Option::is_none")]
        patch: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        patch_type: Option<&'static str>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        warnings: &'a [String],
    }

    let mut response = Response {
        uid,
        allowed: true,
        status: None,
        patch: None,
        patch_type: None,
        warnings: &[],
    };
    match verdict {
        Verdict::Allowed { patch, warnings } => {
            if !patch.is_empty() {
                response.patch = Some(BASE64.encode(&json(patch)));
                response.patch_type = Some("JSONPatch");
            }
            response.warnings = warnings;
        }
        Verdict::Denied(denial) => {
            response.allowed = false;
            response.status = Some(denial.status());
        }
    }
    json(&Review {
        api_version: API_VERSION,
        kind: KIND,
        response,
    })
    .into()
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings, booleans and string-keyed maps always have a JSON form")
}

#[cfg(test)]
mod tests;
