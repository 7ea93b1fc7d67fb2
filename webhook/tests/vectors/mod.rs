//! The golden vectors through TLS, and the rows of cases.md B that are no vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use daemonjob_vectors::{Answer, Golden, Request, Vector};
use json_patch::Patch;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::support::{Webhook, read_answer};

mod bodies;
mod controller;

/// The rows of the table: B1 to B61.
const ROWS: std::ops::RangeInclusive<u8> = 1..=61;

/// Rows that are about connections or amounts, not about a request; their tests.
const ELSEWHERE: [(&str, &str); 13] = [
    (
        "webhook/tests/vectors/bodies.rs",
        "b05_a_length_over_7_mib_is_413_before_anything_is_read",
    ),
    (
        "webhook/tests/vectors/bodies.rs",
        "b05_chunks_over_7_mib_are_413_and_reading_stops",
    ),
    (
        "webhook/src/pace/tests.rs",
        "b07_one_header_byte_a_second_is_closed_after_3_s",
    ),
    (
        "webhook/src/http/tests/transport.rs",
        "b07_a_body_that_does_not_come_is_given_up_after_3_s",
    ),
    (
        "webhook/tests/wire.rs",
        "b08_plain_http_and_a_stalled_handshake_are_closed",
    ),
    (
        "webhook/tests/wire.rs",
        "b08_tls12_is_refused_without_the_flag_and_served_with_it",
    ),
    ("webhook/tests/wire.rs", "b09_http2_is_refused_by_alpn"),
    ("webhook/tests/wire.rs", "b10_two_lengths_are_400_and_closed"),
    (
        "webhook/tests/wire.rs",
        "b10_length_and_chunks_are_read_as_chunks_then_closed",
    ),
    (
        "webhook/tests/wire.rs",
        "b11_200_headers_and_a_header_of_64_kib_are_431",
    ),
    (
        "webhook/tests/vectors/bodies.rs",
        "b12_1000_reviews_in_parallel_hold_24_mib_and_the_rest_is_told_to_come_again",
    ),
    (
        "core/src/names.rs",
        "b56_daemonjobs_equal_in_the_first_52_characters_get_distinct_jobs",
    ),
    (
        "core/src/plan/tests/nodes.rs",
        "b34_with_both_selectors_only_selector_counts_and_the_status_says_so",
    ),
];

/// Headers that tell a client what to do next.
const TELLING: [&str; 3] = ["allow", "connection", "retry-after"];

fn bytes(request: &Request) -> Vec<u8> {
    let Request {
        method,
        path,
        headers,
        body,
    } = request;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: webhook.test\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Its answer, over a connection of its own.
async fn send(webhook: &Webhook, request: &Request) -> Answer {
    let mut stream = webhook.connect().await;
    // An answer may come, and the connection end, before the body is read.
    let _ = stream.write_all(&bytes(request)).await;
    let (head, body) = read_answer(&mut stream).await;
    let mut words = head.split_whitespace();
    let status = words.nth(1).unwrap().parse().unwrap();
    let headers: BTreeMap<&str, &str> = head.lines().skip(1).filter_map(|line| line.split_once(": ")).collect();
    if status == 200 {
        assert_eq!(headers["content-type"], "application/json");
    }
    let telling = TELLING
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), (*headers.get(name)?).to_owned())));
    Answer::new(status, telling.collect(), &body)
}

/// The object with the patch of this answer applied.
fn patched(object: &str, answer: &Answer) -> Option<Value> {
    let patch: Patch = serde_json::from_value(answer.patch.clone()?).unwrap();
    let mut object = serde_json::from_str(object).unwrap();
    json_patch::patch(&mut object, &patch).unwrap();
    Some(object)
}

/// As an API server does: `/mutate`, its patch, and `/validate`.
async fn play(webhook: &Webhook, vector: &Vector) -> Golden {
    let ask = async |path: &str, object| send(webhook, &vector.request(path, object)).await;
    if let Some(path) = vector.path() {
        let answer = ask(path, None).await;
        return Golden {
            answers: [(path.to_owned(), answer)].into(),
            patched: None,
        };
    }
    let mutate = ask("/mutate", None).await;
    let patched = patched(&vector.object(), &mutate);
    let seen = if vector.is_unpatched() { None } else { patched.as_ref() };
    let validate = ask("/validate", seen).await;
    Golden {
        answers: [("/mutate".to_owned(), mutate), ("/validate".to_owned(), validate)].into(),
        patched,
    }
}

/// Every vector with its answers.
async fn played() -> Vec<(Vector, Golden)> {
    let webhook = Webhook::modern().await;
    let mut played = Vec::new();
    for vector in Vector::all() {
        let golden = play(&webhook, &vector).await;
        played.push((vector, golden));
    }
    webhook.ended().await;
    played
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_vector_is_answered_as_it_is_on_file() {
    let is_set = |name: &str, value: &str| std::env::var_os(name).is_some_and(|is| is == value);
    let update = is_set("UPDATE_GOLDEN", "1") && std::env::var_os("CI").is_none();
    let mut wrong = Vec::new();
    for (vector, golden) in played().await {
        if vector.golden.as_ref() == Some(&golden) {
            continue;
        }
        if update {
            vector.write(&golden);
        } else {
            wrong.push(format!(
                "{} ({}) is answered otherwise: {golden:#?}",
                vector.name,
                vector.why()
            ));
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn i14_every_answer_has_the_uid_the_v1_kind_and_a_type_with_its_patch() {
    let mut reviews = 0;
    for (vector, golden) in played().await {
        for (path, answer) in &golden.answers {
            let Some(response) = answer.response() else {
                assert_ne!(answer.status, 200, "{}", vector.name);
                continue;
            };
            reviews += 1;
            assert_eq!(answer.body["apiVersion"], "admission.k8s.io/v1");
            assert_eq!(answer.body["kind"], "AdmissionReview");
            assert_eq!(response["uid"], vector.name, "{path}");
            let patch_type = answer.patch.as_ref().map(|_| json!("JSONPatch"));
            assert_eq!(response.get("patchType"), patch_type.as_ref(), "{}{path}", vector.name);
            assert!(
                answer.patch.is_none() || path.starts_with("/mutate") && response["allowed"] == true,
                "{}",
                vector.name
            );
        }
    }
    assert!(reviews > 200, "only {reviews} reviews");
}

#[tokio::test]
async fn i12_a_second_mutation_adds_nothing() {
    let webhook = Webhook::modern().await;
    let mut patches = 0;
    for vector in Vector::all() {
        let Some(patched) = vector.golden.as_ref().and_then(|golden| golden.patched.as_ref()) else {
            continue;
        };
        patches += 1;
        let again = send(&webhook, &vector.request("/mutate", Some(patched))).await;
        assert_eq!(
            (again.is_allowed(), &again.patch),
            (Some(true), &None),
            "{}",
            vector.name
        );
    }
    assert!(patches > 80, "only {patches} patches");
    webhook.ended().await;
}

#[test]
fn every_row_has_a_vector_or_a_test_elsewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for vector in Vector::all() {
        let row = vector.row().to_owned();
        let number: u8 = row.strip_prefix('B').unwrap().parse().unwrap();
        assert!(ROWS.contains(&number), "{} is no row", vector.name);
        assert!(
            vector.name.starts_with(&format!("b{number:02}-")),
            "{} shows {row}",
            vector.name
        );
        assert!(vector.why().ends_with('.'), "{} does not say why", vector.name);
        shown.insert(row);
    }
    for (file, test) in ELSEWHERE {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(&format!("fn {test}(")), "{file} has no {test}");
        shown.insert(format!("B{}", test[1..3].trim_start_matches('0')));
    }
    let missing: Vec<String> = ROWS
        .map(|number| format!("B{number}"))
        .filter(|row| !shown.contains(row))
        .collect();
    assert_none(&missing);
}
