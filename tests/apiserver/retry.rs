//! Running again without a change: the retry annotation (E45).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::Trial;
use crate::support::manifest::{at_hand, on};
use crate::support::trial::{Job, told};

fn retry(trial: &Trial, request: &str) {
    let annotation = format!("daemon.justk8s.com/retry={request}");
    let args = ["annotate", "dj", "it", "--overwrite", &annotation];
    let args = args.into_iter().chain(["--namespace", &trial.namespace]);
    trial.cluster.run(args).expect("the annotation is allowed");
}

/// The retry that the status remembers.
fn remembered(trial: &Trial) -> Value {
    trial.daemon_job("it")["status"]["retry"].take()
}

/// Which nodes have another Job than before.
fn renewed(trial: &Trial, before: &BTreeMap<String, Job>) -> Vec<String> {
    let now = trial.jobs("it").into_iter();
    let new = now.filter(|(node, job)| job.uid != before[node].uid);
    new.map(|(node, _)| node).collect()
}

#[test]
fn e45_the_failed_nodes_run_once_more_for_each_new_token() {
    let trial = Trial::begin();
    trial.add_node("e45-bad", "e45");
    trial.add_node("e45-good", "e45");
    trial.accepts(&on(at_hand("it"), "e45"));
    trial.shows("it", "2 desired, 2 active");
    trial.end_pod("it", "e45-bad", "Failed");
    trial.end_pod("it", "e45-good", "Succeeded");
    trial.wait_for("Stalled", "it");
    let first = trial.jobs("it");

    retry(&trial, "monday");
    let it = trial.shows("it", "2 desired, 1 active, 1 succeeded");
    assert_eq!(told(&it, "Stalled"), "none");
    assert_eq!(told(&it, "Finished"), "Finished=False (Running)");
    assert_eq!(renewed(&trial, &first), ["e45-bad"]);
    let second = trial.jobs("it");
    trial.end_pod("it", "e45-bad", "Failed");
    let it = trial.shows("it", "2 desired, 1 succeeded, 1 failed");
    assert_eq!(told(&it, "Stalled"), "Stalled=True (NodesFailed)");

    retry(&trial, "monday e45-bad,e45-good");
    trial.replans("it", "2 desired, 1 succeeded, 1 failed");
    assert_eq!(
        trial.jobs("it"),
        second,
        "a token is handled once, whatever nodes follow it"
    );

    retry(&trial, "tuesday");
    trial.shows("it", "2 desired, 1 active, 1 succeeded");
    assert_eq!(renewed(&trial, &second), ["e45-bad"]);
    trial.end_pod("it", "e45-bad", "Succeeded");
    trial.wait_for("Complete", "it");
    assert_eq!(
        remembered(&trial),
        serde_json::json!({"token": "tuesday"}),
        "nothing is pending"
    );
}

#[test]
fn e45_named_nodes_run_again_whatever_they_are_at_and_unknown_names_are_told() {
    let trial = Trial::begin();
    for node in ["e45-busy", "e45-done", "e45-other"] {
        trial.add_node(node, "e45-named");
    }
    trial.accepts(&on(at_hand("it"), "e45-named"));
    trial.shows("it", "3 desired, 3 active");
    trial.end_pod("it", "e45-done", "Succeeded");
    trial.end_pod("it", "e45-other", "Succeeded");
    trial.shows("it", "3 desired, 1 active, 2 succeeded");
    let before = trial.jobs("it");

    retry(&trial, "again e45-busy,e45-done,ghost");
    let told = trial.event("RetryUnknownNodes");
    assert!(told[0].contains("ghost") && !told[0].contains("e45"), "{told:?}");
    let types = trial.run("get events --field-selector=reason=RetryUnknownNodes -o jsonpath={.items[*].type}");
    assert_eq!(types, "Warning");
    let it = trial.shows("it", "3 desired, 2 active, 1 succeeded");
    assert_eq!(it["spec"]["replace"], false, "it is not needed for this");
    assert_eq!(renewed(&trial, &before), ["e45-busy", "e45-done"]);

    trial.end_pod("it", "e45-busy", "Succeeded");
    trial.end_pod("it", "e45-done", "Succeeded");
    trial.wait_for("Complete", "it");
    let after = trial.jobs("it");
    trial.replans("it", "3 desired, 3 succeeded");
    assert_eq!(trial.jobs("it"), after);
}
