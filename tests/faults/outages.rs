//! Outages: the API server, its store, or the leader is gone for a while, in the middle of a fan-out.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use daemonjob_cluster::{Cluster, Component, is_soak, until};

use crate::proxy::{Fault, Proxy, is_write, kind};
use crate::scene::{Scene, lasts};
use crate::support::DEADLINE;
use crate::support::manifest::{changed, daemon_job, on, replacing};
use crate::support::operator::{Operator, complaints, is_denied, signal};

const NODES: usize = 6;
const ALL_DONE: &str = "6 desired, 6 succeeded";

/// Hears of it when the process asks for its second Job.
pub(crate) fn in_the_middle(proxy: &Proxy) -> Receiver<()> {
    let (tell, told) = channel();
    let mut creates = 0;
    proxy.set(move |call| {
        creates += usize::from(kind(call) == "create jobs");
        if creates == 2 {
            tell.send(()).expect("the test listens");
        }
        Fault::None
    });
    told
}

pub(crate) fn wait_until_it_leads_no_more(operator: &Operator) {
    until("the process to lead no more", DEADLINE, || {
        let leads = operator.metric(r#"leader_election_master_status{name="daemonjob"}"#)?;
        Ok((leads == 0.0).then_some(()))
    })
    .expect("it steps down");
}

/// An API server that starts answers before it has read the roles, and denies everything: it is asked again.
pub(crate) fn excuse_denials(scene: &Scene) {
    let told = complaints(scene.cluster.folder());
    let mut excused = scene.excused.lock().expect("no test of this world has panicked");
    excused.extend(told.into_iter().filter(|line| is_denied(line)));
}

/// What began then lasts a minute, if the full numbers are asked for.
fn soak(begun: Instant) {
    if is_soak() {
        lasts(begun, Duration::from_secs(60));
    }
}

/// A component goes in the middle of a fan-out, and comes back once the leader has stepped down.
fn assert_an_outage_costs_no_second_job(
    test: &str,
    component: Component,
    goes: fn(&Cluster, Component) -> Result<()>,
    comes: fn(&Cluster, Component) -> Result<()>,
) {
    let mut scene = Scene::begin();
    scene.nodes(test, NODES);
    let mark = scene.proxy.mark();
    let middle = in_the_middle(&scene.proxy);
    scene.accepts(&on(daemon_job("it"), test));
    middle.recv_timeout(DEADLINE).expect("a fan-out begins");
    let begun = Instant::now();
    goes(&scene.cluster, component).expect("it runs");
    wait_until_it_leads_no_more(scene.controller());
    soak(begun);
    assert!(scene.controller().is_running(), "an outage is no reason to end");
    comes(&scene.cluster, component).expect("it comes back");
    scene.controller().wait_leading(DEADLINE).expect("it leads again");
    excuse_denials(&scene);
    scene.eventually("all Jobs to be made", || {
        Ok((scene.jobs("it").len() == NODES).then_some(()))
    });
    // After a minute's outage the Job controller of Kubernetes takes more than another one to run what it is given, and
    // a Pod whose create was never answered it expects for five.
    scene.run("wait --for=condition=Complete jobs -l daemon.justk8s.com/daemonjob=it --timeout=420s");
    scene.shows("it", ALL_DONE);
    assert_eq!(scene.jobs("it").len(), NODES);
    let calls = scene.proxy.since(mark);
    let deletes = calls.iter().filter(|call| kind(call) == "delete jobs").count();
    let creates = calls
        .iter()
        .filter(|call| kind(call) == "create jobs" && call.code == 201)
        .count();
    // The answer to a create may be lost with the API server; none is deleted, so none was there twice.
    assert!(creates <= NODES && deletes == 0, "{creates} creates, {deletes} deletes");
    scene.assert_quiet();
}

#[test]
fn an_api_server_killed_in_the_middle_of_a_fan_out_costs_no_second_job() {
    assert_an_outage_costs_no_second_job(
        "api-killed",
        Component::KubeApiserver,
        Cluster::stop_component,
        Cluster::start_component,
    );
}

#[test]
fn an_etcd_that_stands_still_in_the_middle_of_a_fan_out_costs_no_second_job() {
    assert_an_outage_costs_no_second_job(
        "etcd-paused",
        Component::Etcd,
        Cluster::pause_component,
        Cluster::resume_component,
    );
}

/// Each process has a proxy of its own, so that its calls are told apart.
#[test]
fn f27_a_leader_that_stood_still_while_another_took_over_writes_nothing_of_what_it_had_planned() {
    let mut scene = Scene::begin();
    scene.nodes("f27", NODES);
    scene.accepts(&replacing(on(daemon_job("it"), "f27")));
    scene.shows("it", ALL_DONE);
    scene.assert_quiet();
    let other = Proxy::start(&scene.kubeconfig);
    let second = scene.spawn(&other, "second", &[]);
    let middle = in_the_middle(&scene.proxy);
    scene.accepts(&replacing(on(changed(daemon_job("it")), "f27")));
    middle.recv_timeout(DEADLINE).expect("a replacement begins");
    let first = scene.controller().pid();
    let begun = Instant::now();
    signal("STOP", first);
    second.wait_leading(DEADLINE).expect("it takes over");
    scene.shows("it", ALL_DONE);
    soak(begun);
    let mark = scene.proxy.mark();
    signal("CONT", first);
    wait_until_it_leads_no_more(scene.controller());
    until("it to look at the Lease again", DEADLINE, || {
        let looks = scene
            .proxy
            .since(mark)
            .into_iter()
            .filter(|call| kind(call) == "get leases");
        Ok((looks.count() >= 2).then_some(()))
    })
    .expect("it stands by");
    let calls = scene.proxy.since(mark);
    let written: Vec<_> = calls.iter().filter(|call| is_write(call)).collect();
    assert!(written.is_empty(), "{written:#?}");
    scene.shows("it", ALL_DONE);
    assert_eq!(scene.jobs("it").len(), NODES);
    second.terminate();
    scene.controller().wait_leading(DEADLINE).expect("it leads again");
    scene.assert_quiet();
}
