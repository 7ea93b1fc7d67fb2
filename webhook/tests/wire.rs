//! The server on a real socket: TLS, HTTP/1.1, deadlines, and its end.

#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, which does not reach their helper functions"
)]

mod support;
mod vectors;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use daemonjob_webhook::{Settings, TlsVersion, bind};
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;

use self::support::{Counter, DEADLINE, Webhook, head_to, read_answer, settings};

fn review() -> String {
    r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",
        "kind":{"group":"daemon.justk8s.com","version":"v1alpha1","kind":"DaemonJob"},
        "resource":{"group":"daemon.justk8s.com","version":"v1alpha1","resource":"daemonjobs"},
        "operation":"DELETE","userInfo":{}}}"#
        .to_owned()
}

fn head(extra: &str) -> String {
    head_to("/validate", extra)
}

fn whole_request() -> String {
    format!(
        "{}{}",
        head(&format!("Content-Length: {}\r\n", review().len())),
        review()
    )
}

async fn is_closed(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut rest = Vec::new();
    match timeout(DEADLINE, stream.read_to_end(&mut rest)).await {
        Ok(Ok(_)) => rest.is_empty(),
        Ok(Err(error)) => matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        Err(_) => false,
    }
}

async fn answer_to(text: &str) -> (String, bool) {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    stream.write_all(text.as_bytes()).await.unwrap();
    let (head, _) = read_answer(&mut stream).await;
    let is_closed = is_closed(&mut stream).await;
    webhook.ended().await;
    (head, is_closed)
}

#[tokio::test]
async fn reviews_are_answered_over_one_connection() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    for _ in 0..3 {
        stream.write_all(whole_request().as_bytes()).await.unwrap();
        let (head, body) = read_answer(&mut stream).await;
        assert!(
            head.starts_with("http/1.1 200 ok\r\n") && !head.contains("connection: close"),
            "{head}"
        );
        assert!(body.contains(r#""uid":"u-1","allowed":true"#), "{body}");
    }
    assert_eq!(webhook.reviews.0.load(Ordering::SeqCst), 3);
    webhook.ended().await;
}

#[tokio::test]
async fn b08_tls12_is_refused_without_the_flag_and_served_with_it() {
    let webhook = Webhook::modern().await;
    let error = webhook.connect_with(&TLS12, &[], true).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    webhook.ended().await;

    let webhook = Webhook::start(TlsVersion::V1_2, Duration::ZERO).await;
    for version in [&TLS12, &TLS13] {
        assert!(webhook.connect_with(version, &[], true).await.is_ok());
    }
    webhook.ended().await;
}

#[tokio::test]
async fn b08_a_client_without_a_server_name_is_served() {
    let webhook = Webhook::modern().await;
    assert!(webhook.connect_with(&TLS13, &[], false).await.is_ok());
    webhook.ended().await;
}

#[tokio::test]
async fn b08_plain_http_and_a_stalled_handshake_are_closed() {
    let webhook = Webhook::modern().await;
    for sent in ["GET / HTTP/1.1\r\n\r\n", ""] {
        let started = Instant::now();
        let mut stream = TcpStream::connect(webhook.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // An alert may come first; a reset is an end too.
        let _ = timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("closed");
        assert!(!rest.starts_with(b"HTTP"));
        assert!(
            started.elapsed() < Duration::from_secs(8),
            "3 s, on a machine that is not loaded"
        );
    }
    webhook.ended().await;
}

#[tokio::test]
async fn b09_http2_is_refused_by_alpn() {
    let webhook = Webhook::modern().await;
    let error = webhook.connect_with(&TLS13, &["h2"], true).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
    webhook.ended().await;
}

#[tokio::test]
async fn b09_an_http2_preface_without_alpn_gets_no_http2() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect_with(&TLS13, &[], true).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert!(is_closed(&mut stream).await);
    webhook.ended().await;
}

#[tokio::test]
async fn b07_a_head_that_stops_coming_is_closed() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    let started = Instant::now();
    stream.write_all(b"POST /validate HTT").await.unwrap();
    assert!(is_closed(&mut stream).await);
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "3 s, on a machine that is not loaded"
    );
    webhook.ended().await;
}

#[tokio::test]
async fn b10_two_lengths_are_400_and_closed() {
    let (head, is_closed) = answer_to(&head("Content-Length: 5\r\nContent-Length: 6\r\n")).await;
    assert!(head.starts_with("http/1.1 400 "), "{head}");
    assert!(is_closed);
}

#[tokio::test]
async fn b10_length_and_chunks_are_read_as_chunks_then_closed() {
    let text = format!(
        "{}{:x}\r\n{}\r\n0\r\n\r\n",
        head("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        review().len(),
        review()
    );
    let (head, is_closed) = answer_to(&text).await;
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(is_closed);
}

#[tokio::test]
async fn b11_200_headers_and_a_header_of_64_kib_are_431() {
    let many: String = (0..200).map(|number| format!("X-{number}: x\r\n")).collect();
    let long = format!("X: {}\r\n", "x".repeat(64 << 10));
    for extra in [many, long] {
        let webhook = Webhook::modern().await;
        let mut stream = webhook.connect().await;
        // The server may close before it has read all of it.
        let _ = stream.write_all(head(&extra).as_bytes()).await;
        let (head, _) = read_answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 431 "), "{head}");
        webhook.ended().await;
    }
}

#[tokio::test]
async fn f33_a_drain_answers_with_connection_close_and_takes_new_connections() {
    let webhook = Webhook::start(TlsVersion::V1_3, Duration::from_secs(1)).await;
    let mut idle = webhook.connect().await;
    webhook.shutdown.cancel();
    let mut new = webhook.connect().await;
    for stream in [&mut idle, &mut new] {
        stream.write_all(whole_request().as_bytes()).await.unwrap();
        let (head, _) = read_answer(stream).await;
        assert!(
            head.starts_with("http/1.1 200 ") && head.contains("connection: close"),
            "{head}"
        );
        assert!(is_closed(stream).await);
    }
    webhook.ended().await;
}

#[tokio::test]
async fn f33_a_review_in_flight_at_the_end_is_answered() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    let head = head(&format!(
        "Content-Length: {}\r\nExpect: 100-continue\r\n",
        review().len()
    ));
    stream.write_all(head.as_bytes()).await.unwrap();
    let (go_on, _) = read_answer(&mut stream).await;
    assert!(
        go_on.starts_with("http/1.1 100 "),
        "the server is reading the body: {go_on}"
    );

    webhook.shutdown.cancel();
    let started = Instant::now();
    while TcpStream::connect(webhook.address).await.is_ok() {
        assert!(started.elapsed() < DEADLINE, "the port closes");
        sleep(Duration::from_millis(5)).await;
    }
    stream.write_all(review().as_bytes()).await.unwrap();
    let (head, body) = read_answer(&mut stream).await;
    assert!(
        head.starts_with("http/1.1 200 ") && body.contains("\"allowed\":true"),
        "{head}{body}"
    );
    webhook.ended().await;
}

/// The API server picks an idle connection in the moment in which the server closes it.
#[tokio::test]
async fn f33_a_review_that_crosses_the_end_is_told_to_come_again() {
    let webhook = Webhook::modern().await;
    let (mut used, mut fresh) = (webhook.connect().await, webhook.connect().await);
    used.write_all(whole_request().as_bytes()).await.unwrap();
    read_answer(&mut used).await;

    webhook.shutdown.cancel();
    for stream in [&mut used, &mut fresh] {
        // The server is past reading: the last words are there.
        stream.get_ref().0.readable().await.unwrap();
        stream.write_all(whole_request().as_bytes()).await.unwrap();
        let (head, _) = read_answer(stream).await;
        assert!(
            head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"),
            "{head}"
        );
        assert!(head.contains("connection: close") && is_closed(stream).await, "{head}");
    }
    assert_eq!(webhook.reviews.0.load(Ordering::SeqCst), 1);
    drop((used, fresh));
    webhook.ended().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    stream.write_all(whole_request().as_bytes()).await.unwrap();
    read_answer(&mut stream).await;
    let started = Instant::now();
    webhook.ended().await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "it does not wait for the client"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_address() {
    let taken = bind(settings(TlsVersion::V1_3, Duration::ZERO), Arc::new(Counter::default()))
        .await
        .unwrap();
    let again = Settings {
        address: taken.local_address(),
        ..settings(TlsVersion::V1_3, Duration::ZERO)
    };
    let Err(error) = bind(again, Arc::new(Counter::default())).await else {
        panic!("bound twice");
    };
    assert_eq!(error.to_string(), format!("cannot listen on {}", taken.local_address()));
}
