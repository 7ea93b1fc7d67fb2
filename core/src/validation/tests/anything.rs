//! For all inputs.

use proptest::prelude::*;
use serde_json::json;

use super::*;

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
