//! That the chart grants what the process uses, and nothing else, as the audit log of a full run has it.

use std::collections::BTreeSet;

use daemonjob_cluster::AuditLog;
use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{changed, daemon_job, hanging, on, replacing};
use crate::support::rules::Kind;
use crate::support::trial::{HASH, text};
use crate::support::world::SYSTEM;

/// The API server asks whether the writer of an ownerReference that blocks the owner's deletion may do this;
/// nobody ever does it.
const FOR_OWNER_REFERENCES: &str = "update daemonjobs/finalizers";

/// In the words of RBAC: `patch daemonjobs/status`.
fn granted(trial: &Trial) -> BTreeSet<String> {
    let roles = [
        "clusterrole daemonjob".to_owned(),
        format!("role daemonjob -n {SYSTEM}"),
    ];
    let mut granted = BTreeSet::new();
    for role in roles {
        let line = format!("get {role} -o json");
        let role: Value = trial.cluster.json(line.split(' ')).expect("the chart made it");
        for rule in role["rules"].as_array().expect("it has rules") {
            let list = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
            for (verb, resource) in list("verbs").iter().flat_map(|verb| {
                let resources = list("resources");
                resources.into_iter().map(move |resource| (verb.clone(), resource))
            }) {
                granted.insert(format!("{} {}", text(&verb), text(&resource)));
            }
        }
    }
    granted
}

fn used(log: &mut AuditLog, so_far: &mut BTreeSet<String>) {
    let calls = log.news().expect("there is an audit log");
    so_far.extend(calls.iter().map(|call| Kind(call).to_string()));
}

/// Brings the process to use its rights one by one; those of its start it has used.
fn full_run(trial: &Trial) {
    trial.add_node("stays", "rights");
    trial.add_node("goes", "rights");
    trial.accepts(&on(daemon_job("it"), "rights"));
    trial.shows("it", "2 desired, 2 succeeded");
    let foreign = trial.jobs("it")["stays"].name.clone();
    // Twice, for an Event that is told again.
    for turn in [changed(daemon_job("it")), daemon_job("it")] {
        trial.accepts(&replacing(on(turn, "rights")));
        trial.shows("it", "2 desired, 2 succeeded");
    }

    trial.accepts(&on(hanging("node-goes"), "rights"));
    trial.shows("node-goes", "2 desired, 2 active");
    trial.cluster.remove_node("goes").expect("it was there");
    trial.shows("node-goes", "1 desired, 1 active");

    trial.run("delete dj it --cascade=foreground --timeout=60s");
    trial.accepts(&json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": foreign},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}},
    }));
    trial.accepts(&on(daemon_job("it"), "rights"));
    trial.wait_for("Stalled", "it");

    trial.run("create quota no-pods --hard=pods=0");
    trial.accepts(&on(daemon_job("no-pods"), "rights"));
    trial.wait_for("Stalled", "no-pods");

    let line = format!("delete secret daemonjob-webhook-ca -n {SYSTEM}");
    trial.cluster.run(line.split(' ')).expect("it was there");
    trial.remove_webhook();
    trial.run(&format!("annotate dj it {HASH}-"));
}

#[test]
fn o4_the_rights_of_the_chart_are_those_that_are_used() {
    let trial = Trial::begin();
    let mut log = trial.cluster.audit_log();
    let mut granted = granted(&trial);
    assert!(granted.remove(FOR_OWNER_REFERENCES));
    let mut seen = BTreeSet::new();
    full_run(&trial);
    trial.eventually("all rights to be used", || {
        used(&mut log, &mut seen);
        let idle: Vec<&String> = granted.difference(&seen).collect();
        anyhow::ensure!(idle.is_empty(), "not used: {idle:?}");
        Ok(Some(()))
    });
    assert_eq!(seen, granted);
}
