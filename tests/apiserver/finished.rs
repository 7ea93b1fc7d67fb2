//! What is finished stays finished, what failed is told, and what cannot start says why.

use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{daemon_job, failing, hanging};
use crate::support::trial::{condition, items, text, told};

const DONE: &str = "4 desired, 4 succeeded, 1 skipped";

#[test]
fn e18_f23_an_unfinished_job_deleted_by_hand_is_made_again() {
    let trial = Trial::begin();
    trial.accepts(&hanging("it"));
    trial.shows("it", "4 desired, 4 active, 1 skipped");
    let before = trial.jobs("it");
    trial.run(&format!("delete job {} --timeout=30s", before["plain"].name));
    let after = trial.eventually("the Job to be made again", || Ok(trial.jobs("it").remove("plain")));
    assert_ne!(after.uid, before["plain"].uid);
    trial.shows("it", "4 desired, 4 active, 1 skipped");
    let others = trial.jobs("it");
    assert!(
        others.iter().all(|(node, job)| node == "plain" || *job == before[node]),
        "the others go on"
    );
}

#[test]
fn e18_f23_a_finished_job_deleted_by_hand_is_not_made_again() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    trial.wait_for("Complete", "it");
    let jobs = trial.jobs("it");
    trial.run(&format!("delete job {} --timeout=30s", jobs["plain"].name));
    trial.replans("it", DONE);
    assert_eq!(trial.jobs("it").len(), 3, "the record stands for the fourth");
}

#[test]
fn e18_f23_a_job_deleted_the_moment_it_finishes_is_not_made_again() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    let name = trial.eventually("a Job", || {
        let jobs = trial.json("get jobs");
        Ok(items(&jobs).first().map(|job| text(&job["metadata"]["name"])))
    });
    // The status that tells of it may be a second away.
    trial.run(&format!("wait job/{name} --for=condition=Complete --timeout=60s"));
    trial.run(&format!("delete job {name} --timeout=30s"));
    trial.wait_for("Complete", "it");
    trial.replans("it", DONE);
    assert_eq!(trial.jobs("it").len(), 3, "the record stands for the fourth");
}

fn with_ttl(seconds: u32) -> Value {
    let mut it = daemon_job("it");
    it["spec"]["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] = json!(seconds);
    it
}

fn assert_the_record_stays_when_the_jobs_are_gone(trial: &Trial) {
    trial.wait_for("Complete", "it");
    trial.eventually("the Jobs to be deleted", || {
        Ok(items(&trial.json("get jobs")).is_empty().then_some(()))
    });
    let it = trial.replans("it", DONE);
    assert_eq!(told(&it, "Complete"), "Complete=True (AllSucceeded)");
    assert!(items(&trial.json("get jobs")).is_empty(), "nothing runs again");
}

#[test]
fn e20_jobs_are_deleted_when_their_time_is_over_and_nothing_runs_again() {
    let trial = Trial::begin();
    trial.accepts(&with_ttl(1));
    assert_the_record_stays_when_the_jobs_are_gone(&trial);
}

#[test]
fn e21_a_time_to_live_of_zero_deletes_after_the_record_and_nothing_runs_again() {
    let trial = Trial::begin();
    trial.accepts(&with_ttl(0));
    assert_the_record_stays_when_the_jobs_are_gone(&trial);
}

#[test]
fn e40_failed_jobs_are_final_stall_it_and_are_named() {
    let trial = Trial::begin();
    trial.accepts(&failing("it"));
    trial.wait_for("Stalled", "it");
    let it = trial.shows("it", "4 desired, 4 failed, 1 skipped");
    for (type_, expected) in [
        ("Stalled", "Stalled=True (NodesFailed)"),
        ("Failed", "Failed=True (NodesFailed)"),
        ("Finished", "Finished=True (NodesFailed)"),
        ("Complete", "Complete=False (NodesFailed)"),
        ("Ready", "Ready=False (NodesFailed)"),
        ("Reconciling", "none"),
    ] {
        assert_eq!(told(&it, type_), expected);
    }
    let failures = it["status"]["failures"].as_array().unwrap();
    let nodes: Vec<&str> = failures.iter().filter_map(|failure| failure["node"].as_str()).collect();
    assert_eq!(nodes, ["edge", "linux-1", "linux-2", "plain"]);
    assert!(
        failures
            .iter()
            .all(|failure| failure["reason"] == "BackoffLimitExceeded"),
        "{failures:?}"
    );
    assert!(!trial.event("JobFailed").is_empty());

    let before = trial.jobs("it");
    trial.replans("it", "4 desired, 4 failed, 1 skipped");
    assert_eq!(trial.jobs("it"), before, "nothing is tried again");
}

#[test]
fn e17_f25_a_foreign_job_on_the_name_is_left_alone_until_somebody_frees_it() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    trial.wait_for("Complete", "it");
    let name = trial.jobs("it")["plain"].name.clone();
    trial.run("delete dj it --cascade=foreground --timeout=30s");
    let foreign = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"labels": {"outcome": "hang"}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
        }},
    });
    trial.accepts(&foreign);
    let uid = text(&trial.json(&format!("get job {name}"))["metadata"]["uid"]);

    trial.accepts(&daemon_job("it"));
    let it = trial.shows("it", "4 desired, 3 succeeded, 1 waiting, 1 skipped");
    assert_eq!(told(&it, "Stalled"), "Stalled=True (NameConflict)");
    let line = format!("kubectl delete job {name} -n {}", trial.namespace);
    let group = &it["status"]["waitingNodes"][0];
    assert_eq!(
        (&group["reason"], &group["nodes"]),
        (&json!("NameConflict"), &json!(["plain"]))
    );
    assert!(text(&group["message"]).contains(&line), "{group}");
    assert_eq!(
        text(&trial.json(&format!("get job {name}"))["metadata"]["uid"]),
        uid,
        "untouched"
    );

    trial.run(&format!("delete job {name} --timeout=30s"));
    trial.wait_for("Complete", "it");
    trial.shows("it", DONE);
}

#[test]
fn e34_a_quota_stalls_with_the_servers_words_and_the_rest_runs_when_it_is_raised() {
    let trial = Trial::begin();
    trial.run("create quota few --hard=count/jobs.batch=2");
    trial.eventually("the quota to be counted", || {
        Ok((!trial.json("get quota few")["status"]["hard"].is_null()).then_some(()))
    });
    trial.accepts(&daemon_job("it"));
    let it = trial.shows("it", "4 desired, 2 succeeded, 2 waiting, 1 skipped");
    assert_eq!(told(&it, "Stalled"), "Stalled=True (QuotaExceeded)");
    assert!(
        text(&condition(&it, "Stalled")["message"]).contains("exceeded quota: few"),
        "{it}"
    );
    assert_eq!(it["status"]["waitingNodes"][0]["reason"], "QuotaExceeded");

    trial.run(r#"patch quota few --type=merge -p {"spec":{"hard":{"count/jobs.batch":"9"}}}"#);
    trial.wait_for("Complete", "it");
    let it = trial.shows("it", DONE);
    assert_eq!(told(&it, "Stalled"), "none");
}
