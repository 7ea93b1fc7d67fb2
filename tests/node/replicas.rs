//! Two replicas that end in turn while DaemonJobs are created.

use std::collections::{BTreeMap, BTreeSet};

use daemonjob_cluster::{Call, Node, is_soak};
use serde_json::{Value, json};

use crate::load::Load;
use crate::stage::Act;
use crate::support::manifest::{daemon_job, with};
use crate::support::trial::{items, show, text};
use crate::support::world::SYSTEM;

/// Creates a second: each makes two Jobs.
const RATE: &str = "5";
const NODES: [&str; 2] = ["played-1", "played-2"];

/// Runs on the two played nodes, where nothing else does.
fn played() -> Value {
    let toleration = json!([{"key": "played", "operator": "Exists"}]);
    let mut it = with(daemon_job("load"), "tolerations", toleration);
    it["spec"]["selector"] = json!({"played": "yes"});
    it
}

fn end(act: &Act, replica: &str) {
    let words = ["delete", "pod", replica, "--namespace", SYSTEM, "--timeout=180s"];
    act.cluster.run(words).expect("it is there");
    act.wait_for_replicas();
}

/// The nodes of the Jobs of each DaemonJob.
fn nodes_by_daemon_job(act: &Act) -> BTreeMap<String, Vec<String>> {
    let daemon_jobs = act.json("get dj");
    let names = items(&daemon_jobs)
        .iter()
        .map(|it| (text(&it["metadata"]["name"]), Vec::new()));
    let mut nodes: BTreeMap<String, Vec<String>> = names.collect();
    for job in items(&act.json("get jobs")) {
        let label = |key: &str| text(&job["metadata"]["labels"][key]);
        let of_its_owner = nodes.get_mut(&label("daemon.justk8s.com/daemonjob"));
        of_its_owner
            .expect("its DaemonJob is there")
            .push(label("daemon.justk8s.com/node"));
    }
    nodes.values_mut().for_each(|nodes| nodes.sort());
    nodes
}

#[test]
fn f32_e42_replicas_that_end_in_turn_fail_no_create_and_neither_lose_nor_double_a_job() {
    let Some(act) = Act::installed() else { return };
    let nodes = NODES.map(|name| Node::new(name).label("played", "yes").taint("played=yes:NoSchedule"));
    act.cluster.add_nodes(&nodes).expect("they become ready");
    act.wait_for_replicas();
    let path = format!("{}/daemonjobs", act.namespace);
    let load = Load::start_with(&act.cluster, act.tools, RATE, &path, played());
    for _ in 0..if is_soak() { 10 } else { 1 } {
        let leader = act.leader().expect("one leads");
        end(&act, &leader);
        let leader = act.eventually("another one to lead", || {
            let holder = act.leader()?;
            Ok((holder != leader).then_some(holder))
        });
        let replicas = act.replicas().expect("they can be listed");
        let other = replicas.iter().find(|name| **name != leader);
        end(&act, other.expect("there are two"));
    }
    let report = load.stop();
    show(&format!(
        "{} creates, p99 {:.1?}, longest {:.1?}",
        report.requests,
        report.p99(),
        report.longest()
    ));
    report.assert_all_admitted();

    act.run("wait dj --all --for=condition=Complete --timeout=180s");
    let jobs = nodes_by_daemon_job(&act);
    assert_eq!(jobs.len() as u64, report.requests);
    for (name, nodes) in &jobs {
        assert_eq!(nodes, &NODES, "{name}");
    }
    let calls = act.cluster.audit_log().news().expect("there is an audit log");
    let is_create = |call: &&Call| call.verb == "create" && call.resource == "jobs" && call.namespace == act.namespace;
    let creates: Vec<&Call> = calls.iter().filter(is_create).collect();
    let made: Vec<&str> = creates
        .iter()
        .filter(|call| call.code == 201)
        .map(|call| call.name.as_str())
        .collect();
    let distinct: BTreeSet<&str> = made.iter().copied().collect();
    show(&format!(
        "{} creates of Jobs were sent, {} made one",
        creates.len(),
        made.len()
    ));
    assert_eq!((made.len(), distinct.len()), (2 * jobs.len(), 2 * jobs.len()));
    for node in NODES {
        act.cluster.remove_node(node).expect("it is there");
    }
}
