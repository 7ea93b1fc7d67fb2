use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::hash::TemplateHash;
use crate::selection::Wanted;

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

// Selectors

#[rstest]
#[case("ingoreSelector")]
#[case("ignoreSelector")]
fn b33_both_selectors(#[case] spelling: &str) {
    let spec = set(
        with("selector", json!({"disk": "ssd"})),
        spelling,
        json!({"ingress": "true"}),
    );
    let reading = reading(&spec);
    let detail = format!("`spec.selector` and `spec.{spelling}` are mutually exclusive: remove one");
    let path = format!("spec.{spelling}");
    assert_eq!(
        reading.errors,
        [FieldError {
            path,
            kind: ErrorKind::Forbidden,
            detail
        }]
    );
    assert!(!reading.is_valid());
}

#[test]
fn b34_both_selectors_stored_all_the_same_run_by_selector_alone() {
    let spec = set(
        with("selector", json!({"disk": "ssd"})),
        "ingoreSelector",
        json!({"ingress": true}),
    );
    let reading = reading(&spec);
    assert!(reading.both_selectors());
    let wanted = [("disk".to_owned(), Wanted::Text("ssd".to_owned()))].into();
    assert_eq!(reading.runnable().unwrap().selection, Selection::Include(wanted));
}

#[test]
fn b34_another_fault_beside_both_selectors_runs_nothing() {
    let spec = set(
        with("selector", json!({"disk": "ssd"})),
        "ingoreSelector",
        json!({"ingress": "true"}),
    );
    let reading = reading(&set(spec, "replace", json!("true")));
    assert!(reading.both_selectors());
    assert_eq!(reading.runnable().unwrap_err().len(), 2);
}

#[rstest]
#[case("selector")]
#[case("ingoreSelector")]
#[case("ignoreSelector")]
fn b35_an_empty_selector_selects_all_nodes_and_says_so(#[case] field: &str) {
    let spec = with(field, json!({}));
    warns(
        &spec,
        &format!("spec.{field}: is empty, which is the same as absent: all nodes are selected"),
    );
    assert_eq!(accepts(&spec).runnable().unwrap().selection, Selection::All);
    accepts_silently(&with(field, json!(null)));
}

#[test]
fn b35_an_empty_selector_beside_the_other_one_is_no_conflict() {
    let spec = set(
        with("selector", json!({})),
        "ingoreSelector",
        json!({"ingress": "true"}),
    );
    warns(
        &spec,
        "spec.selector: is empty, which is the same as absent: `spec.ingoreSelector` alone decides",
    );
    assert!(matches!(
        accepts(&spec).runnable().unwrap().selection,
        Selection::Exclude(_)
    ));
}

#[test]
fn b36_the_correct_spelling_is_the_same_field() {
    let own = accepts_silently(&with("ingoreSelector", json!({"ingress": "true"})));
    let alias = accepts_silently(&with("ignoreSelector", json!({"ingress": "true"})));
    assert_eq!(own, alias);
    assert!(matches!(own.selection, Selection::Exclude(_)));
}

#[test]
fn b36_both_spellings_at_once() {
    let spec = set(
        with("ingoreSelector", json!({"a": "b"})),
        "ignoreSelector",
        json!({"a": "b"}),
    );
    let says = "`spec.ingoreSelector` and `spec.ignoreSelector` are two names of one field: remove one";
    rejects(&spec, "spec.ignoreSelector", ErrorKind::Forbidden, says);
}

#[test]
fn b37_an_excluding_boolean_is_accepted_with_a_warning() {
    let spec = with("ingoreSelector", json!({"ingress": true}));
    warns(
        &spec,
        "spec.ingoreSelector[ingress]: the boolean true excludes the values true, yes, on and y in any case; \
         for one of them, quote it: `ingress: \"true\"`",
    );
    let wanted = [("ingress".to_owned(), Wanted::Boolean(true))].into();
    assert_eq!(accepts(&spec).runnable().unwrap().selection, Selection::Exclude(wanted));
}

#[test]
fn b37_a_selecting_boolean_is_accepted_with_a_warning() {
    let spec = with("selector", json!({"gpu": false}));
    warns(
        &spec,
        "spec.selector[gpu]: the boolean false selects only the value \"false\"; quote what you mean: `gpu: \"false\"`",
    );
}

#[rstest]
#[case(json!(1), "not the number 1; quote it: `tier: \"1\"`")]
#[case(json!(1.5), "not the number 1.5; quote it: `tier: \"1.5\"`")]
#[case(json!(null), "has no value; quote it: `tier: \"\"`")]
#[case(json!(["a"]), "not a list; give one value and quote it: `tier: \"value\"`")]
#[case(json!({"a": "b"}), "not a mapping; give one value and quote it: `tier: \"value\"`")]
fn b37_values_that_are_no_texts(#[case] value: Value, #[case] says: &str) {
    for field in ["selector", "ingoreSelector", "ignoreSelector"] {
        rejects(
            &with(field, json!({"tier": value})),
            &format!("spec.{field}[tier]"),
            ErrorKind::TypeInvalid,
            says,
        );
    }
}

#[rstest]
#[case(json!("linux"))]
#[case(json!(["linux"]))]
#[case(json!(true))]
fn a_selector_that_is_no_mapping(#[case] value: Value) {
    rejects(
        &with("selector", value),
        "spec.selector",
        ErrorKind::TypeInvalid,
        "must be a mapping of labels",
    );
}

#[test]
fn b38_illegal_label_keys_and_values() {
    rejects(
        &with("selector", json!({"a b": "c"})),
        "spec.selector[a b]",
        ErrorKind::Invalid,
        "name of the key must be",
    );
    rejects(
        &with("selector", json!({"": "c"})),
        "spec.selector[]",
        ErrorKind::Invalid,
        "the key has no name",
    );
    rejects(
        &with("selector", json!({"a": "b c"})),
        "spec.selector[a]",
        ErrorKind::Invalid,
        "the value must be",
    );
    let long = json!({"a": "v".repeat(64)});
    rejects(
        &with("selector", long),
        "spec.selector[a]",
        ErrorKind::Invalid,
        "the value has 64 bytes, at most 63",
    );
    let prefix = format!("{}/a", "p".repeat(254));
    let reading = reading(&with("selector", json!({prefix: "b"})));
    assert!(
        reading.errors[0]
            .detail
            .contains("the prefix of the key has 254 bytes, at most 253")
    );
    assert!(reading.errors[0].path.len() < 120, "{}", reading.errors[0].path);
    accepts_silently(&with("selector", json!({"example.com/a": ""})));
}

#[test]
fn b39_at_most_32_pairs() {
    rejects(
        &with("selector", labels(33)),
        "spec.selector",
        ErrorKind::TooMany,
        "has 33 labels, at most 32",
    );
    rejects(
        &with("ingoreSelector", labels(33)),
        "spec.ingoreSelector",
        ErrorKind::TooMany,
        "has 33 labels",
    );
    accepts_silently(&with("selector", labels(32)));
}

#[test]
fn b40_a_selector_that_may_match_no_node_is_accepted_without_warning() {
    accepts_silently(&with("selector", json!({"no-such-label": "no-such-value"})));
}

// Replace, and types

#[rstest]
#[case(json!("true"), "not the string \"true\"")]
#[case(json!(1), "not 1")]
#[case(json!([]), "not a list")]
fn b41_replace_of_another_type(#[case] value: Value, #[case] says: &str) {
    rejects(&with("replace", value), "spec.replace", ErrorKind::TypeInvalid, says);
}

#[test]
fn b41_replace_null_or_absent_is_false() {
    assert!(!accepts_silently(&with("replace", json!(null))).replace);
    assert!(accepts_silently(&with("replace", json!(true))).replace);
}

#[rstest]
#[case(json!({}), "spec.jobTemplate", ErrorKind::Required)]
#[case(json!({"jobTemplate": null}), "spec.jobTemplate", ErrorKind::Required)]
#[case(json!({"jobTemplate": "x"}), "spec.jobTemplate", ErrorKind::TypeInvalid)]
#[case(json!({"jobTemplate": []}), "spec.jobTemplate", ErrorKind::TypeInvalid)]
#[case(json!({"jobTemplate": {"spec": "x"}}), JOB, ErrorKind::TypeInvalid)]
#[case(json!({"jobTemplate": {"spec": {"template": []}}}), "spec.jobTemplate.spec.template", ErrorKind::TypeInvalid)]
#[case(json!({"jobTemplate": {"spec": {"template": {"spec": 1}}}}), POD, ErrorKind::TypeInvalid)]
#[case(json!(null), "spec", ErrorKind::Required)]
#[case(json!("x"), "spec", ErrorKind::TypeInvalid)]
fn b42_job_template_missing_or_of_another_type(#[case] spec: Value, #[case] path: &str, #[case] kind: ErrorKind) {
    rejects(&spec, path, kind, "");
}

#[rstest]
#[case(json!({}))]
#[case(json!({"spec": {}}))]
#[case(json!({"spec": {"template": {}}}))]
#[case(json!({"spec": {"template": {"spec": {}}}}))]
fn b42_empty_job_template_names_what_is_needed(#[case] template: Value) {
    let reading = reading(&json!({"jobTemplate": template}));
    let paths: Vec<_> = reading.errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, [format!("{POD}.containers"), format!("{POD}.restartPolicy")]);
    assert!(reading.errors.iter().all(|error| error.kind == ErrorKind::Required));
}

#[test]
fn all_types_that_are_wrong_are_named_at_once() {
    let spec = with_job("parallelism", json!("2"));
    let spec = set(spec, "jobTemplate.metadata.labels", json!({"tier": 1, "zone": true}));
    let spec = set(
        spec,
        "jobTemplate.spec.template.spec.containers.0.command",
        json!(["a", 1, null]),
    );
    let spec = set(spec, "jobTemplate.spec.template.spec.hostNetwork", json!("yes"));
    let spec = set(spec, "jobTemplate.spec.template.spec.volumes", json!({"a": {}}));
    let mut errors: Vec<_> = reading(&spec).errors.iter().map(ToString::to_string).collect();
    errors.sort();
    assert_eq!(
        errors,
        [
            "spec.jobTemplate.metadata.labels[tier]: must be a string, not 1".to_owned(),
            "spec.jobTemplate.metadata.labels[zone]: must be a string, not true".to_owned(),
            format!("{JOB}.parallelism: must be a whole number of 32 bits, not the string \"2\""),
            format!("{CONTAINER}.command[1]: must be a string, not 1"),
            format!("{CONTAINER}.command[2]: must be a string, not null"),
            format!("{POD}.hostNetwork: must be true or false, without quotes, not the string \"yes\""),
            format!("{POD}.volumes: must be a list, not a mapping"),
        ]
    );
}

// The template

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
fn all_causes_come_at_once() {
    let spec = json!({
        "replace": "true",
        "selector": {"a": 1},
        "ingoreSelector": {"b": "x"},
        "jobTemplate": {
            "metadata": {"name": "x"},
            "spec": {"suspend": true, "backoffLimit": -1, "template": {"spec": {
                "nodeName": "n", "hostNetwork": "x", "containers": [{"name": "c"}],
            }}},
        },
    });
    let reading = read(&"n".repeat(64), &spec);
    let paths: Vec<_> = reading.errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "spec.ingoreSelector".to_owned(),
            "metadata.name".to_owned(),
            "spec.replace".to_owned(),
            "spec.selector[a]".to_owned(),
            "spec.jobTemplate.metadata.name".to_owned(),
            format!("{JOB}.suspend"),
            format!("{JOB}.backoffLimit"),
            format!("{CONTAINER}.image"),
            format!("{POD}.restartPolicy"),
            format!("{POD}.nodeName"),
            format!("{POD}.hostNetwork"),
        ]
    );
}

#[test]
fn a_flood_of_causes_is_counted_not_listed() {
    let containers: Vec<_> = (0..1000).map(|_| json!({"name": "c"})).collect();
    let reading = reading(&with_pod("containers", json!(containers)));
    assert_eq!(reading.errors.len(), 101);
    assert_eq!(reading.errors[100].detail, "900 more errors are not shown");
}

#[test]
fn messages_show_no_flood_and_no_control_characters() {
    let reading = reading(&with_pod(
        "restartPolicy",
        json!(format!("\u{1b}[31m\n{}", "x".repeat(100_000))),
    ));
    let text = reading.errors[0].to_string();
    assert!(text.len() < 300 && !text.contains(char::is_control), "{text}");
}

// Warnings

#[test]
fn b61_a_key_that_kubernetes_does_not_set() {
    warns(
        &with("selector", json!({"os": "linux"})),
        "spec.selector[os]: Kubernetes sets no node label `os`; did you mean `kubernetes.io/os`?",
    );
    accepts_silently(&with("selector", json!({"kubernetes.io/os": "linux"})));
}

#[test]
fn b61_a_back_off_limit_of_zero() {
    let spec = with_job("backoffLimit", json!(0));
    warns(
        &spec,
        "spec.jobTemplate.spec.backoffLimit: with 0, a drained or preempted Pod fails its node for good; \
         a `podFailurePolicy` that ignores `DisruptionTarget` lets it start again",
    );
    let policy = |action: &str, status: &str| {
        let condition = json!({"type": "DisruptionTarget", "status": status});
        let rules = json!([{"action": action, "onPodConditions": [condition]}]);
        set(
            spec.clone(),
            "jobTemplate.spec.podFailurePolicy",
            json!({"rules": rules}),
        )
    };
    accepts_silently(&policy("Ignore", "True"));
    assert_eq!(accepts(&policy("Ignore", "False")).warnings.len(), 1);
    assert_eq!(accepts(&policy("Count", "True")).warnings.len(), 1);
    accepts_silently(&with_job("backoffLimit", json!(1)));
}

#[test]
fn b61_labels_of_a_chart_release_under_replace() {
    for at in [
        "jobTemplate.metadata.labels",
        "jobTemplate.spec.template.metadata.labels",
    ] {
        let spec = with(
            at,
            json!({"helm.sh/chart": "scan-1.2.3", "app.kubernetes.io/name": "scan"}),
        );
        accepts_silently(&spec);
        warns(
            &set(spec, "replace", json!(true)),
            &format!(
                "spec.{at}[helm.sh/chart]: charts change this label with each release, \
                 and with `replace: true` each change runs every node again"
            ),
        );
    }
    accepts_silently(&set(
        with("jobTemplate.metadata.labels", json!({"a": "b"})),
        "replace",
        json!(true),
    ));
}

/// Where types are looked at one element at a time.
#[rstest]
#[case("containers.0.ports", json!([{"containerPort": "http"}]), "containers[0].ports[0].containerPort")]
#[case("initContainers", json!([{"image": "i"}, {"image": "i", "tty": 1}]), "initContainers[1].tty")]
#[case("initContainers", json!("x"), "initContainers")]
#[case("ephemeralContainers", json!([null]), "ephemeralContainers[0]")]
#[case("volumes", json!([{"name": "a"}, {"name": 1}]), "volumes[1].name")]
#[case("volumes", json!([{"name": "a", "projected": {"sources": [{}, {"secret": []}]}}]), "volumes[0].projected.sources[1].secret")]
#[case("volumes", json!([{"name": "a", "projected": {"sources": {}}}]), "volumes[0].projected.sources")]
fn a_wrong_type_below_a_list_is_found_at_its_place(#[case] member: &str, #[case] value: Value, #[case] path: &str) {
    rejects(
        &with_pod(member, value),
        &format!("{POD}.{path}"),
        ErrorKind::TypeInvalid,
        "must be",
    );
}

#[test]
fn b61_a_changed_hash() {
    let changed = with_pod("hostNetwork", json!(true));
    let says =
        "spec.jobTemplate: the template has changed; `replace` is false: nodes that already ran keep their result";
    assert_eq!(
        Former::of(&sample()).change_warning(&changed, None).as_deref(),
        Some(says)
    );
    let says = "spec.jobTemplate: the template has changed; `replace` is true: stops and re-runs every node";
    let replacing = set(changed, "replace", json!(true));
    assert_eq!(
        Former::of(&sample()).change_warning(&replacing, None).as_deref(),
        Some(says)
    );
}

#[test]
fn b61_no_changed_hash() {
    let same = with("jobTemplate.metadata", json!(null));
    let sample = Former::of(&sample());
    assert_eq!(
        sample.change_warning(&set(same, "selector", json!({"a": "b"})), None),
        None
    );
    assert_eq!(sample.change_warning(&json!({}), None), None);
    assert_eq!(
        Former::of(&json!(null)).change_warning(&super::tests::sample(), None),
        None
    );
}

// For all inputs

/// Names that the rules know, so that random JSON gets past the first member.
const NAMES: [&str; 24] = [
    "activeDeadlineSeconds",
    "affinity",
    "annotations",
    "backoffLimit",
    "containers",
    "creationTimestamp",
    "ignoreSelector",
    "image",
    "ingoreSelector",
    "jobTemplate",
    "labels",
    "metadata",
    "name",
    "nodeAffinity",
    "nodeSelectorTerms",
    "podFailurePolicy",
    "replace",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "restartPolicy",
    "rules",
    "selector",
    "spec",
    "suspend",
    "template",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        Just(json!("Never")),
    ];
    leaf.prop_recursive(6, 48, 5, |inner| {
        let name = prop_oneof![4 => prop::sample::select(&NAMES).prop_map(str::to_owned), 1 => ".{0,6}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A whole spec in which one value is replaced by anything.
fn damaged_spec() -> impl Strategy<Value = Value> {
    let paths = [
        "ingoreSelector",
        "jobTemplate",
        "jobTemplate.metadata",
        "jobTemplate.metadata.labels",
        "jobTemplate.spec",
        "jobTemplate.spec.backoffLimit",
        "jobTemplate.spec.podFailurePolicy",
        "jobTemplate.spec.template",
        "jobTemplate.spec.template.metadata",
        "jobTemplate.spec.template.spec",
        "jobTemplate.spec.template.spec.affinity",
        "jobTemplate.spec.template.spec.containers",
        "jobTemplate.spec.template.spec.containers.0",
        "jobTemplate.spec.template.spec.containers.0.command.1",
        "jobTemplate.spec.template.spec.nodeSelector",
        "replace",
        "selector",
    ];
    (prop::sample::select(paths.to_vec()), any_json()).prop_map(|(path, value)| with(path, value))
}

fn any_spec() -> impl Strategy<Value = Value> {
    prop_oneof![any_json(), damaged_spec()]
}

proptest! {
    #[test]
    fn every_input_has_one_verdict(name in ".{0,70}", spec in any_spec()) {
        let reading = read(&name, &spec);
        prop_assert_eq!(reading.is_valid(), reading.errors.is_empty());
        let expected = reading.is_valid() || (reading.both_selectors() && reading.errors.len() == 1);
        prop_assert_eq!(reading.runnable().is_ok(), expected);
        prop_assert_eq!(&reading, &read(&name, &spec));
        for error in &reading.errors {
            prop_assert!(error.path.starts_with("spec") || error.path == "metadata.name", "{}", error);
            prop_assert!(!error.to_string().contains(char::is_control), "{:?}", error);
        }
        for warning in &reading.warnings {
            prop_assert!(warning.starts_with("spec."), "{}", warning);
        }
    }

    #[test]
    fn i12_defaulting_never_changes_the_verdict(spec in any_spec()) {
        let object = json!({"metadata": {"name": "sample"}, "spec": spec});
        let mutated = crate::defaulting::tests::apply(&object, &crate::defaulting::defaults(&object, None));
        prop_assert_eq!(read("sample", &object["spec"]), read("sample", &mutated["spec"]));
    }

    #[test]
    fn one_hash_one_verdict_on_the_template(spec in damaged_spec()) {
        let Ok(canonical) = crate::hash::canonical(&spec) else { return Ok(()) };
        let normal: Value = serde_json::from_slice(&canonical).unwrap();
        // Null label values of selectors are no part of the template.
        prop_assume!(spec["selector"].is_null() && spec["ingoreSelector"].is_null());
        prop_assert_eq!(reading(&spec).is_valid(), reading(&normal).is_valid());
    }

    #[test]
    fn changes_between_any_two_specs_are_told(old in any_spec(), new in any_spec()) {
        let former = Former::of(&old);
        prop_assert!(former.is(&old));
        prop_assert_eq!(former.change_warning(&old, None), None);
        if former.is(&new) {
            prop_assert_eq!(former.change_warning(&new, None), None);
        }
    }
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
