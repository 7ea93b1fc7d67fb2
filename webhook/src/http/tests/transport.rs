//! What is answered before there is a review: methods, paths, headers, sizes, time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use hyper::body::{Frame, SizeHint};
use rstest::rstest;
use tokio::time::Instant;

use super::*;
use crate::body::BODY_MAX;

/// A body in pieces.
struct Pieces {
    rest: VecDeque<Bytes>,
    length: Option<u64>,
    /// Nothing follows the last piece, not even the end.
    stalls: bool,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.rest.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.stalls => Poll::Pending,
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn stalled(length: Option<u64>) -> Body {
    Body::new(Pieces {
        rest: VecDeque::new(),
        length,
        stalls: true,
    })
}

async fn answer_to(request: Request) -> (StatusCode, HeaderMap) {
    let response = router(Arc::new(Recorder::default())).oneshot(request).await.unwrap();
    (response.status(), response.headers().clone())
}

async fn status_of(request: Request) -> u16 {
    answer_to(request).await.0.as_u16()
}

#[tokio::test]
async fn b01_other_methods_are_405() {
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
        let mut request = request("/validate", "");
        *request.method_mut() = method;
        assert_eq!(status_of(request).await, 405);
    }
}

#[tokio::test]
async fn b02_unknown_paths_are_404() {
    for path in ["/", "/mutate/", "/metrics", "/validate/x", "/%2e%2e/mutate"] {
        assert_eq!(status_of(request(path, "")).await, 404, "{path}");
    }
}

#[tokio::test]
async fn b02_dot_segments_are_400_and_a_uri_of_9_kib_is_414() {
    for path in ["/../", "/mutate/../validate", "/./mutate"] {
        assert_eq!(status_of(request(path, "")).await, 400, "{path}");
    }
    let path = format!("/mutate?{}", "x".repeat(9 << 10));
    assert_eq!(status_of(request(&path, "")).await, 414);
}

#[rstest]
#[case::none(None, 415)]
#[case::text(Some("text/plain"), 415)]
#[case::yaml(Some("application/yaml"), 415)]
#[case::suffix(Some("application/x+json"), 415)]
#[case::other_charset(Some("application/json; charset=utf-16"), 415)]
#[case::json(Some("application/json"), 400)]
#[case::upper_case(Some("Application/JSON"), 400)]
#[case::charset(Some("application/json; charset=utf-8"), 400)]
#[case::charset_tight(Some("application/json;charset=UTF-8"), 400)]
#[tokio::test]
async fn b03_only_json_is_read(#[case] media_type: Option<&str>, #[case] expected: u16) {
    let mut request = request("/mutate", "");
    request.headers_mut().remove("Content-Type");
    if let Some(media_type) = media_type {
        request
            .headers_mut()
            .insert("Content-Type", media_type.parse().unwrap());
    }
    assert_eq!(status_of(request).await, expected);
}

#[rstest]
#[case::b04_empty("")]
#[case::b13_null("null")]
#[case::b14_two_documents("{}{}")]
#[case::b17_another_kind(r#"{"apiVersion":"v1","kind":"Pod","request":{}}"#)]
#[tokio::test]
async fn a_body_that_is_no_review_is_400_on_both_paths(#[case] body: &'static str) {
    for path in ["/mutate", "/validate"] {
        assert_eq!(status_of(request(path, body)).await, 400);
    }
}

#[tokio::test]
async fn b05_a_length_over_7_mib_is_413_before_anything_is_read() {
    let (status, headers) = answer_to(request("/mutate", stalled(Some(u64::from(BODY_MAX) + 1)))).await;
    assert_eq!(
        (status.as_u16(), &headers["connection"]),
        (413, &"close".parse().unwrap())
    );
}

#[tokio::test]
async fn b05_chunks_over_7_mib_are_413_and_reading_stops() {
    let rest = vec![Bytes::from(vec![b' '; BODY_MAX as usize]), Bytes::from_static(b" ")].into();
    let body = Body::new(Pieces {
        rest,
        length: None,
        stalls: true,
    });
    assert_eq!(status_of(request("/mutate", body)).await, 413);
}

#[tokio::test]
async fn b05_a_body_of_7_mib_is_read() {
    let body = vec![b' '; BODY_MAX as usize];
    assert_eq!(status_of(request("/mutate", body)).await, 400);
}

#[tokio::test]
async fn b06_an_encoded_body_is_415() {
    let mut request = request("/mutate", "");
    request
        .headers_mut()
        .insert("Content-Encoding", "gzip".parse().unwrap());
    assert_eq!(status_of(request).await, 415);
}

#[tokio::test(start_paused = true)]
async fn b07_a_body_that_does_not_come_is_given_up_after_3_s() {
    let started = Instant::now();
    let (status, headers) = answer_to(request("/mutate", stalled(Some(10)))).await;
    assert_eq!(
        (status.as_u16(), &headers["connection"]),
        (408, &"close".parse().unwrap())
    );
    assert_eq!(started.elapsed(), Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn b12_bodies_over_24_mib_wait_2_s_and_get_503() {
    let recorder = Arc::new(Recorder::default());
    let router = router(recorder.clone());
    let send = |body| router.clone().oneshot(request("/mutate", body));
    let started = Instant::now();
    // One of the largest fits, and one whose length is unknown counts as one of them.
    let held = send(stalled(None));
    let late = async {
        let response = send(stalled(Some(7 << 20))).await.unwrap();
        (
            response.status().as_u16(),
            response.headers()["retry-after"].clone(),
            started.elapsed(),
        )
    };
    let sent = async |length| {
        let response = send(Body::from(vec![b' '; length])).await.unwrap();
        (response.status().as_u16(), started.elapsed())
    };
    let (_, late, large, small) = tokio::join!(held, late, sent((16 << 10) + 1), sent(16 << 10));
    assert_eq!(late, (503, "1".parse().unwrap(), Duration::from_secs(2)));
    // In the queue behind the one that did not fit.
    assert_eq!(large, (400, Duration::from_secs(2)));
    assert_eq!(small, (400, Duration::ZERO), "f34: the usual review does not queue");
    let after = send(stalled(Some(7 << 20))).await.unwrap();
    assert_eq!(after.status(), StatusCode::REQUEST_TIMEOUT, "room comes back");
    assert_eq!(
        recorder
            .outcomes()
            .iter()
            .filter(|outcome| **outcome == Outcome::Overloaded)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_request_is_in_flight_until_it_is_answered_or_its_caller_goes_away() {
    let recorder = Arc::new(Recorder::default());
    let in_flight = || recorder.in_flight.load(Ordering::SeqCst);
    let mut waiting = Box::pin(router(recorder.clone()).oneshot(request("/validate", stalled(None))));
    let answered = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
    assert!(answered.is_err(), "its body does not come");
    assert_eq!(in_flight(), 1);
    drop(waiting);
    assert_eq!(in_flight(), 0);
    assert!(recorder.outcomes().is_empty());
}
