//! What can go wrong with a request between the process and the API server.

use daemonjob_cluster::Call;
use http::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// What happens to one request.
pub(crate) enum Fault {
    /// Nothing goes wrong.
    None,
    /// It never reaches the API server, and nobody answers.
    Lost,
    /// The API server has done it; the connection breaks instead of the answer.
    Cut,
    /// The API server has done it; a gateway in between answers instead of it.
    AnsweredBy(Refusal),
    /// It never reaches the API server; it is answered so.
    Refused(Refusal),
}

/// Decides for each request.
pub(crate) type Rules = Box<dyn FnMut(&Call) -> Fault + Send>;

/// An answer that is a failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    /// Seconds of `Retry-After`, which the Status object repeats; 0 for none.
    pub(crate) retry_after: u16,
}

impl Refusal {
    pub(crate) const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            retry_after: 0,
        }
    }

    /// 409 on a write whose object has changed.
    pub(crate) const CONFLICT: Self = Self::new(409, "Conflict");
    /// 504: a gateway or the server itself gave up, whatever became of the request.
    pub(crate) const TIMEOUT: Self = Self::new(504, "Timeout");

    /// 429, with how long to wait.
    pub(crate) const fn busy(retry_after: u16) -> Self {
        Self {
            retry_after,
            ..Self::new(429, "TooManyRequests")
        }
    }

    pub(super) fn code(self) -> StatusCode {
        StatusCode::from_u16(self.code).expect("it is a code of HTTP")
    }

    /// As an API server writes it.
    pub(super) fn body(self) -> Bytes {
        self.status().to_string().into_bytes().into()
    }

    /// The Status object.
    fn status(self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("{} on purpose", self.reason), "reason": self.reason, "code": self.code,
        });
        if self.retry_after > 0 {
            status["details"] = json!({"retryAfterSeconds": self.retry_after});
        }
        status
    }
}
