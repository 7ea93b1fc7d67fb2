//! A rollout and a replacement on every node: what they cost, and that nothing else was written.

use std::collections::BTreeSet;

use daemonjob_cluster::Call;
use daemonjob_core::names::{NODE_NAME, NodeName, job_name};
use serde_json::Value;

use crate::calls::{count, duration, is_read, kind, table, writes};
use crate::scene::{Act, NAME, NAMESPACE, NODES, assert_all_succeeded};
use crate::support::trial::{show, text};
use crate::support::world::SYSTEM;

/// The names of the objects of all calls of a kind.
fn names<'a>(calls: &'a [Call], of: &str) -> BTreeSet<&'a str> {
    let such = calls.iter().filter(|call| kind(call) == of);
    such.map(|call| call.name.as_str()).collect()
}

/// A small number, for arithmetic with seconds.
fn real(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a small number"))
}

/// The budget beyond the writes that the nodes cost: four, and a status in each interval, which is a second or as
/// long as 20 kB/s take for the object.
fn assert_within_budget(what: &str, calls: &[Call], for_nodes: usize, object: &str) {
    let seconds = duration(calls).as_secs_f64();
    let intervals = seconds / (real(object.len()) / 20_000.0).max(1.0);
    let all = writes(calls).len();
    let others = all - for_nodes;
    let statuses = count(calls, "patch daemonjobs/status");
    show(&format!(
        "{what} of {NODES} nodes in {seconds:.1} s: {:.4} writes a node, an object of {} bytes\n{}",
        real(all) / real(NODES),
        object.len(),
        table(calls),
    ));
    assert!(real(statuses) <= 2.0 + intervals, "{statuses} statuses in {seconds} s");
    assert!(real(others) <= 4.0 + intervals, "{others} other writes in {seconds} s");
}

/// Nothing was refused, so nothing was sent twice or too early.
fn assert_none_refused(calls: &[Call]) {
    let refused: Vec<&Call> = calls.iter().filter(|call| call.code >= 400).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn e41_1000_nodes_cost_one_create_each_and_a_status_now_and_then() {
    let scene = Act::begin();
    let calls = scene.rollout();
    assert_within_budget("rollout", calls, NODES, &scene.daemon_job());
    assert_eq!(count(calls, "create jobs"), NODES);
    assert_eq!(names(calls, "create jobs").len(), NODES);
    assert_eq!(count(calls, "delete jobs"), 0);
    assert_none_refused(calls);
    // The watches tell the rest.
    let reads = [
        "get daemonjobs",
        "get jobs",
        "get nodes",
        "list daemonjobs",
        "list jobs",
        "list nodes",
    ];
    let reads: usize = reads.iter().map(|of| count(calls, of)).sum();
    assert!(reads <= 1, "{}", table(calls));
    let status = scene.status();
    assert_all_succeeded(&status);
    let record = &status["finishedNodes"][0]["succeeded"];
    assert!(record.as_str().expect("there is a record").len() <= 11 * NODES);
}

#[test]
fn e27_1000_nodes_are_replaced_by_one_delete_and_one_create_each() {
    let mut scene = Act::begin();
    let calls = scene.replacement().to_vec();
    assert_within_budget("replacement", &calls, 2 * NODES, &scene.daemon_job());
    assert_eq!(count(&calls, "delete jobs"), NODES);
    assert_eq!(count(&calls, "create jobs"), NODES);
    assert_eq!(names(&calls, "delete jobs").len(), NODES);
    assert_eq!(names(&calls, "create jobs"), names(&calls, "delete jobs"));
    // Each Job that goes is a reason to ask afresh before the next create; creates that come together ask once.
    assert!(count(&calls, "get daemonjobs") <= NODES, "{}", table(&calls));
    assert_eq!(count(&calls, "get jobs"), 0);
    assert_none_refused(&calls);
    assert_all_succeeded(&scene.status());
}

#[test]
fn o4_every_write_is_of_the_list_and_says_what_it_must() {
    let mut scene = Act::begin();
    scene.replacement();
    let uid = scene.run(&format!("get dj {NAME} -o jsonpath={{.metadata.uid}}"));
    // All since the process was installed.
    let calls = scene.calls();
    let is_strange = |call: &&Call| call.code == 403 || !is_right(call, &uid);
    let strange: Vec<&Call> = calls.iter().filter(is_strange).collect();
    assert!(
        strange.is_empty(),
        "{} calls, the first: {:#?}",
        strange.len(),
        strange[0]
    );
    for written in [
        "create jobs",
        "delete jobs",
        "patch daemonjobs/status",
        "create events",
        "update leases",
        "patch secrets",
        "patch mutatingwebhookconfigurations",
        "patch validatingwebhookconfigurations",
    ] {
        assert!(count(calls, written) > 0, "no {written}:\n{}", table(calls));
    }
}

/// Whether a call is a read, or a write of which all that can be seen in it is as it must be.
/// A patch of the hash annotation is allowed too, but nobody has touched one here.
/// That a delete names the UID and the version of the Job with its name, the API server checks.
fn is_right(call: &Call, uid: &str) -> bool {
    let body = &call.body;
    let is_here = call.namespace == NAMESPACE;
    let is_it = is_here && call.name == NAME;
    let is_system = call.namespace == SYSTEM;
    match kind(call).as_str() {
        "create jobs" => is_here && is_owned(body, uid) && call.name == derived_name(body),
        "delete jobs" => {
            let condition = keys(&body["preconditions"]);
            is_here && body["propagationPolicy"] == "Foreground" && condition == ["resourceVersion", "uid"]
        }
        "patch daemonjobs/status" => {
            is_it && keys(body) == ["metadata", "status"] && keys(&body["metadata"]) == ["resourceVersion"]
        }
        "create events" | "patch events" => is_here || is_system,
        "create leases" => is_system,
        "update leases" => is_system && call.name == "daemonjob" && body["metadata"]["resourceVersion"].is_string(),
        "patch secrets" => is_system && call.name == "daemonjob-webhook-ca",
        "patch mutatingwebhookconfigurations" | "patch validatingwebhookconfigurations" => call.name == "daemonjob",
        _ => is_read(call),
    }
}

fn keys(object: &Value) -> Vec<&str> {
    let keys = object.as_object().into_iter().flat_map(|map| map.keys());
    keys.map(String::as_str).collect()
}

fn is_owned(job: &Value, uid: &str) -> bool {
    let owners = job["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.len() == 1 && owners[0]["uid"] == uid && owners[0]["controller"] == true)
}

fn derived_name(job: &Value) -> String {
    let node = text(&job["metadata"]["annotations"][NODE_NAME]);
    job_name(NAME, &NodeName::new(node)).to_string()
}
