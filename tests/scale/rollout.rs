//! A rollout and a replacement on every node: what they cost, and that nothing else was written.

use std::collections::BTreeSet;

use daemonjob_cluster::Call;

use crate::calls::{count, duration, kind, table, writes};
use crate::scene::{Act, NAMESPACE, NODES, assert_all_succeeded};
use crate::support::rules::{complaint, is_read};
use crate::support::trial::show;
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
    let nameless = calls.iter().find(|call| !call.user_agent.starts_with("daemonjob/"));
    assert_eq!(nameless, None);
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
    // All since the process was installed.
    let calls = scene.calls();
    let nameless = calls.iter().find(|call| !call.user_agent.starts_with("daemonjob/"));
    assert_eq!(nameless, None);
    let refused: Vec<&Call> = calls.iter().filter(|call| call.code == 403).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let elsewhere = |call: &&Call| !is_read(call) && !["", NAMESPACE, SYSTEM].contains(&call.namespace.as_str());
    assert_eq!(calls.iter().find(elsewhere), None);
    assert_eq!(calls.iter().find_map(complaint), None);
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
