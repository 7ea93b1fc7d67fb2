//! What can go wrong: with the server, and with a single request.

use std::io;
use std::net::SocketAddr;

use axum::http::StatusCode;
use axum::http::header::{CONNECTION, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};

use crate::Outcome;
use crate::body::{BODY_MAX, BUDGET_WAIT, READ_TIMEOUT};

/// Why the webhook cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address cannot be listened on: in use, not ours, or a port that needs privileges.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The TLS library refuses the protocol versions.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Why a body is no AdmissionReview that may be answered with a verdict: the caller gets a 400.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("expected apiVersion admission.k8s.io/v1 and kind AdmissionReview, got {api_version:.64} and {kind:.64}")]
    Kind { api_version: String, kind: String },
    #[error("the AdmissionReview cannot be read: {0}")]
    Json(#[source] serde_json::Error),
    #[error("request.uid must have 1 to {max} characters, has {length}")]
    Uid { length: usize, max: usize },
    #[error("the body is not UTF-8")]
    Utf8,
}

/// Why a request gets an HTTP error and no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the body did not arrive")]
    Broken,
    #[error("bodies must not be encoded (Content-Encoding)")]
    Encoded,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("Content-Type must be application/json")]
    MediaType,
    #[error("too many reviews in flight, no room within {BUDGET_WAIT:?}: try again")]
    Overloaded,
    #[error("the body is larger than {BODY_MAX} bytes")]
    TooLarge,
    #[error("the body did not arrive within {READ_TIMEOUT:?}")]
    TooSlow,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Broken | Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Encoded | Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The same as observers see it.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Broken | Self::TooSlow => Outcome::Interrupted,
            Self::Encoded | Self::MediaType => Outcome::MediaType,
            Self::Malformed(_) => Outcome::Malformed,
            Self::Overloaded => Outcome::Overloaded,
            Self::TooLarge => Outcome::TooLarge,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status(), format!("{self}\n")).into_response();
        let headers = response.headers_mut();
        match self {
            // API servers repeat a call that is answered with a 5xx and this header.
            Self::Overloaded => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            // The rest of the body is not worth reading.
            Self::Broken | Self::TooLarge | Self::TooSlow => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Encoded | Self::Malformed(_) | Self::MediaType => {}
        }
        response
    }
}
