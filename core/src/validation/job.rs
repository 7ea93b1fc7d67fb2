//! `spec.jobTemplate`: the Job and the metadata of Job and Pod. The Pod itself is in [`super::pod`].

use std::borrow::Cow;

use k8s_openapi::api::batch::v1::JobTemplateSpec;
use serde_json::Value;

use super::ErrorKind;
use super::labels::{key_fault, value_fault};
use super::place::{Findings, Place};
use super::pod;
use crate::hash::{Digest, NESTING_MAX, TemplateHash, inexact_numbers, normalised};
use crate::names::RESERVED_PREFIX;
use crate::template::{decode, described, join};

/// Longest canonical template. With it a DaemonJob and each of its Jobs stay far below what etcd stores (1.5 MiB),
/// and a thousand creates stay a matter of megabytes.
pub const TEMPLATE_MAX: usize = 64 * 1024;

/// Largest count: the Job API has 32 bits for most of them.
const COUNT_MAX: f64 = i32::MAX as f64;

/// Counts of a Job.
const COUNTS: [&str; 7] = [
    "activeDeadlineSeconds",
    "backoffLimit",
    "backoffLimitPerIndex",
    "completions",
    "maxFailedIndexes",
    "parallelism",
    "ttlSecondsAfterFinished",
];

/// Metadata that a template cannot choose: it is made anew on every node, or by the API server.
const FOREIGN_METADATA: [&str; 12] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

/// Prefix of the labels and annotations that the Job controller of Kubernetes writes.
const JOB_CONTROLLER_PREFIX: &str = "batch.kubernetes.io/";
/// Labels that it writes without a prefix.
const JOB_CONTROLLER_LABELS: [&str; 2] = ["controller-uid", "job-name"];

/// Labels that charts give their objects and that change with each release of the chart.
const RELEASE_LABELS: [&str; 3] = ["app.kubernetes.io/version", "chart", "helm.sh/chart"];

/// What is known of a template that passed.
pub(super) struct Known {
    pub(super) hash: TemplateHash,
    pub(super) typed: JobTemplateSpec,
}

/// Checks the template; says what is known of it if all of it can be read.
///
/// All rules look at the canonical form, where 1.0 is 1 and nulls are gone: what has one hash gets one verdict.
pub(super) fn read(place: &Place<'_>, found: &mut Findings) -> Option<Known> {
    let Some(raw) = place.value else {
        found.error(
            place,
            ErrorKind::Required,
            "is missing: give the Job to run on each node",
        );
        return None;
    };
    if !raw.is_object() {
        found.error(
            place,
            ErrorKind::TypeInvalid,
            format!("must be a mapping, not {}", described(raw)),
        );
        return None;
    }
    let Digest { hash, length } = Digest::of(raw);
    if length > TEMPLATE_MAX {
        let detail = format!(
            "is {length} bytes long as canonical JSON, at most {TEMPLATE_MAX} are allowed: \
             move files and scripts into a ConfigMap or the image"
        );
        found.error(place, ErrorKind::TooLong, detail);
        // Admission answers for its memory: such a template is not held twice, and its types are not looked at.
        check(place, found);
        return None;
    }
    let Some(normal) = normalised(raw) else {
        let detail = format!("is nested too deeply: at most {NESTING_MAX} levels are allowed");
        found.error(place, ErrorKind::Invalid, detail);
        return None;
    };
    check(&place.with(&normal), found);
    let is_exact = matches!(normal, Cow::Borrowed(_)) || check_numbers(place, raw, found);
    let typed = read_types(place, &normal, found)?;
    is_exact.then_some(Known { hash, typed })
}

fn check(template: &Place<'_>, found: &mut Findings) {
    let job = template.member("spec");
    let pod = job.member("template");
    check_metadata(&template.member("metadata"), found);
    check_job(&job, found);
    check_metadata(&pod.member("metadata"), found);
    pod::check(&pod.member("spec"), found);
}

fn check_numbers(place: &Place<'_>, raw: &Value, found: &mut Findings) -> bool {
    let inexact = inexact_numbers(raw, Findings::MAX);
    for number in &inexact {
        let detail = format!(
            "{} is not exact as a double; quote it, or use a number within ±2^53",
            number.text
        );
        found.error_at(join(&place.path(), &number.path), ErrorKind::Invalid, detail);
    }
    inexact.is_empty()
}

fn read_types(place: &Place<'_>, template: &Value, found: &mut Findings) -> Option<JobTemplateSpec> {
    let mistyped = match decode(template) {
        Ok(typed) => return Some(typed),
        Err(mistyped) => mistyped,
    };
    for fault in mistyped {
        let path = join(&place.path(), &fault.path);
        if !found.has_error_at(&path) {
            found.error_at(path, ErrorKind::TypeInvalid, fault.detail);
        }
    }
    None
}

/// Warns of labels that would run everything again with every release of a chart.
pub(super) fn warn_of_release_labels(place: &Place<'_>, found: &mut Findings) {
    for metadata in [place.member("metadata"), place.below(&["spec", "template", "metadata"])] {
        for (key, label) in metadata.member("labels").pairs() {
            if RELEASE_LABELS.contains(&key) {
                found.warn(
                    &label,
                    "charts change this label with each release, and with `replace: true` each change runs every node again",
                );
            }
        }
    }
}

fn check_job(job: &Place<'_>, found: &mut Findings) {
    let manual = job.member("manualSelector");
    if manual.is_true() {
        found.error(
            &manual,
            ErrorKind::Forbidden,
            "must not be set: each Job needs the selector that Kubernetes makes for it",
        );
    }
    let selector = job.member("selector");
    if selector.value.is_some() {
        let detail = "must not be set: Kubernetes makes one for each Job; nodes are chosen by `spec.selector`";
        found.error(&selector, ErrorKind::Forbidden, detail);
    }
    let managed_by = job.member("managedBy");
    if managed_by.value.is_some() {
        found.error(
            &managed_by,
            ErrorKind::Forbidden,
            "must not be set: the Job controller of Kubernetes runs these Jobs",
        );
    }
    let suspend = job.member("suspend");
    if suspend.is_true() {
        let detail = "must not be true: the Jobs would never start; a queueing system suspends Jobs by itself";
        found.error(&suspend, ErrorKind::Forbidden, detail);
    }
    for name in COUNTS {
        check_count(&job.member(name), 0.0, found);
    }
    check_disruptions(job, found);
}

/// Checks the range alone; fractions and texts are left to the typed check.
pub(super) fn check_count(count: &Place<'_>, least: f64, found: &mut Findings) {
    let Some(number) = count.value.and_then(Value::as_f64) else {
        return;
    };
    if !(least..=COUNT_MAX).contains(&number) {
        let detail = format!("must be between {least} and {COUNT_MAX}, not {number}");
        found.error(count, ErrorKind::Invalid, detail);
    }
}

fn check_disruptions(job: &Place<'_>, found: &mut Findings) {
    let limit = job.member("backoffLimit");
    if limit.value.and_then(Value::as_f64) != Some(0.0) {
        return;
    }
    let rules = job.below(&["podFailurePolicy", "rules"]);
    if rules.elements().any(|rule| ignores_disruptions(&rule)) {
        return;
    }
    found.warn(
        &limit,
        "with 0, a drained or preempted Pod fails its node for good; \
         a `podFailurePolicy` that ignores `DisruptionTarget` lets it start again",
    );
}

fn ignores_disruptions(rule: &Place<'_>) -> bool {
    let is_disruption = |condition: &Place<'_>| {
        let status = condition.member("status");
        condition.member("type").text() == Some("DisruptionTarget")
            && (status.is_empty() || status.text() == Some("True"))
    };
    rule.member("action").text() == Some("Ignore")
        && rule
            .member("onPodConditions")
            .elements()
            .any(|condition| is_disruption(&condition))
}

fn check_metadata(metadata: &Place<'_>, found: &mut Findings) {
    for name in FOREIGN_METADATA {
        let field = metadata.member(name);
        if !field.is_empty() {
            found.error(
                &field,
                ErrorKind::Forbidden,
                "must not be set in a template: only labels and annotations are used",
            );
        }
    }
    for (key, label) in metadata.member("labels").pairs() {
        check_key(key, &label, &JOB_CONTROLLER_LABELS, found);
        check_value(&label, found);
    }
    for (key, annotation) in metadata.member("annotations").pairs() {
        // Kubernetes looks at annotation keys in lower case.
        check_key(&key.to_ascii_lowercase(), &annotation, &[], found);
    }
}

fn check_key(key: &str, place: &Place<'_>, reserved: &[&str], found: &mut Findings) {
    if key.starts_with(RESERVED_PREFIX) {
        let detail = format!("is reserved: DaemonJob writes everything under `{RESERVED_PREFIX}` itself");
        found.error(place, ErrorKind::Forbidden, detail);
    } else if key.starts_with(JOB_CONTROLLER_PREFIX) || reserved.contains(&key) {
        found.error(
            place,
            ErrorKind::Forbidden,
            "is reserved: the Job controller of Kubernetes writes it itself",
        );
    } else if let Some(fault) = key_fault(key) {
        found.error(place, ErrorKind::Invalid, fault);
    }
}

/// Checks a label's value, if it is a text.
pub(super) fn check_value(label: &Place<'_>, found: &mut Findings) {
    if let Some(fault) = label.text().and_then(value_fault) {
        found.error(label, ErrorKind::Invalid, fault);
    }
}
