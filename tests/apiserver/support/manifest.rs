//! Manifests: the committed examples, and small DaemonJobs for a single question.

use std::path::PathBuf;

use serde_json::{Value, json};

/// The path of a committed example.
pub(crate) fn example_path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(file)
}

/// The text of a committed example.
pub(crate) fn example(file: &str) -> String {
    std::fs::read_to_string(example_path(file)).expect("the example is committed")
}

/// A DaemonJob whose Jobs succeed at once.
pub(crate) fn daemon_job(name: &str) -> Value {
    json!({
        "apiVersion": "daemon.justk8s.com/v1alpha1",
        "kind": "DaemonJob",
        "metadata": {"name": name},
        "spec": {"jobTemplate": {"spec": {"template": {
            "metadata": {"labels": {}},
            "spec": {
                "restartPolicy": "OnFailure",
                "containers": [{"name": "main", "image": "busybox:stable", "args": ["first"]}],
            },
        }}}},
    })
}

/// A DaemonJob whose Jobs run until they are deleted.
pub(crate) fn hanging(name: &str) -> Value {
    let mut it = daemon_job(name);
    it["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["outcome"] = json!("hang");
    it
}

/// A DaemonJob whose Jobs fail at once.
pub(crate) fn failing(name: &str) -> Value {
    let mut it = daemon_job(name);
    it["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]["outcome"] = json!("fail");
    it["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(0);
    it
}

/// A DaemonJob whose Jobs run until the test ends their Pods, and then do not try again.
pub(crate) fn at_hand(name: &str) -> Value {
    let mut it = hanging(name);
    it["spec"]["jobTemplate"]["spec"]["backoffLimit"] = json!(0);
    it
}

/// The same with another template.
pub(crate) fn changed(mut it: Value) -> Value {
    it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["second"]);
    it
}

/// The same for the nodes that have the label `test` with this value.
pub(crate) fn on(mut it: Value, test: &str) -> Value {
    it["spec"]["selector"] = json!({ "test": test });
    it
}

/// The same with `replace: true`.
pub(crate) fn replacing(mut it: Value) -> Value {
    it["spec"]["replace"] = json!(true);
    it
}

/// The same with finished Jobs deleted after so many seconds.
pub(crate) fn expiring(mut it: Value, seconds: u32) -> Value {
    it["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] = json!(seconds);
    it
}

/// The same with this field in the Pods' spec.
pub(crate) fn with(mut it: Value, field: &str, value: Value) -> Value {
    it["spec"]["jobTemplate"]["spec"]["template"]["spec"][field] = value;
    it
}
