//! The manifests that users start from.

use serde_json::{Value, json};

use crate::render::{repository, text, yaml};

fn example(name: &str) -> Value {
    yaml(&text(&format!("examples/{name}.yaml")))
}

fn daemon_job(name: &str, line: &str, more: &Value) -> Value {
    let mut expected = json!({
        "apiVersion": "daemon.justk8s.com/v1alpha1",
        "kind": "DaemonJob",
        "metadata": {"name": name},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": {
            "containers": [{
                "name": "hello",
                "image": "busybox:stable",
                "command": ["/bin/sh", "-c"],
                "args": [format!("date; echo Hello from the Kubernetes cluster {line}")],
            }],
            "restartPolicy": "OnFailure",
        }}}}},
    });
    let spec = expected["spec"].as_object_mut().expect("a spec is an object");
    spec.extend(more.as_object().cloned().unwrap_or_default());
    expected
}

#[test]
fn examples_are_the_seed_manifests() {
    let linux = json!({"os": "linux"});
    // The boolean is not a string: users write it so.
    let ingress = json!({"ingress": true});
    for (file, name, line, more) in [
        ("01-sample", "daemonjob-sample", "v2", json!({})),
        ("02a-changed", "daemonjob-sample", "v3", json!({})),
        ("02b-replace", "daemonjob-sample", "v3", json!({"replace": true})),
        ("03-selector", "daemonjob-selector", "v2", json!({"selector": linux})),
        (
            "04-ignore",
            "daemonjob-ignore",
            "v2",
            json!({"ingoreSelector": ingress}),
        ),
        (
            "05-both",
            "daemonjob-both",
            "v2",
            json!({"selector": linux, "ingoreSelector": ingress}),
        ),
    ] {
        assert_eq!(example(file), daemon_job(name, line, &more), "{file}");
    }
}

#[test]
fn each_example_says_in_two_lines_what_it_shows_and_is_listed() {
    let readme = text("examples/README.md");
    let files: Vec<_> = std::fs::read_dir(repository("examples"))
        .expect("there are examples")
        .flatten()
        .collect();
    let names = files.iter().filter_map(|file| file.file_name().into_string().ok());
    let manifests: Vec<String> = names.filter(|name| name.ends_with(".yaml")).collect();
    assert_eq!(manifests.len(), 6);
    for name in manifests {
        let text = text(&format!("examples/{name}"));
        assert_eq!(
            text.lines().take_while(|line| line.starts_with("# ")).count(),
            2,
            "{name}"
        );
        assert!(readme.contains(&format!("({name})")), "{name} is not in the README");
    }
}
