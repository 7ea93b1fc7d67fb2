//! Who may act: two processes at once, none at all, and the stop button of a restore.

use std::collections::BTreeMap;
use std::time::Duration;

use daemonjob_cluster::Node;
use serde_json::{Value, json};

use crate::support::manifest::{changed, daemon_job, expiring, on, replacing};
use crate::support::trial::{HASH, text};
use crate::support::watch::{Event, Watch, assert_one_at_a_time, has_ended};
use crate::support::{DEADLINE, Trial};

const MANY: usize = 30;
const CREATES: &str = r#"daemonjob_job_writes_total{verb="create""#;

fn added_by_node(events: &[Event]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event.type_ == "ADDED") {
        let node = text(&event.object["metadata"]["labels"]["daemon.justk8s.com/node"]);
        *counts.entry(node).or_default() += 1;
    }
    counts
}

#[test]
fn e24_e25_f26_two_processes_that_both_lead_start_each_job_once() {
    let trial = Trial::begin();
    let nodes: Vec<Node> = (0..MANY)
        .map(|n| Node::new(&format!("e25-{n}")).label("test", "e25"))
        .collect();
    trial.add_nodes(&nodes);
    let rival = trial.spawn_rival();
    rival.wait_leading(DEADLINE).unwrap();
    let creates = || {
        let first = trial.operator();
        let first = first.as_ref().unwrap();
        first.wait_leading(DEADLINE).expect("it leads as well");
        (first.metric(CREATES).unwrap(), rival.metric(CREATES).unwrap())
    };
    let before = creates();
    let (jobs, pods) = (Watch::start(&trial, "jobs", 0), Watch::start(&trial, "pods", 0));

    let all_done = format!("{MANY} desired, {MANY} succeeded");
    trial.accepts(&on(daemon_job("it"), "e25"));
    trial.wait_for("Complete", "it");
    trial.shows("it", &all_done);
    trial.accepts(&replacing(on(expiring(changed(daemon_job("it")), 1), "e25")));
    trial.shows("it", &all_done);
    let jobs = jobs.stop_after(&trial, "DELETED", 2 * MANY);
    trial.replans("it", &all_done);
    assert!(trial.jobs("it").is_empty(), "their time was over");

    let after = creates();
    assert!(
        after.0 > before.0 && after.1 > before.1,
        "both tried: {before:?} {after:?}"
    );
    let added = added_by_node(&jobs);
    assert!(
        added.len() == MANY && added.values().all(|count| *count == 2),
        "{added:?}"
    );
    assert_one_at_a_time(&jobs, |_| false);
    let pods = pods.stop_after(&trial, "DELETED", 2 * MANY);
    assert_eq!(added_by_node(&pods), added);
    assert_one_at_a_time(&pods, has_ended);
}

/// What the README keeps with a backup.
fn record_of(daemon_job: &Value) -> Value {
    let status = &daemon_job["status"];
    json!({"status": {"finishedNodes": status["finishedNodes"], "retry": status["retry"]}})
}

#[test]
fn e50_nothing_starts_without_the_controller_and_a_record_put_back_keeps_finished_work() {
    let trial = Trial::begin();
    trial.add_node("e50-a", "e50");
    trial.add_node("e50-b", "e50");
    trial.accepts(&on(daemon_job("it"), "e50"));
    trial.wait_for("Complete", "it");
    let record = record_of(&trial.shows("it", "2 desired, 2 succeeded"));
    trial.take_operator().terminate();
    trial.run("delete dj it --cascade=foreground --timeout=60s");

    let mut stopped = trial.spawn_without_controller();
    stopped.wait_ready().unwrap();
    trial.accepts(&on(daemon_job("it"), "e50"));
    trial.accepts(&on(daemon_job("new"), "e50"));
    let it = trial.daemon_job("it");
    assert_eq!(text(&it["metadata"]["annotations"][HASH]).len(), 64);
    assert_eq!(it["spec"]["replace"], false);
    let file = trial.cluster.folder().join("record.json");
    std::fs::write(&file, record.to_string()).unwrap();
    trial.run(&format!(
        "patch dj it --subresource=status --type=merge --patch-file {}",
        file.display()
    ));
    assert_eq!(it["status"], json!({"observedGeneration": -1}), "nobody planned it");
    assert!(stopped.wait_leading(Duration::ZERO).is_err());
    assert!(trial.jobs("new").is_empty() && trial.jobs("it").is_empty());

    assert!(stopped.terminate().success());
    trial.restart();
    trial.wait_ready();
    trial.wait_for("Complete", "new");
    trial.wait_for("Complete", "it");
    trial.replans("it", "2 desired, 2 succeeded");
    assert!(trial.jobs("it").is_empty(), "it had finished before the backup");
    assert_eq!(trial.jobs("new").len(), 2);
}
