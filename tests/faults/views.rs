//! What a process is told of the cluster comes late, twice, or not at all, or is wrong.

use std::time::Duration;

use daemonjob_cluster::{Call, Component, is_soak, until};
use serde_json::{Value, json};

use crate::outages::excuse_denials;
use crate::proxy::{Fault, Pace, Refusal, is_write, kind};
use crate::scene::{Scene, done};
use crate::support::DEADLINE;
use crate::support::manifest::{changed, daemon_job, hanging, on, replacing};
use crate::support::trial::show;
use crate::support::watch::Watch;

const NODES: usize = 3;

/// One DaemonJob that has finished and one that never does, on all nodes.
fn run_both(scene: &Scene, test: &str) {
    scene.nodes(test, NODES);
    scene.accepts(&on(daemon_job("done"), test));
    scene.accepts(&replacing(on(hanging("long"), test)));
    assert_both_run(scene, NODES);
}

fn assert_both_run(scene: &Scene, nodes: usize) {
    scene.shows("done", &format!("{nodes} desired, {nodes} succeeded"));
    scene.shows("long", &format!("{nodes} desired, {nodes} active"));
}

/// The next watch of this resource asks for a history that the API server does not have; the list that follows takes
/// two seconds.
fn forgets(resource: &'static str) -> impl FnMut(&Call) -> Fault + Send {
    let (mut is_forgotten, mut is_listed) = (false, false);
    move |call| {
        if call.resource != resource {
            return Fault::None;
        }
        match call.verb.as_str() {
            "watch" if !std::mem::replace(&mut is_forgotten, true) => Fault::Since(1),
            "list" if is_forgotten && !std::mem::replace(&mut is_listed, true) => Fault::Late(Duration::from_secs(2)),
            _ => Fault::None,
        }
    }
}

/// The answer is 410 Gone by the API server itself, which has started anew and knows nothing of before.
#[test]
fn f05_a_history_that_is_gone_is_listed_anew_and_nothing_is_deleted_for_the_gap() {
    let mut scene = Scene::without_controller();
    let restarted = Component::KubeApiserver;
    scene.cluster.stop_component(restarted).expect("it runs");
    scene.cluster.start_component(restarted).expect("it comes back");
    scene.start();
    excuse_denials(&scene);
    run_both(&scene, "f05");
    let mark = scene.proxy.mark();
    for (joined, resource) in ["daemonjobs", "jobs", "nodes"].into_iter().enumerate() {
        let listed = |scene: &Scene| done(scene, mark, &format!("list {resource}"));
        assert_eq!(listed(&scene), 0);
        scene.proxy.set(forgets(resource));
        scene.proxy.end(|call| call.resource == resource);
        // In the gap.
        scene.add_node(&format!("f05-{resource}"), "f05");
        scene.eventually("a list", || Ok((listed(&scene) > 0).then_some(())));
        assert_both_run(&scene, NODES + joined + 1);
    }
    scene.assert_quiet();
    assert_eq!(
        done(&scene, mark, "create jobs"),
        2 * 3,
        "one for each node that joined"
    );
    assert_eq!(done(&scene, mark, "delete jobs"), 0);
}

/// Every event comes twice, and those of nodes and Jobs later than those of DaemonJobs.
#[test]
fn f07_events_that_come_twice_and_kinds_out_of_order_cause_no_job_more_or_less() {
    let scene = Scene::begin();
    scene.proxy.set(|call| {
        let lag = match call.resource.as_str() {
            "daemonjobs" => 0,
            "jobs" => 300,
            _ => 600,
        };
        let pace = Pace {
            lag: Duration::from_millis(lag),
            is_doubled: true,
        };
        if call.verb == "watch" {
            Fault::Told(pace)
        } else {
            Fault::None
        }
    });
    scene.proxy.end(|_| true);
    let seen = Watch::start(&scene, "jobs", 0);
    let mark = scene.proxy.mark();
    scene.nodes("f07", NODES);
    scene.accepts(&on(daemon_job("it"), "f07"));
    scene.shows("it", "3 desired, 3 succeeded");
    scene.accepts(&replacing(on(changed(daemon_job("it")), "f07")));
    scene.add_node("f07-joins", "f07");
    scene.shows("it", "4 desired, 4 succeeded");
    scene.assert_quiet();
    assert_eq!(done(&scene, mark, "create jobs"), 2 * NODES + 1);
    assert_eq!(done(&scene, mark, "delete jobs"), NODES);
    assert!(scene.told("Job") >= 2 * seen.seen().len(), "they were not doubled");
}

#[test]
fn f08_nothing_is_written_before_nodes_and_jobs_have_been_listed_however_long_it_takes() {
    let mut scene = Scene::begin();
    run_both(&scene, "f08");
    let late = Duration::from_secs(if is_soak() { 60 } else { 5 });
    for (resource, of) in [("nodes", "list nodes"), ("jobs", "list jobs")] {
        scene.take().terminate();
        scene.accepts(&replacing(on(changed(daemon_job("done")), "f08")));
        scene.accepts(&on(daemon_job(&format!("new-{resource}")), "f08"));
        let mark = scene.proxy.mark();
        scene.proxy.set(move |call| {
            if kind(call) == of {
                Fault::Late(late)
            } else {
                Fault::None
            }
        });
        scene.start();
        until("the list", late + DEADLINE, || {
            Ok((done(&scene, mark, of) > 0).then_some(()))
        })
        .expect("it comes");
        let calls = scene.proxy.since(mark);
        let before: Vec<&Call> = calls
            .iter()
            .take_while(|call| kind(call) != of)
            .filter(|call| is_write(call))
            .collect();
        assert!(before.is_empty(), "{before:#?}");
        scene.proxy.heal();
        scene.shows(&format!("new-{resource}"), "3 desired, 3 succeeded");
        assert_both_run(&scene, NODES);
    }
}

/// A list without anything in it.
fn emptied(list: &mut Value) {
    list["items"] = json!([]);
    list["metadata"]["continue"] = json!("");
}

/// The record of what finished.
fn record(scene: &Scene) -> Value {
    scene.daemon_job("done")["status"]["finishedNodes"].clone()
}

#[test]
fn f09_a_new_leader_whose_list_of_nodes_is_wrongly_empty_deletes_nothing_and_loses_no_record() {
    let mut scene = Scene::begin();
    run_both(&scene, "f09");
    let before = (scene.jobs("done"), scene.jobs("long"), record(&scene));
    scene.take().kill();
    let mark = scene.proxy.mark();
    scene.proxy.set(|call| {
        if kind(call) == "list nodes" {
            Fault::Forged(emptied)
        } else {
            Fault::None
        }
    });
    scene.start();
    let renewals = if is_soak() { 30 } else { 5 };
    scene.eventually("it to have had its time", || {
        Ok((done(&scene, mark, "update leases") >= renewals).then_some(()))
    });
    let reads = done(&scene, mark, "get nodes");
    show(&format!("{reads} fresh reads of nodes"));
    assert!(reads >= NODES, "it would have deleted their Jobs");
    assert_eq!(done(&scene, mark, "delete jobs"), 0);
    assert_eq!((scene.jobs("done"), scene.jobs("long"), record(&scene)), before);
    scene.proxy.heal();
    // As nodes do, they report.
    scene.run("annotate nodes -l test=f09 heard=1");
    assert_both_run(&scene, NODES);
    scene.assert_quiet();
    assert_eq!(done(&scene, mark, "create jobs") + done(&scene, mark, "delete jobs"), 0);
}

#[test]
fn f09_a_list_of_nodes_that_is_wrongly_empty_while_it_leads_is_asked_for_again_before_anything_is_done() {
    let scene = Scene::begin();
    run_both(&scene, "f09b");
    let before = (scene.jobs("done"), scene.jobs("long"), record(&scene));
    let mark = scene.proxy.mark();
    let (mut is_forgotten, mut is_forged) = (false, false);
    scene.proxy.set(move |call| match kind(call).as_str() {
        "watch nodes" if !std::mem::replace(&mut is_forgotten, true) => Fault::Answered(Refusal::GONE.event()),
        "list nodes" if !std::mem::replace(&mut is_forged, true) => Fault::Forged(emptied),
        _ => Fault::None,
    });
    scene.proxy.end(|call| call.resource == "nodes");
    scene.eventually("it to ask again", || {
        Ok((done(&scene, mark, "list nodes") >= 2).then_some(()))
    });
    scene.add_node("f09b-joins", "f09b");
    assert_both_run(&scene, NODES + 1);
    scene.assert_quiet();
    assert_eq!(done(&scene, mark, "create jobs"), 2, "for the node that joined");
    assert_eq!(done(&scene, mark, "delete jobs"), 0);
    let (mut done, mut long) = (scene.jobs("done"), scene.jobs("long"));
    done.remove("f09b-joins");
    long.remove("f09b-joins");
    assert_eq!((done, long), (before.0, before.1));
}

/// As before its template was changed, though all of that has run, is on record and was cleaned up.
#[test]
fn i7_a_new_leader_that_is_given_an_old_list_of_jobs_runs_nothing_again() {
    const ALL_DONE: &str = "3 desired, 3 succeeded";
    let mut scene = Scene::begin();
    scene.nodes("i7", NODES);
    scene.accepts(&replacing(on(daemon_job("done"), "i7")));
    scene.shows("done", ALL_DONE);
    let old = scene.run("get --raw /apis/batch/v1/jobs?labelSelector=daemon.justk8s.com/daemonjob");
    let old: Value = serde_json::from_str(&old).expect("it is a list");
    scene.accepts(&replacing(on(changed(daemon_job("done")), "i7")));
    scene.shows("done", ALL_DONE);
    scene.run("delete jobs --all");
    scene.assert_quiet();
    let before = record(&scene);
    scene.take().kill();
    let mark = scene.proxy.mark();
    scene.proxy.set(move |call| match kind(call).as_str() {
        "list jobs" => Fault::Answered(old.clone()),
        "watch jobs" => Fault::Lost,
        _ => Fault::None,
    });
    scene.start();
    let asked = |what: &str| scene.proxy.since(mark).iter().filter(|call| kind(call) == what).count();
    scene.eventually("it to find out", || Ok((asked("delete jobs") >= NODES).then_some(())));
    scene.shows("done", ALL_DONE);
    scene.assert_quiet();
    assert_eq!((asked("create jobs"), done(&scene, mark, "delete jobs")), (0, 0));
    assert_eq!(record(&scene), before);
}
