//! Bodies that are too large, one by one and together.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use crate::{Webhook, head, is_closed, read_answer, review};

const BODY_MAX: usize = 7 << 20;

#[tokio::test]
async fn b05_a_length_over_7_mib_is_413_before_anything_is_read() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    // No byte of the body follows: the answer does not wait for it.
    let head = head(&format!("Content-Length: {}\r\n", BODY_MAX + 1));
    stream.write_all(head.as_bytes()).await.unwrap();
    let (head, body) = read_answer(&mut stream).await;
    assert!(
        head.starts_with("http/1.1 413 ") && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(body, "the body is larger than 7340032 bytes\n");
    assert!(is_closed(&mut stream).await);
    webhook.ended().await;
}

#[tokio::test]
async fn b05_chunks_over_7_mib_are_413_and_reading_stops() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    stream
        .write_all(head("Transfer-Encoding: chunked\r\n").as_bytes())
        .await
        .unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 20, " ".repeat(1 << 20));
    for _ in 0..7 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    // One byte more, and no end: the answer does not wait for it.
    stream.write_all(b"1\r\n \r\n").await.unwrap();
    let (head, _) = read_answer(&mut stream).await;
    assert!(
        head.starts_with("http/1.1 413 ") && head.contains("connection: close"),
        "{head}"
    );
    assert!(is_closed(&mut stream).await);
    webhook.ended().await;
}

#[tokio::test]
async fn b05_a_review_of_7_mib_is_answered() {
    let webhook = Webhook::modern().await;
    let mut stream = webhook.connect().await;
    let body = review();
    let body = format!("{body}{}", " ".repeat(BODY_MAX - body.len()));
    let head = head(&format!("Content-Length: {}\r\n", body.len()));
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let (head, body) = read_answer(&mut stream).await;
    assert!(
        head.starts_with("http/1.1 200 ") && body.contains("\"allowed\":true"),
        "{head}{body}"
    );
    webhook.ended().await;
}

/// As many connections as there are to be, or as this process may open.
async fn connect(webhook: &Webhook, wanted: usize) -> Vec<TlsStream<TcpStream>> {
    let mut streams = Vec::new();
    while streams.len() < wanted {
        match webhook.try_connect().await {
            Ok(stream) => streams.push(stream),
            Err(error) => {
                assert!(streams.len() > 100, "{error}");
                break;
            }
        }
    }
    streams
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_1000_reviews_in_parallel_hold_24_mib_and_the_rest_is_told_to_come_again() {
    let webhook = Webhook::modern().await;
    let streams = connect(&webhook, 1000).await;
    let count = streams.len();
    let started = Instant::now();
    let mut reviews = JoinSet::new();
    for mut stream in streams {
        reviews.spawn(async move {
            let head = head(&format!("Content-Length: {BODY_MAX}\r\n"));
            stream.write_all(head.as_bytes()).await.unwrap();
            read_answer(&mut stream).await.0
        });
    }
    // Nobody sends a body: who has room keeps it for 3 s and is told that the body did not come.
    let (mut held, mut sent_away) = (0, 0);
    for head in reviews.join_all().await {
        match &head["http/1.1 ".len()..][..3] {
            "408" => held += 1,
            "503" => {
                assert!(head.contains("retry-after: 1\r\n"), "{head}");
                sent_away += 1;
            }
            other => panic!("{other}: {head}"),
        }
    }
    assert_eq!(held + sent_away, count);
    // Besides the small ones, one of 7 MiB fits into 24 MiB, for 3 s.
    let rounds = started.elapsed().as_secs_f64() / Duration::from_secs(3).as_secs_f64();
    assert!(
        held >= 1 && f64::from(u16::try_from(held).unwrap()) <= rounds.ceil(),
        "{held} in {rounds} rounds"
    );

    // Room has come back.
    let mut stream = webhook.connect().await;
    stream
        .write_all(super::super::whole_request().as_bytes())
        .await
        .unwrap();
    assert!(read_answer(&mut stream).await.0.starts_with("http/1.1 200 "));
    webhook.ended().await;
}
