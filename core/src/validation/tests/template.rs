//! The template of the Jobs.

use rstest::rstest;
use serde_json::json;

use super::*;

#[test]
fn b43_no_containers_or_no_image() {
    rejects(
        &with_pod("containers", json!([])),
        &format!("{POD}.containers"),
        ErrorKind::Required,
        "at least one container",
    );
    let image = format!("{CONTAINER}.image");
    rejects(
        &with_pod("containers", json!([{"name": "a"}])),
        &image,
        ErrorKind::Required,
        "must name the image",
    );
    rejects(
        &with_pod("containers.0.image", json!("")),
        &image,
        ErrorKind::Required,
        "must name the image",
    );
    let path = format!("{POD}.initContainers[0].image");
    rejects(
        &with_pod("initContainers", json!([{"name": "a"}])),
        &path,
        ErrorKind::Required,
        "must name the image",
    );
    rejects(
        &with_pod("containers", json!([null])),
        CONTAINER,
        ErrorKind::TypeInvalid,
        "must be a mapping, not null",
    );
}

#[test]
fn b44_restart_policy() {
    let path = format!("{POD}.restartPolicy");
    let says = "must be OnFailure or Never, because a Job ends; not \"Always\"";
    rejects(
        &with_pod("restartPolicy", json!("Always")),
        &path,
        ErrorKind::NotSupported,
        says,
    );
    rejects(
        &with_pod("restartPolicy", json!("onfailure")),
        &path,
        ErrorKind::NotSupported,
        "not \"onfailure\"",
    );
    rejects(
        &with_pod("restartPolicy", json!(null)),
        &path,
        ErrorKind::Required,
        "the default, Always, is not for Jobs",
    );
    rejects(
        &with_pod("restartPolicy", json!(1)),
        &path,
        ErrorKind::TypeInvalid,
        "must be a string, not 1",
    );
    accepts_silently(&with_pod("restartPolicy", json!("Never")));
}

#[test]
fn b45_manual_selector_and_selector() {
    let says = "must not be set";
    rejects(
        &with_job("manualSelector", json!(true)),
        &format!("{JOB}.manualSelector"),
        ErrorKind::Forbidden,
        says,
    );
    let selector = json!({"matchLabels": {"a": "b"}});
    rejects(
        &with_job("selector", selector),
        &format!("{JOB}.selector"),
        ErrorKind::Forbidden,
        "by `spec.selector`",
    );
    accepts_silently(&with_job("manualSelector", json!(false)));
}

#[test]
fn b46_node_name() {
    rejects(
        &with_pod("nodeName", json!("node-1")),
        &format!("{POD}.nodeName"),
        ErrorKind::Forbidden,
        "must not be set",
    );
}

#[rstest]
#[case("creationTimestamp", json!("2026-01-01T00:00:00Z"))]
#[case("finalizers", json!(["example.com/a"]))]
#[case("generateName", json!("x-"))]
#[case("managedFields", json!([{"manager": "x"}]))]
#[case("name", json!("x"))]
#[case("namespace", json!("default"))]
#[case("ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}]))]
#[case("resourceVersion", json!("1"))]
#[case("uid", json!("u"))]
fn b47_b48_metadata_that_a_template_cannot_choose(#[case] field: &str, #[case] value: Value) {
    for at in ["jobTemplate.metadata", "jobTemplate.spec.template.metadata"] {
        let path = format!("{at}.{field}");
        rejects(
            &with(&path, value.clone()),
            &format!("spec.{path}"),
            ErrorKind::Forbidden,
            "only labels and annotations",
        );
    }
}

#[test]
fn b48_creation_timestamp_null_is_accepted() {
    let spec = with("jobTemplate.metadata", json!({"creationTimestamp": null}));
    accepts_silently(&set(
        spec,
        "jobTemplate.spec.template.metadata",
        json!({"creationTimestamp": null, "namespace": ""}),
    ));
}

#[rstest]
#[case("daemon.justk8s.com/node", "DaemonJob writes everything under `daemon.justk8s.com/`")]
#[case("batch.kubernetes.io/job-name", "the Job controller of Kubernetes writes it")]
fn b49_reserved_keys(#[case] key: &str, #[case] says: &str) {
    for at in ["jobTemplate.metadata", "jobTemplate.spec.template.metadata"] {
        for map in ["labels", "annotations"] {
            let spec = with(&format!("{at}.{map}"), json!({key: "x"}));
            rejects(&spec, &format!("spec.{at}.{map}[{key}]"), ErrorKind::Forbidden, says);
        }
    }
}

#[rstest]
#[case("controller-uid")]
#[case("job-name")]
fn b49_labels_of_the_job_controller(#[case] key: &str) {
    for at in ["jobTemplate.metadata", "jobTemplate.spec.template.metadata"] {
        let spec = with(&format!("{at}.labels"), json!({key: "x"}));
        rejects(
            &spec,
            &format!("spec.{at}.labels[{key}]"),
            ErrorKind::Forbidden,
            "is reserved",
        );
    }
}

#[test]
fn b38_labels_and_annotations_of_the_template() {
    let metadata =
        json!({"labels": {"a b": "c", "d": "e f"}, "annotations": {"g h": "any text: fine", "Example.com/A": "fine"}});
    for at in ["jobTemplate.metadata", "jobTemplate.spec.template.metadata"] {
        let reading = reading(&with(at, metadata.clone()));
        let paths: Vec<_> = reading.errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            ["labels[a b]", "labels[d]", "annotations[g h]"].map(|end| format!("spec.{at}.{end}"))
        );
    }
    let path = format!("{POD}.nodeSelector[zone]");
    rejects(
        &with_pod("nodeSelector", json!({"zone": "a b"})),
        &path,
        ErrorKind::Invalid,
        "the value must be",
    );
}

#[rstest]
#[case("ttlSecondsAfterFinished", json!(0))]
#[case("ttlSecondsAfterFinished", json!(100))]
#[case("parallelism", json!(3))]
#[case("completions", json!(3))]
#[case("activeDeadlineSeconds", json!(0))]
#[case("backoffLimit", json!(2_147_483_647))]
#[case("completionMode", json!("Indexed"))]
#[case("suspend", json!(false))]
fn b50_b51_e32_what_a_job_may_say(#[case] member: &str, #[case] value: Value) {
    accepts_silently(&with_job(member, value));
}

#[rstest]
#[case("activeDeadlineSeconds")]
#[case("backoffLimit")]
#[case("backoffLimitPerIndex")]
#[case("completions")]
#[case("maxFailedIndexes")]
#[case("parallelism")]
#[case("ttlSecondsAfterFinished")]
fn b52_negative_counts_and_counts_over_int32(#[case] member: &str) {
    let path = format!("{JOB}.{member}");
    rejects(
        &with_job(member, json!(-1)),
        &path,
        ErrorKind::Invalid,
        "must be between 0 and 2147483647, not -1",
    );
    let says = "must be between 0 and 2147483647, not 2147483648";
    rejects(
        &with_job(member, json!(2_147_483_648_u64)),
        &path,
        ErrorKind::Invalid,
        says,
    );
    rejects(
        &with_job(member, json!(1.5)),
        &path,
        ErrorKind::TypeInvalid,
        "must be a whole number",
    );
}

#[test]
fn b52_active_deadline_of_the_pod() {
    let path = format!("{POD}.activeDeadlineSeconds");
    rejects(
        &with_pod("activeDeadlineSeconds", json!(0)),
        &path,
        ErrorKind::Invalid,
        "must be between 1 and 2147483647, not 0",
    );
}

#[test]
fn b30_inexact_numbers_are_all_named() {
    let spec = with_pod("future", json!([9_007_199_254_740_993_u64, 1e300]));
    let errors: Vec<_> = reading(&spec).errors.iter().map(|error| error.path.clone()).collect();
    assert_eq!(errors, [format!("{POD}.future[0]"), format!("{POD}.future[1]")]);
}

#[test]
fn b53_canonical_template_over_64_kib() {
    let argument = |length: usize| with_pod("containers.0.args", json!(["x".repeat(length)]));
    let empty = crate::hash::canonical(&argument(0)["jobTemplate"]).unwrap().len();
    accepts_silently(&argument(65_536 - empty));
    let says = "is 65537 bytes long as canonical JSON, at most 65536 are allowed";
    rejects(&argument(65_537 - empty), "spec.jobTemplate", ErrorKind::TooLong, says);
}

#[test]
fn b54_f39_unknown_fields_are_kept_and_hashed() {
    let spec = set(
        with_pod("fieldOfTheFuture", json!({"a": [1]})),
        "alsoUnknown",
        json!(true),
    );
    let read = accepts_silently(&spec);
    assert_eq!(read.template.raw(), &spec["jobTemplate"]);
    assert_ne!(read.template.hash(), accepts_silently(&sample()).template.hash());
}

#[test]
fn b55_a_number_with_a_fraction_of_zero_is_an_integer() {
    let spec = with_job("parallelism", serde_json::from_str("1.0").unwrap());
    let typed = accepts_silently(&spec).template.typed().spec.clone().unwrap();
    assert_eq!(typed.parallelism, Some(1));
}

#[test]
fn b56_name_of_63_and_of_64_characters() {
    assert!(read(&format!("{}.b", "a".repeat(61)), &sample()).is_valid());
    let reading = read(&"a".repeat(64), &sample());
    assert_eq!(reading.errors.len(), 1);
    assert_eq!(
        (reading.errors[0].path.as_str(), reading.errors[0].kind),
        ("metadata.name", ErrorKind::TooLong)
    );
    assert!(
        reading.errors[0]
            .detail
            .starts_with("has 64 characters, at most 63 are allowed")
    );
    assert!(reading.runnable().is_err());
}

#[rstest]
#[case(json!([{}]))]
#[case(json!([{}, {"matchExpressions": []}, {"matchFields": [], "matchExpressions": null}]))]
#[case(json!([]))]
#[case(json!(null))]
fn b60_required_affinity_with_only_empty_terms(#[case] terms: Value) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let spec = with_pod(
        "affinity",
        json!({"nodeAffinity": {required: {"nodeSelectorTerms": terms}}}),
    );
    let path = format!("{POD}.affinity.nodeAffinity.{required}.nodeSelectorTerms");
    rejects(&spec, &path, ErrorKind::Required, "match no node");
}

#[test]
fn e14_an_empty_term_beside_another_is_accepted() {
    let term = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]});
    let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}, term]}});
    accepts_silently(&with_pod("affinity", json!({"nodeAffinity": required})));
    accepts_silently(&with_pod("affinity", json!({"nodeAffinity": {}})));
}

#[test]
fn b60_managed_by_and_suspend() {
    let says = "the Job controller of Kubernetes runs these Jobs";
    let managed_by = with_job("managedBy", json!("example.com/other"));
    rejects(&managed_by, &format!("{JOB}.managedBy"), ErrorKind::Forbidden, says);
    rejects(
        &with_job("suspend", json!(true)),
        &format!("{JOB}.suspend"),
        ErrorKind::Forbidden,
        "would never start",
    );
}

#[test]
fn b29_what_a_list_of_jobs_could_not_be_read_with_is_refused() {
    // A template that holds a list at `jobTemplate.spec.x` has two levels above it.
    let nested = |levels: usize| (2..levels).fold(json!([]), |inner, _| json!([inner]));
    assert!(read("x", &with_job("x", nested(100))).is_valid());
    let refused = read("x", &with_job("x", nested(101)));
    assert_eq!(
        refused.errors[0].to_string(),
        "spec.jobTemplate: is nested too deeply: at most 100 levels are allowed"
    );
}
