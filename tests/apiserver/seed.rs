//! The five manifests that everything began with, as they are committed in `examples/`.

use std::process::Command;

use serde_json::json;

use crate::support::Trial;
use crate::support::manifest::{changed, example, example_path, hanging, replacing};
use crate::support::operator::BINARY;
use crate::support::trial::{HASH, items, text, told};
use crate::support::watch::{Watch, assert_one_at_a_time, has_ended};

const SAMPLE: &str = "daemonjob-sample";

fn nodes(trial: &Trial, name: &str) -> Vec<String> {
    trial.jobs(name).into_keys().collect()
}

#[test]
fn seed_1_the_sample_runs_one_pinned_job_on_each_eligible_node_and_skips_the_tainted_one() {
    let trial = Trial::begin();
    trial.accepts(&example("01-sample.yaml"));
    trial.wait_for("Complete", SAMPLE);

    let it = trial.shows(SAMPLE, "4 desired, 4 succeeded, 1 skipped");
    assert_eq!(told(&it, "Complete"), "Complete=True (AllSucceeded)");
    assert_eq!(told(&it, "Ready"), "Ready=True (AllSucceeded)");
    assert_eq!(told(&it, "Reconciling"), "none");
    let skipped = &it["status"]["skippedNodes"];
    assert_eq!(skipped[0]["reason"], "UntoleratedTaint");
    assert_eq!(skipped[0]["nodes"], json!(["guarded"]));
    assert!(
        text(&skipped[0]["message"]).contains("team"),
        "the key of the taint: {skipped}"
    );
    assert_eq!(nodes(&trial, SAMPLE), ["edge", "linux-1", "linux-2", "plain"]);

    let pods = trial.json("get pods");
    assert_eq!(items(&pods).len(), 4, "one Pod for each Job");
    let jobs = trial.jobs(SAMPLE);
    for pod in items(&pods) {
        let job = text(&pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]);
        let node = text(&pod["spec"]["nodeName"]);
        assert_eq!(jobs[&node].name, job, "the Pod runs on the node of its Job");
    }
    assert_eq!(trial.event("AllSucceeded").len(), 1, "the end is told once");
}

#[test]
fn seed_1_the_stamped_hash_is_that_of_daemonjob_hash_and_replace_is_defaulted() {
    let trial = Trial::begin();
    trial.accepts(&example("01-sample.yaml"));
    let output = Command::new(BINARY)
        .arg("hash")
        .arg(example_path("01-sample.yaml"))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let it = trial.daemon_job(SAMPLE);
    let stamped = text(&it["metadata"]["annotations"][HASH]);
    assert_eq!(printed, format!("{stamped}  {SAMPLE}\n"));
    assert_eq!(it["spec"]["replace"], false);
    trial.wait_for("Complete", SAMPLE);
    let jobs = trial.jobs(SAMPLE);
    assert!(
        jobs.values().all(|job| job.hash == stamped),
        "each Job carries its hash: {jobs:?}"
    );
}

#[test]
fn seed_2_a_changed_template_runs_nothing_again_until_replace_is_true() {
    let trial = Trial::begin();
    trial.accepts(&example("01-sample.yaml"));
    trial.wait_for("Complete", SAMPLE);
    let before = trial.jobs(SAMPLE);

    let said = trial.accepts(&example("02a-changed.yaml"));
    assert!(
        said.stderr.contains("Warning: ") && said.stderr.contains("replace"),
        "{}",
        said.stderr
    );
    let it = trial.shows(SAMPLE, "4 desired, 4 succeeded, 4 outdated, 1 skipped");
    assert_eq!(told(&it, "Complete"), "Complete=True (Outdated)");
    assert_eq!(trial.jobs(SAMPLE), before, "nothing is made anew");

    let (jobs, pods) = (Watch::start(&trial, "jobs", 4), Watch::start(&trial, "pods", 4));
    trial.accepts(&example("02b-replace.yaml"));
    let it = trial.shows(SAMPLE, "4 desired, 4 succeeded, 1 skipped");
    assert_eq!(told(&it, "Complete"), "Complete=True (AllSucceeded)");
    let after = trial.jobs(SAMPLE);
    assert!(after.keys().eq(before.keys()), "the same nodes");
    assert!(
        after.iter().all(|(node, job)| job.uid != before[node].uid),
        "every Job is new"
    );
    assert!(
        after
            .values()
            .all(|job| job.hash == text(&it["metadata"]["annotations"][HASH]))
    );

    assert_one_at_a_time(&jobs.stop_after(&trial, "ADDED", 8), |_| false);
    assert_one_at_a_time(&pods.stop_after(&trial, "ADDED", 8), has_ended);
}

#[test]
fn seed_2_replace_stops_running_jobs_and_their_pods_are_gone_before_the_new_ones_start() {
    let trial = Trial::begin();
    trial.accepts(&hanging("it"));
    trial.shows("it", "4 desired, 4 active, 1 skipped");
    trial.eventually("the Pods to run", || {
        let pods = trial.json("get pods --field-selector=status.phase=Running");
        Ok((items(&pods).len() == 4).then_some(()))
    });
    let (jobs, pods) = (Watch::start(&trial, "jobs", 4), Watch::start(&trial, "pods", 4));
    trial.accepts(&replacing(changed(hanging("it"))));
    trial.shows("it", "4 desired, 4 active, 1 skipped");
    assert_one_at_a_time(&jobs.stop_after(&trial, "ADDED", 8), |_| false);
    assert_one_at_a_time(&pods.stop_after(&trial, "ADDED", 8), has_ended);
}

#[test]
fn seed_3_a_selector_runs_on_the_nodes_with_the_label_alone() {
    let trial = Trial::begin();
    trial.accepts(&example("03-selector.yaml"));
    trial.wait_for("Complete", "daemonjob-selector");
    trial.shows("daemonjob-selector", "3 desired, 3 succeeded");
    assert_eq!(nodes(&trial, "daemonjob-selector"), ["edge", "linux-1", "linux-2"]);
}

#[test]
fn seed_4_an_unquoted_boolean_excludes_is_stored_as_written_and_warned_of() {
    let trial = Trial::begin();
    let said = trial.accepts(&example("04-ignore.yaml")).stderr;
    assert!(said.contains("Warning: spec.ingoreSelector[ingress]"), "{said}");
    trial.wait_for("Complete", "daemonjob-ignore");
    let it = trial.shows("daemonjob-ignore", "3 desired, 3 succeeded, 1 skipped");
    assert_eq!(it["spec"]["ingoreSelector"], json!({"ingress": true}));
    assert_eq!(nodes(&trial, "daemonjob-ignore"), ["linux-1", "linux-2", "plain"]);
}

#[test]
fn seed_5_e10_both_selectors_are_refused_and_the_message_names_both() {
    let trial = Trial::begin();
    let said = trial.rejects(&example("05-both.yaml"));
    let sentence = "`spec.selector` and `spec.ingoreSelector` are mutually exclusive: remove one";
    assert!(said.contains(sentence), "{said}");
    assert_eq!(items(&trial.json("get dj")).len(), 0, "nothing is stored");
}
