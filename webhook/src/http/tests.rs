//! Requests through the router, as API servers and others send them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

mod admission;
mod daemon_jobs;
mod fuzz;
mod hostile;
mod properties;
mod transport;

/// Keeps what it is told.
#[derive(Default)]
struct Recorder {
    reviewed: Mutex<Vec<Reviewed>>,
    in_flight: AtomicI64,
}

impl Recorder {
    fn outcomes(&self) -> Vec<Outcome> {
        self.reviewed
            .lock()
            .unwrap()
            .iter()
            .map(|review| review.outcome)
            .collect()
    }
}

impl Observer for Recorder {
    fn began(&self, _: Endpoint) {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
    }

    fn ended(&self, _: Endpoint) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    fn reviewed(&self, review: &Reviewed) {
        self.reviewed.lock().unwrap().push(review.clone());
    }

    fn connection_refused(&self) {}
}

fn request(path: &str, body: impl Into<Body>) -> Request {
    let head = Request::post(path).header("Content-Type", "application/json");
    head.body(body.into()).unwrap()
}

/// The `response` to a review, after checking the frame around it.
async fn review(path: &str, body: String) -> Value {
    let recorder = Arc::new(Recorder::default());
    let response = router(recorder.clone()).oneshot(request(path, body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let mut review: Value = serde_json::from_slice(&bytes).unwrap();
    let answer = review["response"].take();
    assert_eq!(
        review,
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": null})
    );
    assert_eq!(answer["uid"], "u-1");
    assert_eq!(answer.get("patch").is_some(), answer.get("patchType").is_some(), "I14");
    let is_allowed = recorder
        .outcomes()
        .iter()
        .map(|outcome| outcome.is_allowed())
        .collect::<Vec<_>>();
    assert_eq!(is_allowed, [answer["allowed"].as_bool().unwrap()]);
    answer
}

/// What came back.
struct Answered {
    status: StatusCode,
    body: Vec<u8>,
}

/// The answer to a body, whatever it is.
fn answered(path: &str, body: Vec<u8>) -> Answered {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(async {
        let router = router(Arc::new(Recorder::default()));
        let response = router.oneshot(request(path, body)).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
        Answered { status, body }
    })
}

impl Answered {
    /// Longest answer. A denial has a hundred causes of at most a thousand characters, each of them twice.
    const MAX: usize = 512 << 10;

    /// The `response`, which must be one to the request with this uid, after checking all that is true of any.
    #[track_caller]
    fn review(&self, uid: &str) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.body));
        assert!(self.body.len() <= Self::MAX, "{}", self.body.len());
        let mut review: Value = serde_json::from_slice(&self.body).unwrap();
        let answer = review["response"].take();
        let frame = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": null});
        assert_eq!(review, frame);
        assert_eq!(answer["uid"], uid);
        let is_patched = answer.get("patch").is_some();
        assert_eq!(is_patched, answer["patchType"] == "JSONPatch", "{answer}");
        let is_denied = answer["allowed"] == false && answer["status"]["code"] == 422;
        assert!(
            is_denied || answer["allowed"] == true && answer.get("status").is_none(),
            "{answer}"
        );
        assert!(!(is_denied && is_patched), "{answer}");
        answer
    }

    /// Any answer to this body: a review if the body is one, and else an error that says so shortly.
    #[track_caller]
    fn check(&self, body: &[u8]) {
        // Read here by other means than there: into values, where that is possible.
        let uid = serde_json::from_slice(body).ok().and_then(|review: Value| {
            let uid = review["request"]["uid"].as_str();
            uid.map(str::to_owned)
        });
        if self.status == StatusCode::OK {
            let said: Value = serde_json::from_slice(&self.body).unwrap();
            let said = said["response"]["uid"].as_str().unwrap().to_owned();
            self.review(&uid.unwrap_or(said));
        } else {
            assert_eq!(self.status, StatusCode::BAD_REQUEST, "{body:?}");
            assert!(
                self.body.len() < 1024 && self.body.ends_with(b"\n"),
                "{}",
                self.body.len()
            );
        }
    }
}

/// A review whose object is written as this text.
fn review_of(operation: &str, object: &str, old: &str) -> String {
    format!(
        r#"{{
          "apiVersion": "admission.k8s.io/v1",
          "kind": "AdmissionReview",
          "request": {{
            "uid": "u-1",
            "kind": {{"group": "daemon.justk8s.com", "version": "v1alpha1", "kind": "DaemonJob"}},
            "resource": {{"group": "daemon.justk8s.com", "version": "v1alpha1", "resource": "daemonjobs"}},
            "name": "x",
            "namespace": "default",
            "operation": "{operation}",
            "userInfo": {{"username": "admin"}},
            "object": {object},
            "oldObject": {old},
            "dryRun": false
          }}
        }}"#
    )
}
