//! `spec.jobTemplate.spec.template.spec`: the Pod.

use serde_json::Value;

use super::ErrorKind;
use super::job::{check_count, check_value};
use super::labels::key_fault;
use super::place::{Findings, Place};
use crate::template::shorten;

pub(super) fn check(pod: &Place<'_>, found: &mut Findings) {
    check_containers(pod, found);
    check_restart_policy(&pod.member("restartPolicy"), found);
    let node_name = pod.member("nodeName");
    if !node_name.is_empty() {
        let detail = "must not be set: DaemonJob gives each node its own Job; choose nodes by `spec.selector`";
        found.error(&node_name, ErrorKind::Forbidden, detail);
    }
    check_count(&pod.member("activeDeadlineSeconds"), 1.0, found);
    for (key, label) in pod.member("nodeSelector").pairs() {
        if let Some(fault) = key_fault(key) {
            found.error(&label, ErrorKind::Invalid, fault);
        }
        check_value(&label, found);
    }
    check_affinity(pod, found);
}

fn check_containers(pod: &Place<'_>, found: &mut Findings) {
    let containers = pod.member("containers");
    if containers.is_missing() || containers.value.and_then(Value::as_array).is_some_and(Vec::is_empty) {
        found.error(&containers, ErrorKind::Required, "must hold at least one container");
    }
    for container in pod.member("initContainers").elements().chain(containers.elements()) {
        let image = container.member("image");
        if image.is_missing() || image.text() == Some("") {
            found.error(&image, ErrorKind::Required, "must name the image to run");
        }
    }
}

fn check_restart_policy(policy: &Place<'_>, found: &mut Findings) {
    match policy.text() {
        Some("OnFailure" | "Never") => {}
        Some(other) => {
            let detail = format!(
                "must be OnFailure or Never, because a Job ends; not \"{}\"",
                shorten(other)
            );
            found.error(policy, ErrorKind::NotSupported, detail);
        }
        None if policy.is_missing() => {
            found.error(
                policy,
                ErrorKind::Required,
                "must be set to OnFailure or Never: the default, Always, is not for Jobs",
            );
        }
        // Not a text: left to the typed check.
        None => {}
    }
}

/// Terms are alternatives, and an empty one matches no node; if there are no others, no Job could ever start.
fn check_affinity(pod: &Place<'_>, found: &mut Findings) {
    let required = pod.below(&[
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ]);
    if !required.value.is_some_and(Value::is_object) {
        return;
    }
    let terms = required.member("nodeSelectorTerms");
    if terms.value.is_some_and(|value| !value.is_array()) {
        return;
    }
    let is_empty = |term: Place<'_>| {
        term.value
            .and_then(Value::as_object)
            .is_some_and(|_| term.pairs().all(|(_, part)| part.is_empty()))
    };
    if terms.elements().all(is_empty) {
        let detail = "match no node, because all of them are empty: fill one in, or remove the required node affinity";
        found.error(&terms, ErrorKind::Required, detail);
    }
}
