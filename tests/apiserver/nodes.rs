//! Nodes that come, go and change. Each test has nodes of its own, by the label `test`.

use daemonjob_cluster::Node;
use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{at_hand, daemon_job, hanging, on, with};
use crate::support::trial::{condition, text, told};
use crate::support::watch::{Watch, assert_one_at_a_time};

#[test]
fn e01_a_cordoned_node_waits_and_runs_when_it_is_uncordoned() {
    let trial = Trial::begin();
    trial.add_nodes(&[Node::new("e01").label("test", "e01").cordoned()]);
    trial.accepts(&on(daemon_job("it"), "e01"));
    let it = trial.shows("it", "1 desired, 1 waiting");
    assert_eq!(it["status"]["waitingNodes"][0]["reason"], "Cordoned");
    assert_eq!(it["status"]["summary"], "0/1 done, 1 waiting (Cordoned)");
    assert!(trial.jobs("it").is_empty());
    trial.cluster.uncordon("e01").unwrap();
    trial.wait_for("Complete", "it");
}

#[test]
fn e02_a_node_cordoned_after_its_start_keeps_what_it_has() {
    let trial = Trial::begin();
    trial.add_node("e02", "e02");
    trial.accepts(&on(hanging("running"), "e02"));
    trial.accepts(&on(daemon_job("done"), "e02"));
    trial.shows("running", "1 desired, 1 active");
    trial.shows("done", "1 desired, 1 succeeded");
    let before = (trial.jobs("running"), trial.jobs("done"));
    trial.cluster.cordon("e02").unwrap();
    trial.cluster.taint("e02", "team=other:NoSchedule").unwrap();
    trial.replans("running", "1 desired, 1 active");
    trial.replans("done", "1 desired, 1 succeeded");
    assert_eq!((trial.jobs("running"), trial.jobs("done")), before);
}

#[test]
fn e05_a_node_whose_taint_goes_runs_then() {
    let trial = Trial::begin();
    let node = Node::new("e05").label("test", "e05").taint("team=other:NoSchedule");
    trial.add_nodes(&[node]);
    trial.accepts(&on(daemon_job("it"), "e05"));
    let it = trial.shows("it", "1 skipped");
    let reconciling = it["status"]["conditions"].as_array().unwrap();
    assert!(
        reconciling
            .iter()
            .all(|condition| condition["reason"] == "AllNodesSkipped"),
        "{reconciling:?}"
    );
    assert!(!trial.event("AllNodesSkipped").is_empty());
    trial.cluster.untaint("e05", "team").unwrap();
    trial.wait_for("Complete", "it");
}

#[test]
fn e06_the_job_of_a_deleted_node_is_deleted_and_the_node_is_no_longer_desired() {
    let trial = Trial::begin();
    trial.add_node("e06-stays", "e06");
    trial.add_node("e06-goes", "e06");
    trial.accepts(&on(hanging("it"), "e06"));
    trial.shows("it", "2 desired, 2 active");
    trial.cluster.remove_node("e06-goes").unwrap();
    trial.shows("it", "1 desired, 1 active");
    trial.eventually("the Job to be deleted", || {
        // Its Pod waits for the garbage collection of Pods; the Job waits for its Pod.
        let job = trial.jobs("it").remove("e06-goes");
        Ok(job.is_none_or(|job| job.is_deleted).then_some(()))
    });
    assert!(!trial.jobs("it")["e06-stays"].is_deleted);
    let told = trial.event("NodeGone");
    assert!(told[0].contains("e06-goes"), "its outcome is unknown: {told:?}");
}

#[test]
fn e07_f21_a_node_made_again_under_its_name_is_a_new_node() {
    let trial = Trial::begin();
    trial.add_node("e07", "e07");
    trial.accepts(&on(daemon_job("it"), "e07"));
    trial.wait_for("Complete", "it");
    let before = trial.jobs("it").remove("e07").unwrap();
    trial.cluster.remove_node("e07").unwrap();
    trial.add_node("e07", "e07");
    let after = trial.eventually("a Job of the new node", || {
        Ok(trial.jobs("it").remove("e07").filter(|job| job.uid != before.uid))
    });
    assert_eq!(after.name, before.name, "the name depends on the names alone");
    trial.shows("it", "1 desired, 1 succeeded");
}

#[test]
fn e09_a_deselected_node_loses_its_running_job_and_runs_again_when_selected_again() {
    let trial = Trial::begin();
    trial.add_node("e09-a", "e09");
    trial.accepts(&on(hanging("it"), "e09"));
    trial.shows("it", "1 desired, 1 active");
    trial.cluster.unlabel("e09-a", "test").unwrap();
    let it = trial.shows("it", "nothing");
    assert_eq!(it["status"]["summary"], "no node selected");
    trial.eventually("the Job to be gone", || Ok(trial.jobs("it").is_empty().then_some(())));
    trial.cluster.label("e09-a", "test=e09").unwrap();
    trial.shows("it", "1 desired, 1 active");
}

#[test]
fn e09_a_deselected_node_keeps_its_finished_job_and_does_not_run_again() {
    let trial = Trial::begin();
    trial.add_node("e09-b", "e09-done");
    trial.accepts(&on(daemon_job("it"), "e09-done"));
    trial.shows("it", "1 desired, 1 succeeded");
    let before = trial.jobs("it");
    trial.cluster.unlabel("e09-b", "test").unwrap();
    trial.shows("it", "nothing");
    trial.cluster.label("e09-b", "test=e09-done").unwrap();
    trial.shows("it", "1 desired, 1 succeeded");
    assert_eq!(trial.jobs("it"), before);
}

#[test]
fn e26_a_node_that_joins_after_a_change_gets_the_current_template() {
    let trial = Trial::begin();
    trial.add_node("e26-old", "e26");
    trial.accepts(&on(daemon_job("it"), "e26"));
    trial.shows("it", "1 desired, 1 succeeded");
    trial.accepts(&on(crate::support::manifest::changed(daemon_job("it")), "e26"));
    trial.shows("it", "1 desired, 1 succeeded, 1 outdated");
    trial.add_node("e26-new", "e26");
    let it = trial.shows("it", "2 desired, 2 succeeded, 1 outdated");
    let jobs = trial.jobs("it");
    assert_eq!(json!(jobs["e26-new"].hash), it["status"]["templateHash"]);
    assert_ne!(jobs["e26-old"].hash, text(&it["status"]["templateHash"]));
}

#[test]
fn e08_a_node_that_boots_again_does_not_run_again() {
    let trial = Trial::begin();
    trial.add_node("e08", "e08");
    trial.accepts(&on(hanging("running"), "e08"));
    trial.accepts(&on(daemon_job("done"), "e08"));
    trial.shows("running", "1 desired, 1 active");
    trial.shows("done", "1 desired, 1 succeeded");
    let before = (trial.jobs("running"), trial.jobs("done"));
    for (status, boot) in [("False", "first"), ("True", "second")] {
        let conditions = json!([{"type": "Ready", "status": status}]);
        let patch = json!({"status": {"nodeInfo": {"bootID": boot}, "conditions": conditions}});
        trial.run(&format!("patch node e08 --subresource=status --type=merge -p {patch}"));
    }
    let booted = trial.run("get node e08 -o jsonpath={.status.nodeInfo.bootID}");
    assert_eq!(booted, "second");
    trial.replans("running", "1 desired, 1 active");
    trial.replans("done", "1 desired, 1 succeeded");
    assert_eq!((trial.jobs("running"), trial.jobs("done")), before);
}

#[test]
fn e09_a_label_that_only_the_template_asks_for_stops_nothing_when_it_goes() {
    let trial = Trial::begin();
    trial.add_nodes(&[Node::new("e09-c").label("test", "e09-own").label("disk", "ssd")]);
    let asks = |it| on(with(it, "nodeSelector", json!({"disk": "ssd"})), "e09-own");
    trial.accepts(&asks(hanging("running")));
    trial.accepts(&asks(daemon_job("done")));
    trial.shows("running", "1 desired, 1 active");
    trial.shows("done", "1 desired, 1 succeeded");
    let before = (trial.jobs("running"), trial.jobs("done"));
    trial.cluster.unlabel("e09-c", "disk").unwrap();
    trial.accepts(&asks(daemon_job("later")));
    trial.shows("later", "1 skipped");
    trial.replans("running", "1 desired, 1 active");
    trial.replans("done", "1 desired, 1 succeeded");
    assert_eq!((trial.jobs("running"), trial.jobs("done")), before);
}

#[test]
fn f20_a_label_that_flaps_never_makes_two_jobs_and_leaves_finished_work_alone() {
    let trial = Trial::begin();
    trial.add_node("f20", "f20");
    trial.accepts(&on(hanging("it"), "f20"));
    trial.accepts(&on(daemon_job("done"), "f20"));
    trial.shows("it", "1 desired, 1 active");
    trial.shows("done", "1 desired, 1 succeeded");
    let finished = trial.jobs("done");
    let jobs = Watch::start(&trial, "jobs -l daemon.justk8s.com/daemonjob=it", 1);
    for _ in 0..10 {
        trial.cluster.unlabel("f20", "test").unwrap();
        trial.cluster.label("f20", "test=f20").unwrap();
    }
    trial.replans("done", "1 desired, 1 succeeded");
    assert_eq!(trial.jobs("done"), finished);
    let last = trial.eventually("a Job that stays", || {
        Ok(trial.jobs("it").remove("f20").filter(|job| !job.is_deleted))
    });
    trial.replans("it", "1 desired, 1 active");
    assert_eq!(trial.jobs("it")["f20"], last);
    assert_one_at_a_time(&jobs.stop_after(&trial, "ADDED", 1), |_| false);
}

/// The API server's clock, in whole seconds as it writes them.
fn clock(trial: &Trial) -> String {
    text(&trial.json("create configmap clock --dry-run=server")["metadata"]["creationTimestamp"])
}

fn assert_completed(it: &Value) {
    for type_ in ["Complete", "Ready"] {
        assert_eq!(told(it, type_), format!("{type_}=True (AllSucceeded)"));
    }
}

#[test]
fn e47_late_nodes_run_hold_nothing_up_and_count_only_by_failing() {
    let trial = Trial::begin();
    trial.add_node("e47-first", "e47");
    trial.accepts(&on(at_hand("it"), "e47"));
    let begun = text(&trial.shows("it", "1 desired, 1 active")["status"]["startTime"]);
    trial.eventually("the second of the beginning to be over", || {
        Ok((clock(&trial) > begun).then_some(()))
    });
    trial.add_node("e47-during", "e47");
    trial.shows("it", "2 desired, 2 active");
    trial.end_pod("it", "e47-first", "Succeeded");
    let it = trial.shows("it", "2 desired, 1 active, 1 succeeded");
    assert_completed(&it);
    let since = condition(&it, "Complete")["lastTransitionTime"].clone();

    trial.add_node("e47-after", "e47");
    assert_completed(&trial.shows("it", "3 desired, 2 active, 1 succeeded"));
    trial.end_pod("it", "e47-during", "Succeeded");
    let it = trial.shows("it", "3 desired, 1 active, 2 succeeded");
    assert_completed(&it);
    assert_eq!(condition(&it, "Complete")["lastTransitionTime"], since, "it stayed");

    trial.end_pod("it", "e47-after", "Failed");
    let it = trial.shows("it", "3 desired, 2 succeeded, 1 failed");
    for (type_, expected) in [
        ("Stalled", "Stalled=True (NodesFailed)"),
        ("Failed", "Failed=True (NodesFailed)"),
        ("Complete", "Complete=False (NodesFailed)"),
        ("Ready", "Ready=False (NodesFailed)"),
    ] {
        assert_eq!(told(&it, type_), expected);
    }
    assert_eq!(it["status"]["failures"][0]["node"], "e47-after");
}
