//! DaemonJobs as users write them: most of their parts are right, and any may be wrong.

use proptest::prelude::*;
use proptest::strategy::Union;
use serde_json::{Map, Value, json};

use super::admission::HASH;

/// So many right parts to a wrong one: of about twenty parts, in half of the objects all are right.
const RIGHT: u32 = 40;

/// One of the right values, or seldom one of the wrong ones. Null means that the member is absent or null.
fn part(right: Vec<Value>, wrong: Vec<Value>) -> BoxedStrategy<Value> {
    let right = Union::new(right.into_iter().map(Just)).boxed();
    let wrong = Union::new(wrong.into_iter().map(Just)).boxed();
    prop_oneof![RIGHT => right, 1 => wrong].boxed()
}

/// A mapping of these members; a null is left out in half of the cases.
fn mapping<const N: usize>(members: [(&'static str, BoxedStrategy<Value>); N]) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
    (values, any::<bool>())
        .prop_map(move |(values, keeps_nulls)| {
            let members = names.iter().zip(values);
            let members = members.filter(|(_, value)| keeps_nulls || !value.is_null());
            Value::Object(members.map(|(name, value)| ((*name).to_owned(), value)).collect())
        })
        .boxed()
}

fn labels() -> BoxedStrategy<Value> {
    let label = prop_oneof![
        RIGHT => ("[a-z]{1,8}(\\.io/[a-z]{1,4})?", "[a-zA-Z0-9]{0,6}"),
        1 => (".{0,3}", ".{0,3}"),
        1 => (Just("batch.kubernetes.io/job-name".to_owned()), "[a-z]"),
    ];
    prop::collection::vec(label, 0..4)
        .prop_map(|labels| {
            let labels = labels.into_iter().map(|(key, value)| (key, Value::from(value)));
            Value::Object(labels.collect::<Map<_, _>>())
        })
        .boxed()
}

pub(super) fn selector() -> BoxedStrategy<Value> {
    let value = prop_oneof![
        RIGHT => "[a-z0-9]{0,6}".prop_map(Value::from),
        4 => any::<bool>().prop_map(Value::from),
        1 => Just(json!(1)),
        1 => Just(json!(null)),
        1 => Just(json!(["a"])),
    ];
    let key = prop_oneof![RIGHT => "(kubernetes\\.io/)?[a-z]{1,8}", 4 => Just("os".to_owned()), 1 => ".{0,4}"];
    let pairs = prop::collection::btree_map(key, value, 1..3)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>()));
    prop_oneof![RIGHT => pairs, 4 => Just(json!({})), 1 => Just(json!("all"))].boxed()
}

fn container() -> BoxedStrategy<Value> {
    mapping([
        (
            "name",
            part(vec![json!("c"), json!("hello")], vec![json!(null), json!(1)]),
        ),
        (
            "image",
            part(
                vec![json!("busybox:stable"), json!("a/b@sha256:0")],
                vec![json!(null), json!(""), json!([])],
            ),
        ),
        ("args", "[ -~é\n]{0,20}".prop_map(|text| json!(["-c", text])).boxed()),
        (
            "env",
            part(
                vec![json!(null), json!([]), json!([{"name": "A", "value": "1"}])],
                vec![json!([{"name": "A", "value": 1}]), json!({})],
            ),
        ),
    ])
}

fn pod() -> BoxedStrategy<Value> {
    let containers = prop_oneof![
        RIGHT => prop::collection::vec(container(), 1..3).prop_map(Value::from),
        1 => Just(json!([])),
        1 => Just(json!(null)),
    ];
    let affinity = |terms: Value| json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}});
    let expression = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
    mapping([
        ("containers", containers.boxed()),
        (
            "restartPolicy",
            part(
                vec![json!("Never"), json!("OnFailure")],
                vec![json!("Always"), json!(null)],
            ),
        ),
        ("nodeName", part(vec![json!(null), json!("")], vec![json!("n")])),
        (
            "affinity",
            part(
                vec![json!(null), affinity(json!([{}, expression]))],
                vec![affinity(json!([{}]))],
            ),
        ),
        (
            "fieldOfTheFuture",
            part(
                vec![json!(null), json!({"a": [1.5, 1e15, -0.0]})],
                vec![json!(9_007_199_254_740_993_u64)],
            ),
        ),
    ])
}

/// Templates; one in five is no object, or no Job.
pub(super) fn template() -> BoxedStrategy<Value> {
    let metadata = mapping([
        ("labels", labels()),
        ("annotations", labels()),
        (
            "creationTimestamp",
            part(vec![json!(null)], vec![json!("2026-01-01T00:00:00Z")]),
        ),
    ]);
    let pod_template = mapping([("metadata", metadata.clone()), ("spec", pod())]);
    let job = mapping([
        ("template", pod_template),
        (
            "backoffLimit",
            part(
                vec![json!(null), json!(0), json!(3), json!(3.0)],
                vec![json!(-1), json!("3"), json!(1.5)],
            ),
        ),
        ("suspend", part(vec![json!(null), json!(false)], vec![json!(true)])),
        (
            "ttlSecondsAfterFinished",
            part(vec![json!(null), json!(0)], vec![json!(4e9)]),
        ),
    ]);
    mapping([("metadata", metadata), ("spec", job)])
}

pub(super) fn spec() -> BoxedStrategy<Value> {
    let selectors = prop_oneof![
        8 => Just((json!(null), json!(null))),
        8 => selector().prop_map(|selector| (selector, json!(null))),
        8 => selector().prop_map(|selector| (json!(null), selector)),
        1 => (selector(), selector()),
    ];
    let replace = part(
        vec![json!(null), json!(true), json!(false)],
        vec![json!("true"), json!(1)],
    );
    let template =
        prop_oneof![RIGHT => template(), 1 => Just(json!(null)), 1 => Just(json!("x")), 1 => Just(json!({}))];
    let alias = prop_oneof![9 => Just("ingoreSelector"), 1 => Just("ignoreSelector")];
    let spec = (selectors, alias, replace, template, any::<bool>()).prop_map(
        |((selector, exclusion), alias, replace, template, keeps_nulls)| {
            let members = [
                ("selector", selector),
                (alias, exclusion),
                ("replace", replace),
                ("jobTemplate", template),
            ];
            let members = members.into_iter().filter(|(_, value)| keeps_nulls || !value.is_null());
            Value::Object(members.map(|(name, value)| (name.to_owned(), value)).collect())
        },
    );
    prop_oneof![RIGHT => spec, 1 => Just(json!(null)), 1 => Just(json!([]))].boxed()
}

/// Whole objects, with metadata as API servers let it through.
pub(super) fn daemon_job() -> BoxedStrategy<Value> {
    let name = prop_oneof![RIGHT => "[a-z]([a-z0-9.-]{0,60}[a-z0-9])?", 1 => "[a-z]{64,70}"];
    let written = prop_oneof![
        Just(json!(null)),
        Just(json!("0".repeat(64))),
        Just(json!("short")),
        Just(json!(7))
    ];
    let annotations = prop_oneof![
        Just(json!(null)),
        Just(json!({})),
        Just(json!({"a/b~c": "d"})),
        written.prop_map(|written| json!({HASH: written, "other": "kept"})),
    ];
    (name, annotations, spec(), any::<bool>())
        .prop_map(|(name, annotations, spec, has_annotations)| {
            let mut metadata = json!({"name": name, "managedFields": [{"manager": "kubectl"}]});
            if has_annotations || !annotations.is_null() {
                metadata["annotations"] = annotations;
            }
            json!({"metadata": metadata, "spec": spec})
        })
        .boxed()
}
