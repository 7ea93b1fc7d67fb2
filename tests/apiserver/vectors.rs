//! The golden vectors of specs by `kubectl apply`: what a user reads is what the webhook answered.

use std::collections::BTreeSet;

use daemonjob_cluster::Output;
use daemonjob_vectors::{Answer, Vector};
use serde_json::Value;

use crate::support::Trial;

/// The first row about a spec; those before it are about requests that no API server sends.
const FIRST: u8 = 33;

/// How kubectl shows the denial of an object of this (quoted) name: its causes, not its message.
fn shown(name: &str, causes: &[(String, String)]) -> String {
    let causes: Vec<String> = causes
        .iter()
        .map(|(field, message)| format!("{field}: {message}"))
        .collect();
    match causes.as_slice() {
        [cause] => format!("The DaemonJob {name} is invalid: {cause}\n"),
        causes => format!("The DaemonJob {name} is invalid: \n* {}\n", causes.join("\n* ")),
    }
}

/// How kubectl shows warnings.
fn warned(answers: [&Answer; 2]) -> String {
    let warnings = answers.iter().flat_map(|answer| answer.warnings());
    warnings.map(|warning| format!("Warning: {warning}\n")).collect()
}

/// The object for the namespace of the test.
fn moved(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().expect("it is a mapping");
    metadata.remove("namespace");
    object
}

fn object(vector: &Vector) -> Value {
    moved(serde_json::from_str(&vector.object()).expect("it is JSON"))
}

/// Whether kubectl says of a vector what is on file.
fn is_told(vector: &Vector, said: &Output) -> bool {
    let golden = vector.golden.as_ref().expect("it has been played");
    let [mutate, validate] = ["/mutate", "/validate"].map(|path| &golden.answers[path]);
    let name = object(vector)["metadata"]["name"].to_string();
    let (is_allowed, is_right) = match vector.api_server() {
        Some(words) => (false, said.stderr.contains(words)),
        None if validate.is_allowed() == Some(true) => (true, said.stderr == warned([mutate, validate])),
        None => (false, said.stderr == shown(&name, &validate.causes())),
    };
    is_right && said.is_success() == is_allowed
}

fn row(vector: &Vector) -> u8 {
    vector
        .row()
        .trim_start_matches('B')
        .parse()
        .expect("a row has a number")
}

#[test]
fn b33_b61_kubectl_apply_says_what_the_webhook_answers() {
    let trial = Trial::begin();
    let (mut asked, mut wrong) = (BTreeSet::new(), Vec::new());
    for vector in Vector::all() {
        if row(&vector) < FIRST || !vector.is_plain_creation() {
            continue;
        }
        let said = trial.kubectl_with("apply --dry-run=server -f -", &object(&vector).to_string());
        if !is_told(&vector, &said) {
            wrong.push(format!("{}: {}{}", vector.name, said.stdout, said.stderr));
        }
        asked.insert(row(&vector));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // These are about objects in the store.
    let others = BTreeSet::from([34, 59]);
    assert_eq!(asked, (FIRST..=61).filter(|row| !others.contains(row)).collect());
}

#[test]
fn b55_b61_kubectl_replace_of_the_sample_says_what_the_webhook_answers() {
    let trial = Trial::begin();
    trial.accepts(&moved(Vector::sample()));
    // Nobody writes to it any more, so that no replace meets a conflict.
    trial.wait_for("Complete", "sample");
    trial.shows("sample", "4 desired, 4 succeeded, 1 skipped");
    let mut asked = BTreeSet::new();
    let vectors = Vector::all().into_iter();
    for vector in vectors.filter(|vector| row(vector) >= FIRST && vector.is_plain_update_of_the_sample()) {
        let said = trial.kubectl_with("replace --dry-run=server -f -", &object(&vector).to_string());
        assert!(
            is_told(&vector, &said),
            "{}: {}{}",
            vector.name,
            said.stdout,
            said.stderr
        );
        asked.insert(row(&vector));
    }
    assert_eq!(asked, [55, 57, 61].into());
}

/// Client-side apply drops every null of a new object, and the webhook reads in the annotation what it left out.
const NULLS: [&str; 2] = ["b37-excluding-null", "b37-selecting-null"];

#[test]
fn b37_a_key_without_a_value_is_refused_whichever_way_kubectl_sends_it() {
    let trial = Trial::begin();
    let vectors = Vector::all().into_iter();
    let vectors: Vec<Vector> = vectors.filter(|vector| NULLS.contains(&vector.name.as_str())).collect();
    assert_eq!(vectors.len(), NULLS.len());
    for vector in vectors {
        let object = object(&vector).to_string();
        for line in [
            "create --dry-run=server -f -",
            "apply --dry-run=server -f -",
            "apply --server-side --dry-run=server -f -",
        ] {
            let said = trial.kubectl_with(line, &object);
            assert!(is_told(&vector, &said), "{line}: {}", said.stderr);
        }
    }
}
