//! What can go wrong with a request between the process and the API server.

use std::time::Duration;

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
    /// It never reaches the API server; it is answered with this object.
    Answered(Value),
    /// The API server hears of it so much later, whether the process still waits or not.
    Late(Duration),
    /// The API server answers, and the answer is changed on its way.
    Forged(fn(&mut Value)),
    /// The API server is asked for a watch from another version on.
    Since(u64),
    /// A watch whose events come otherwise than the API server sends them.
    Told(Pace),
}

/// How the events of a watch reach the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Each so much later.
    pub(crate) lag: Duration,
    /// Each twice.
    pub(crate) is_doubled: bool,
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
    /// 410 to a watch whose history is gone.
    pub(crate) const GONE: Self = Self::new(410, "Expired");
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

    /// As a watch that has begun tells it.
    pub(crate) fn event(self) -> Value {
        json!({"type": "ERROR", "object": self.status()})
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
