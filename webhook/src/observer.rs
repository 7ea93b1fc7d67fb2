//! What the process may count, without this crate knowing how it counts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::review::Operation;

/// Told about each review. Called on the serving task: it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A request on one of the two paths begins.
    fn began(&self, endpoint: Endpoint);

    /// Its work is over, answered or not: the caller may have gone away.
    fn ended(&self, endpoint: Endpoint);

    /// A request on one of the two paths was answered.
    fn reviewed(&self, review: &Reviewed);

    /// `accept` failed, or a connection had to go because too many were open.
    fn connection_refused(&self);
}

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// The path.
    pub endpoint: Endpoint,
    /// What the API server was asked to do; none if the request could not be read.
    pub operation: Option<Operation>,
    /// How it ended.
    pub outcome: Outcome,
    /// The HTTP status of the answer; a denial is a 200.
    pub status: u16,
    /// The kinds of its causes, each once, if it was denied: `FieldValueInvalid` and the like.
    pub denied_for: BTreeSet<&'static str>,
    /// From the request's head to the answer.
    pub duration: Duration,
}

/// The two paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/mutate`
    Mutate,
    /// `/validate`
    Validate,
}

impl Endpoint {
    /// The path, as configurations name it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Mutate => "/mutate",
            Self::Validate => "/validate",
        }
    }
}

/// How a review ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Allowed, nothing to patch.
    Allowed,
    /// Refused with causes: HTTP 200, `allowed: false`.
    Denied,
    /// The body did not arrive in time, or its connection broke.
    Interrupted,
    /// No AdmissionReview v1: HTTP 400.
    Malformed,
    /// Not plain JSON by its headers: HTTP 415.
    MediaType,
    /// Too much in flight: HTTP 503.
    Overloaded,
    /// Allowed, with a patch.
    Patched,
    /// A body over the limit: HTTP 413.
    TooLarge,
}

impl Outcome {
    /// Whether the API server may go on with its request.
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed | Self::Patched)
    }

    /// One word, fit for a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Interrupted => "interrupted",
            Self::Malformed => "malformed",
            Self::MediaType => "media_type",
            Self::Overloaded => "overloaded",
            Self::Patched => "patched",
            Self::TooLarge => "too_large",
        }
    }
}
