//! How faults and warnings are told.

use rstest::rstest;
use serde_json::json;

use super::*;

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
