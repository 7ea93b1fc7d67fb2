//! Requests through the router, as API servers and others send them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::{Body, to_bytes};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

mod admission;
mod hostile;
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
