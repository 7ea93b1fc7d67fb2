//! What users type: apply in its variants, diff, replace, wait, get, explain.

use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{daemon_job, example};
use crate::support::trial::{HASH, text};

const SAMPLE: &str = "daemonjob-sample";

fn version(it: &Value) -> String {
    text(&it["metadata"]["resourceVersion"])
}

/// A finished sample: nobody writes to it any more.
fn finished_sample() -> Trial {
    let trial = Trial::begin();
    trial.accepts(&example("01-sample.yaml"));
    trial.wait_for("Complete", SAMPLE);
    trial.shows(SAMPLE, "4 desired, 4 succeeded, 1 skipped");
    trial
}

#[test]
fn g7_applying_again_client_side_changes_nothing() {
    let trial = finished_sample();
    let before = version(&trial.daemon_job(SAMPLE));
    for _ in 0..2 {
        let said = trial.accepts(&example("01-sample.yaml")).stdout;
        assert!(said.contains("unchanged"), "{said}");
    }
    assert_eq!(version(&trial.daemon_job(SAMPLE)), before);
}

#[test]
fn g7_applying_again_server_side_changes_nothing_also_after_client_side() {
    let trial = finished_sample();
    let server_side = || {
        trial
            .kubectl_with("apply --server-side -f -", &example("01-sample.yaml"))
            .checked()
            .expect("no conflict with what was applied before")
    };
    server_side();
    let first = trial.daemon_job(SAMPLE);
    assert_eq!(first["metadata"]["generation"], 1, "the spec is the same");
    server_side();
    let second = trial.daemon_job(SAMPLE);
    assert_eq!(version(&second), version(&first));
    trial.accepts(&example("01-sample.yaml"));
    server_side();
    let mixed = trial.daemon_job(SAMPLE);
    assert_eq!(mixed["metadata"]["generation"], 1);
    assert_eq!(
        mixed["metadata"]["annotations"][HASH],
        first["metadata"]["annotations"][HASH]
    );
}

#[test]
fn a_server_side_apply_alone_is_stamped_and_runs() {
    let trial = Trial::begin();
    let apply = || {
        trial
            .kubectl_with("apply --server-side -f -", &example("01-sample.yaml"))
            .checked()
            .unwrap()
    };
    apply();
    trial.wait_for("Complete", SAMPLE);
    let before = trial.shows(SAMPLE, "4 desired, 4 succeeded, 1 skipped");
    assert_eq!(text(&before["metadata"]["annotations"][HASH]).len(), 64);
    assert_eq!(before["spec"]["replace"], false);
    apply();
    assert_eq!(version(&trial.daemon_job(SAMPLE)), version(&before), "G7");
}

#[test]
fn a_dry_run_shows_what_would_be_stored_and_stores_nothing() {
    let trial = Trial::begin();
    let said = trial.kubectl_with("apply --dry-run=server -o json -f -", &example("01-sample.yaml"));
    let it: Value = serde_json::from_str(&said.checked().unwrap()).unwrap();
    assert_eq!(text(&it["metadata"]["annotations"][HASH]).len(), 64);
    assert_eq!(it["spec"]["replace"], false);
    assert!(trial.kubectl("get dj daemonjob-sample").stderr.contains("NotFound"));
}

#[test]
fn diff_is_empty_after_an_apply_shows_a_change_and_writes_nothing() {
    let trial = finished_sample();
    let before = version(&trial.daemon_job(SAMPLE));
    let same = trial.kubectl_with("diff -f -", &example("01-sample.yaml"));
    assert_eq!(same.code(), Some(0), "G7: {}{}", same.stdout, same.stderr);
    let other = trial.kubectl_with("diff -f -", &example("02b-replace.yaml"));
    assert_eq!(other.code(), Some(1), "{}", other.stderr);
    let hash_changes = other
        .stdout
        .lines()
        .any(|line| line.starts_with("+ ") && line.contains(HASH));
    assert!(
        other.stdout.contains("Kubernetes cluster v3") && hash_changes,
        "{}",
        other.stdout
    );
    assert_eq!(version(&trial.daemon_job(SAMPLE)), before);
}

#[test]
fn replace_with_kubectl_stamps_the_new_hash() {
    let trial = finished_sample();
    let before = trial.daemon_job(SAMPLE);
    trial
        .kubectl_with("replace -f -", &example("02a-changed.yaml"))
        .checked()
        .unwrap();
    let after = trial.shows(SAMPLE, "4 desired, 4 succeeded, 4 outdated, 1 skipped");
    assert_ne!(
        after["metadata"]["annotations"][HASH],
        before["metadata"]["annotations"][HASH]
    );
    assert_eq!(after["spec"]["replace"], false);
}

#[test]
fn wait_and_the_columns_of_get_show_how_far_it_is() {
    let trial = finished_sample();
    trial.wait_for("Finished", SAMPLE);
    let words = |line: Option<&str>| {
        line.unwrap_or_default()
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let narrow = trial.run("get dj");
    assert_eq!(
        words(narrow.lines().next()),
        ["NAME", "DESIRED", "ACTIVE", "SUCCEEDED", "FAILED", "STATUS", "AGE"]
    );
    let row = words(narrow.lines().nth(1));
    assert_eq!(row[..6], [SAMPLE, "4", "0", "4", "0", "4/4 done"], "{narrow}");

    let wide = trial.run("get dj -o wide");
    let header = words(wide.lines().next());
    let all = [
        "NAME",
        "DESIRED",
        "ACTIVE",
        "SUCCEEDED",
        "FAILED",
        "WAITING",
        "OUTDATED",
        "STATUS",
        "AGE",
        "REPLACE",
        "HASH",
    ];
    assert_eq!(header, all);
    let row = words(wide.lines().nth(1));
    let hash = text(&trial.daemon_job(SAMPLE)["metadata"]["annotations"][HASH]);
    assert_eq!(
        [&row[5], &row[6], &row[9], &row[10]],
        ["0", "0", "false", &hash],
        "{wide}"
    );
}

#[test]
fn explain_tells_what_each_field_means() {
    let trial = Trial::begin();
    let said = trial.run("explain dj.spec");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for field in [
        "replace <boolean> Whether a changed jobTemplate runs again",
        "selector <map[string]Object> Run only on nodes that carry all of these labels",
        "ingoreSelector <map[string]Object> Run on all nodes except those that carry all of these labels",
        "ignoreSelector <map[string]Object> Another name of ingoreSelector",
        "jobTemplate <Object> -required- The Job to run on each node",
    ] {
        assert!(said.contains(field), "{field}: {said}");
    }
    let deep = trial.run("explain dj.spec.jobTemplate.spec.template.spec.containers.image");
    assert!(deep.contains("image <string>"), "{deep}");
}

#[test]
fn all_causes_of_a_refusal_are_told_at_once() {
    let trial = Trial::begin();
    let mut it = daemon_job("it");
    it["spec"]["selector"] = json!({"tier": 1});
    it["spec"]["ingoreSelector"] = json!({"zone": "a"});
    it["spec"]["jobTemplate"]["spec"]["manualSelector"] = json!(true);
    it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
    it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["nodeName"] = json!("plain");
    let said = trial.rejects(&it);
    for path in [
        "spec.selector[tier]",
        "spec.jobTemplate.spec.manualSelector",
        "spec.jobTemplate.spec.template.spec.restartPolicy",
        "spec.jobTemplate.spec.template.spec.nodeName",
    ] {
        assert!(said.contains(path), "{path}: {said}");
    }
}

#[test]
fn a_typing_error_in_a_field_is_refused_by_its_path() {
    let trial = Trial::begin();
    let mut it = daemon_job("it");
    it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["imagee"] = json!("x");
    let said = trial.rejects(&it);
    assert!(
        said.contains("unknown field") && said.contains("containers[0].imagee"),
        "{said}"
    );
}
