//! `replace`, and members of another type than theirs.

use rstest::rstest;
use serde_json::json;

use super::*;

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
