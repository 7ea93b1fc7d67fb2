//! Validation, by what is judged. Here is what the others share.

mod anything;
mod messages;
mod selectors;
mod template;
mod types;

use serde_json::json;

use super::*;
use crate::hash::TemplateHash;

const CONTAINER: &str = "spec.jobTemplate.spec.template.spec.containers[0]";
const JOB: &str = "spec.jobTemplate.spec";
const POD: &str = "spec.jobTemplate.spec.template.spec";

/// The sample of the README.
fn sample() -> Value {
    json!({
        "jobTemplate": {"spec": {"template": {"spec": {
            "containers": [{"name": "hello", "image": "busybox:stable", "command": ["/bin/sh", "-c", "date"]}],
            "restartPolicy": "OnFailure",
        }}}},
    })
}

/// The sample with a value at a path such as `jobTemplate.spec.backoffLimit`; objects on the way are made.
fn with(path: &str, value: Value) -> Value {
    set(sample(), path, value)
}

fn set(mut spec: Value, path: &str, value: Value) -> Value {
    let mut at = &mut spec;
    for step in path.split('.') {
        at = match step.parse::<usize>() {
            Ok(index) => &mut at[index],
            Err(_) => &mut at[step],
        };
    }
    *at = value;
    spec
}

fn with_job(member: &str, value: Value) -> Value {
    with(&format!("jobTemplate.spec.{member}"), value)
}

fn with_pod(member: &str, value: Value) -> Value {
    with(&format!("jobTemplate.spec.template.spec.{member}"), value)
}

fn reading(spec: &Value) -> Reading {
    read("sample", spec)
}

#[track_caller]
fn accepts(spec: &Value) -> Reading {
    let reading = reading(spec);
    assert_eq!(reading.errors, [], "{spec}");
    assert!(reading.runnable().is_ok());
    reading
}

#[track_caller]
fn accepts_silently(spec: &Value) -> Spec {
    let reading = accepts(spec);
    assert_eq!(reading.warnings, [] as [&str; 0], "{spec}");
    reading.runnable().unwrap().clone()
}

/// It is refused for exactly this cause, and the controller does not run it.
#[track_caller]
fn rejects(spec: &Value, path: &str, kind: ErrorKind, says: &str) {
    let reading = reading(spec);
    assert_eq!(
        reading.errors.iter().map(|error| &error.path).collect::<Vec<_>>(),
        [path],
        "{:?}",
        reading.errors
    );
    assert_eq!(reading.errors[0].kind, kind, "{}", reading.errors[0]);
    assert!(reading.errors[0].detail.contains(says), "{}", reading.errors[0]);
    assert_eq!(reading.runnable().unwrap_err(), reading.errors);
}

#[track_caller]
fn warns(spec: &Value, text: &str) {
    let reading = accepts(spec);
    assert!(
        reading.warnings.iter().any(|warning| warning == text),
        "{:#?}",
        reading.warnings
    );
}

fn labels(count: usize) -> Value {
    (0..count)
        .map(|index| (format!("key-{index}"), json!("value")))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn sample_is_accepted_and_read() {
    let spec = accepts_silently(&sample());
    assert!(!spec.replace);
    assert_eq!(spec.selection, Selection::All);
    assert_eq!(spec.template.raw(), &sample()["jobTemplate"]);
    assert_eq!(
        spec.template.hash(),
        &TemplateHash::of(&sample()["jobTemplate"]).unwrap()
    );
    let typed = spec
        .template
        .typed()
        .spec
        .as_ref()
        .unwrap()
        .template
        .spec
        .as_ref()
        .unwrap();
    assert_eq!(typed.restart_policy.as_deref(), Some("OnFailure"));
}
