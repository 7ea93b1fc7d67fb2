//! May a Job start on a node? What the template excludes is skipped, what cannot take work now waits.

use std::collections::BTreeMap;

use daemonjob_cluster::Node;
use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{daemon_job, on, with};
use crate::support::trial::{text, told};

/// Names of nodes by the reason of their group.
fn by_reason(groups: &Value) -> BTreeMap<String, Value> {
    let groups = groups.as_array().map(Vec::as_slice).unwrap_or_default();
    groups
        .iter()
        .map(|group| (text(&group["reason"]), group["nodes"].clone()))
        .collect()
}

/// What the kubelet of a lifeless node would say of it.
fn report_ready(trial: &Trial, node: &str, status: &str) {
    let conditions = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    trial.run(&format!(
        "patch node {node} --subresource=status --type=merge -p {conditions}"
    ));
}

fn wait_for_taint(trial: &Trial, node: &str, key: &str) {
    trial.eventually(&format!("the taint {key}"), || {
        let keys = trial.run(&format!("get node {node} -o jsonpath={{.spec.taints[*].key}}"));
        Ok(keys.split(' ').any(|found| found == key).then_some(()))
    });
}

/// Carries the one Pod of a DaemonJob to its end, on a node that nobody plays.
fn work(trial: &Trial, daemon_job: &str, node: &str) {
    let bound =
        format!("get pods -l daemon.justk8s.com/daemonjob={daemon_job} --field-selector=spec.nodeName={node} -o name");
    let pod = trial.eventually("the Pod to be scheduled", || {
        Ok(trial.run(&bound).split_whitespace().next().map(str::to_owned))
    });
    trial.run(&format!(
        r#"patch {pod} --subresource=status --type=merge -p {{"status":{{"phase":"Running"}}}}"#
    ));
    trial.end_pod(daemon_job, node, "Succeeded");
}

#[test]
fn e04_a_node_that_is_not_ready_waits_and_runs_when_it_is() {
    let trial = Trial::begin();
    trial.add_nodes(&[Node::new("e04").label("test", "e04").lifeless()]);
    trial.accepts(&on(daemon_job("it"), "e04"));
    let it = trial.shows("it", "1 desired, 1 waiting");
    assert_eq!(it["status"]["waitingNodes"][0]["reason"], "NotReady");
    assert_eq!(told(&it, "Reconciling"), "Reconciling=True (Waiting)");
    assert!(trial.jobs("it").is_empty());

    report_ready(&trial, "e04", "True");
    trial.shows("it", "1 desired, 1 active");
    work(&trial, "it", "e04");
    trial.wait_for("Complete", "it");
}

#[test]
fn e03_e04_a_node_that_is_lost_keeps_the_job_that_it_has_and_starts_no_other() {
    let trial = Trial::begin();
    trial.add_nodes(&[Node::new("e03").label("test", "e03").lifeless()]);
    report_ready(&trial, "e03", "True");
    trial.accepts(&on(daemon_job("it"), "e03"));
    trial.shows("it", "1 desired, 1 active");
    let before = trial.jobs("it");

    report_ready(&trial, "e03", "Unknown");
    wait_for_taint(&trial, "e03", "node.kubernetes.io/unreachable");
    trial.accepts(&on(daemon_job("later"), "e03"));
    let later = trial.shows("later", "1 desired, 1 waiting");
    assert_eq!(later["status"]["waitingNodes"][0]["reason"], "Unreachable");
    trial.replans("it", "1 desired, 1 active");
    assert_eq!(trial.jobs("it"), before);

    report_ready(&trial, "e03", "True");
    trial.shows("later", "1 desired, 1 active");
    work(&trial, "it", "e03");
    trial.wait_for("Complete", "it");
    assert_eq!(trial.jobs("it"), before, "the Job that was there has done it");
}

#[test]
fn e05_a_policy_taint_that_evicts_skips_and_taints_that_pass_wait() {
    let trial = Trial::begin();
    let node = |name: &str, taint: &str| Node::new(name).label("test", "e05-more").taint(taint);
    trial.add_nodes(&[
        node("e05-agent", "cni.example.com/agent-not-ready:NoExecute"),
        node(
            "e05-cloud",
            "node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule",
        ),
        node("e05-policy", "team=other:NoExecute"),
    ]);
    trial.accepts(&on(daemon_job("it"), "e05-more"));
    let it = trial.shows("it", "2 desired, 2 waiting, 1 skipped");
    let skipped = by_reason(&it["status"]["skippedNodes"]);
    assert_eq!(skipped, [("UntoleratedTaint".to_owned(), json!(["e05-policy"]))].into());
    let waiting = it["status"]["waitingNodes"].as_array().unwrap();
    assert!(
        waiting.iter().all(|group| group["reason"] == "Initializing"),
        "{waiting:?}"
    );
    assert!(trial.jobs("it").is_empty());

    trial
        .cluster
        .untaint("e05-cloud", "node.cloudprovider.kubernetes.io/uninitialized")
        .unwrap();
    trial.shows("it", "2 desired, 1 succeeded, 1 waiting, 1 skipped");
    trial
        .cluster
        .untaint("e05-agent", "cni.example.com/agent-not-ready")
        .unwrap();
    trial.cluster.untaint("e05-policy", "team").unwrap();
    trial.shows("it", "3 desired, 3 succeeded");
}

#[test]
fn e11_a_selector_that_matches_nothing_is_complete_and_a_node_that_comes_later_runs() {
    let trial = Trial::begin();
    trial.accepts(&on(daemon_job("it"), "e11"));
    trial.wait_for("Complete", "it");
    let it = trial.shows("it", "nothing");
    assert_eq!(told(&it, "Ready"), "Ready=True (NoNodesSelected)");
    assert_eq!(told(&it, "Complete"), "Complete=True (NoNodesSelected)");
    assert_eq!(told(&it, "Reconciling"), "none");
    trial.add_node("e11", "e11");
    let it = trial.shows("it", "1 desired, 1 succeeded");
    assert_eq!(told(&it, "Complete"), "Complete=True (AllSucceeded)");
}

#[test]
fn e11_e12_virtual_nodes_are_skipped_and_where_all_are_skipped_nothing_is_ready() {
    let trial = Trial::begin();
    let taint = "virtual-kubelet.io/provider=cloud:NoSchedule";
    trial.add_nodes(&[Node::new("e12").label("test", "e12").taint(taint)]);
    trial.accepts(&on(daemon_job("it"), "e12"));
    let it = trial.shows("it", "1 skipped");
    for (type_, expected) in [
        ("Reconciling", "Reconciling=True (AllNodesSkipped)"),
        ("Ready", "Ready=False (AllNodesSkipped)"),
        ("Complete", "Complete=False (AllNodesSkipped)"),
        ("Finished", "Finished=False (AllNodesSkipped)"),
        ("Stalled", "none"),
    ] {
        assert_eq!(told(&it, type_), expected);
    }
    let told = trial.event("AllNodesSkipped");
    assert!(told[0].contains("taint virtual-kubelet.io/provider"), "{told:?}");
    let types = trial.run("get events --field-selector=reason=AllNodesSkipped -o jsonpath={.items[*].type}");
    assert_eq!(types, "Warning");
}

#[test]
fn e13_what_the_template_asks_of_a_node_filters_too() {
    let trial = Trial::begin();
    let node = |name: &str| Node::new(name).label("test", "e13");
    trial.add_nodes(&[
        node("e13-fits").label("disk", "ssd").label("zone", "a"),
        node("e13-disk").label("zone", "a"),
        node("e13-zone").label("disk", "ssd").label("zone", "b"),
        node("e13-os")
            .label("disk", "ssd")
            .label("zone", "a")
            .label("kubernetes.io/os", "windows"),
    ]);
    let in_zone = json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]});
    let affinity = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [in_zone]},
    }});
    let it = with(daemon_job("it"), "affinity", affinity);
    let it = with(it, "nodeSelector", json!({"disk": "ssd"}));
    trial.accepts(&on(with(it, "os", json!({"name": "linux"})), "e13"));
    let it = trial.shows("it", "1 desired, 1 succeeded, 3 skipped");
    let expected = [
        ("NodeAffinityMismatch".to_owned(), json!(["e13-zone"])),
        ("NodeSelectorMismatch".to_owned(), json!(["e13-disk"])),
        ("OsMismatch".to_owned(), json!(["e13-os"])),
    ];
    assert_eq!(by_reason(&it["status"]["skippedNodes"]), expected.into());
    assert!(trial.jobs("it").keys().eq(["e13-fits"]));
}
