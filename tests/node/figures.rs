//! How much memory the replicas take, as the kubelet tells it.

use daemonjob_cluster::{Node, is_soak};
use serde_json::{Value, json};

use crate::stage::{Act, NODE};
use crate::support::manifest::{daemon_job, with};
use crate::support::trial::show;
use crate::support::world::SYSTEM;

/// Half of what the chart allows.
const MOST: u64 = 128 << 20;

/// The working sets of the replicas, once the kubelet has measured both.
fn working_sets(act: &Act) -> Vec<u64> {
    act.eventually("the kubelet to have measured", || {
        let summary = format!("/api/v1/nodes/{NODE}/proxy/stats/summary");
        let text = act.cluster.run(["get", "--raw", &summary])?;
        let summary: Value = serde_json::from_str(&text)?;
        let pods = summary["pods"].as_array().cloned().unwrap_or_default();
        let replicas = act.replicas()?;
        let is_replica = |pod: &&Value| {
            let pod = &pod["podRef"];
            pod["namespace"] == SYSTEM && replicas.iter().any(|name| pod["name"] == **name)
        };
        let memory = |pod: &Value| pod["containers"][0]["memory"]["workingSetBytes"].as_u64();
        let sets: Vec<u64> = pods.iter().filter(is_replica).filter_map(memory).collect();
        Ok((sets.len() == 2).then_some(sets))
    })
}

fn tell(act: &Act, when: &str) {
    let sets = working_sets(act);
    let megabytes: Vec<String> = sets
        .iter()
        .map(|bytes| format!("{:.1} MB", *bytes as f64 / 1e6))
        .collect();
    show(&format!("working sets {when}: {}", megabytes.join(", ")));
    assert!(sets.iter().all(|bytes| *bytes < MOST), "{sets:?}");
}

#[test]
fn the_replicas_take_less_than_half_of_the_memory_that_they_may() {
    let Some(act) = Act::installed() else { return };
    act.wait_for_replicas();
    tell(&act, "idle");
    if !is_soak() {
        return;
    }
    let nodes: Vec<Node> = (1..=1000)
        .map(|number| {
            Node::new(&format!("played-{number}"))
                .label("played", "yes")
                .taint("played=yes:NoSchedule")
        })
        .collect();
    act.cluster.add_nodes(&nodes).expect("they become ready");
    tell(&act, "with 1,000 nodes");
    let toleration = json!([{"key": "played", "operator": "Exists"}]);
    let mut it = with(daemon_job("everywhere"), "tolerations", toleration);
    it["spec"]["selector"] = json!({"played": "yes"});
    act.apply(&it);
    act.wait_for("everywhere", "Complete");
    tell(&act, "after a run on 1,000 nodes");
    act.cluster
        .run(["delete", "nodes", "-l", "played=yes", "--wait=false"])
        .expect("they are there");
}
