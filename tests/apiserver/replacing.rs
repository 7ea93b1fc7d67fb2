//! A changed template: what counts as one, and which nodes run again.

use daemonjob_cluster::Node;
use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{changed, daemon_job, expiring, on};
use crate::support::trial::{HASH, text};
use crate::support::watch::{Watch, assert_one_at_a_time};

#[test]
fn e27_e28_f19_flipping_replace_runs_each_outdated_node_once_and_no_other() {
    let trial = Trial::begin();
    trial.add_node("e28-a", "e28");
    trial.add_node("e28-b", "e28");
    trial.accepts(&on(daemon_job("it"), "e28"));
    trial.wait_for("Complete", "it");
    trial.accepts(&on(changed(daemon_job("it")), "e28"));
    trial.shows("it", "2 desired, 2 succeeded, 2 outdated");
    trial.add_node("e28-new", "e28");
    trial.shows("it", "3 desired, 3 succeeded, 2 outdated");
    let before = trial.jobs("it");

    let jobs = Watch::start(&trial, "jobs", 3);
    trial.replans("it", "3 desired, 3 succeeded");
    let after = trial.jobs("it");
    assert_eq!(after["e28-new"], before["e28-new"], "it had the current template");
    let hash = &before["e28-new"].hash;
    assert!(after.values().all(|job| job.hash == *hash), "{after:?}");
    // What was there when the watch began counts as added.
    trial.add_node("e28-last", "e28");
    let events = jobs.stop_after(&trial, "ADDED", 3 + 2 + 1);
    let deleted = events.iter().filter(|event| event.type_ == "DELETED").count();
    assert_eq!(deleted, 2, "once each");
    assert_one_at_a_time(&events, |_| false);
}

fn hash(it: &Value) -> String {
    text(&it["metadata"]["annotations"][HASH])
}

#[test]
fn e31_all_of_the_template_counts_and_nothing_else_does() {
    let trial = Trial::begin();
    trial.add_nodes(&[
        Node::new("e31-a").label("test", "e31").label("tier", "one"),
        Node::new("e31-b").label("test", "e31"),
    ]);
    let mut it = on(daemon_job("it"), "e31");
    it["spec"]["selector"]["tier"] = json!("one");
    trial.accepts(&it);
    let first = trial.shows("it", "1 desired, 1 succeeded");
    let before = trial.jobs("it");

    it["metadata"]["labels"] = json!({"team": "ours"});
    it["metadata"]["annotations"] = json!({"note": "of the DaemonJob"});
    it["spec"]["replace"] = json!(true);
    it["spec"]["selector"] = json!({"test": "e31"});
    trial.accepts(&it);
    let wider = trial.shows("it", "2 desired, 2 succeeded");
    assert_eq!(hash(&wider), hash(&first));
    assert_eq!(trial.jobs("it")["e31-a"], before["e31-a"]);

    it["spec"]["replace"] = json!(false);
    let mut hashes = vec![hash(&first)];
    let mut changes = |it: &Value| {
        trial.accepts(it);
        let shown = trial.shows("it", "2 desired, 2 succeeded, 2 outdated");
        assert!(!hashes.contains(&hash(&shown)), "a new one: {hashes:?}");
        hashes.push(hash(&shown));
    };
    it["spec"]["jobTemplate"]["metadata"] = json!({"labels": {"release": "two"}});
    changes(&it);
    it["spec"]["jobTemplate"]["metadata"]["annotations"] = json!({"release": "two"});
    changes(&it);
    changes(&expiring(it, 3600));
    assert_eq!(trial.jobs("it")["e31-a"], before["e31-a"], "nothing ran again");
}
