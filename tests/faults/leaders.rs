//! Two leaders: each process has a proxy of its own, and the Lease is partitioned between them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use daemonjob_cluster::{Call, is_soak, until};
use serde_json::{Value, json};

use crate::history::Recorder;
use crate::outages::wait_until_it_leads_no_more;
use crate::proxy::{Fault, Pace, Proxy, Refusal, is_write, kind};
use crate::scene::{Scene, assert_quiet, renewals_since_the_last_write};
use crate::support::DEADLINE;
use crate::support::manifest::{daemon_job, hanging, on, replacing};
use crate::support::operator::Operator;
use crate::support::trial::{HASH, show, text};

const TEST: &str = "f26";
/// Nodes that nobody touches.
const STEADY: usize = 4;
/// The node whose label goes and comes.
const FLAPPING: &str = "f26-flapping";
/// The node that is deleted and made again.
const AGAIN: &str = "f26-again";
/// The node that comes and goes.
const GUEST: &str = "f26-guest";

/// The Lease on the far side of a partition: whoever is there is alone with it.
#[derive(Default)]
struct LoneLease {
    stored: Option<Value>,
    version: u64,
}

impl LoneLease {
    fn meet(&mut self, call: &Call) -> Fault {
        if call.verb == "get" {
            let missing = Fault::Refused(Refusal::new(404, "NotFound"));
            return self.stored.clone().map_or(missing, Fault::Answered);
        }
        self.version += 1;
        let mut lease = call.body.clone();
        lease["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.stored = Some(lease.clone());
        Fault::Answered(lease)
    }
}

/// What is in the way of a process: it hears of these resources late, and every third of its writes about a Job is
/// held up.
fn in_the_way(late: &'static [&'static str], lag: Duration) -> impl FnMut(&Call) -> Fault + Send {
    let mut writes = 0;
    move |call| {
        if call.verb == "watch" && late.contains(&call.resource.as_str()) {
            return Fault::Told(Pace { lag, ..Pace::default() });
        }
        let is_of_a_job = call.resource == "jobs" && is_write(call);
        writes += usize::from(is_of_a_job);
        if is_of_a_job && writes % 3 == 0 {
            return Fault::Late(Duration::from_millis(800));
        }
        Fault::None
    }
}

/// The near side hears late of Jobs, the far side of all else: each is ahead of the other in something.
fn near_side() -> impl FnMut(&Call) -> Fault + Send {
    in_the_way(&["jobs"], Duration::from_millis(500))
}

fn far_side() -> impl FnMut(&Call) -> Fault + Send {
    let mut lease = LoneLease::default();
    let mut way = in_the_way(&["daemonjobs", "nodes"], Duration::from_millis(1500));
    move |call| {
        if call.resource == "leases" {
            lease.meet(call)
        } else {
            way(call)
        }
    }
}

/// The same with the template of this round.
fn turned(mut it: Value, round: usize) -> Value {
    it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"] = json!([round.to_string()]);
    it
}

/// What is edited in each round: one that finishes at once, one that never does, and one that replaces nothing.
fn edit(scene: &Scene, round: usize) {
    let quick = replacing(daemon_job("quick"));
    let long = replacing(hanging("long"));
    let items = [quick, long, daemon_job("kept")].map(|it| turned(on(it, TEST), round));
    scene.accepts(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
}

/// Nodes come and go in one round, and return in it, but for the guest.
fn move_nodes(scene: &Scene, round: usize) {
    let move_ = match round % 4 {
        0 => scene.cluster.remove_node(AGAIN).map(|()| scene.add_node(AGAIN, TEST)),
        1 => {
            scene.add_node(GUEST, TEST);
            Ok(())
        }
        2 => scene
            .cluster
            .unlabel(FLAPPING, "test")
            .and_then(|()| scene.cluster.label(FLAPPING, "test=f26")),
        _ => scene.cluster.remove_node(GUEST),
    };
    move_.expect("the node is there");
}

/// Edits and moves nodes for a while. Every other round waits for what finishes, so that edits meet both what runs and
/// what has finished. Returns the nodes that are there in the end.
fn churn(scene: &Scene, time: Duration) -> BTreeSet<String> {
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < time {
        round += 1;
        edit(scene, round);
        if round % 2 == 0 {
            scene.wait_for("Complete", "quick");
        }
        move_nodes(scene, round);
        scene.accepts(&turned(on(daemon_job(&format!("new-{round}")), TEST), round));
    }
    show(&format!("{round} rounds in {:?}", begun.elapsed()));
    let steady = (0..STEADY).map(|n| format!("{TEST}-{n}"));
    let guest = (1..=round)
        .rev()
        .find(|round| round % 2 == 1)
        .is_some_and(|last| last % 4 == 1);
    let others = [FLAPPING, AGAIN].into_iter().chain(guest.then_some(GUEST));
    steady.chain(others.map(str::to_owned)).collect()
}

/// I9: the status counts all nodes, and each has one Job, with the current hash.
fn assert_converged(scene: &Scene, name: &str, counter: &str, is_replacing: bool, nodes: &BTreeSet<String>) {
    scene.eventually(&format!("{name} to converge"), || {
        let it = scene.daemon_job(name);
        let status = &it["status"];
        let is_current = status["observedGeneration"] == it["metadata"]["generation"];
        let is_done = [&status["desired"], &status[counter]]
            .iter()
            .all(|count| **count == nodes.len());
        let mut jobs = scene.jobs(name);
        // The Pod of a node that is gone waits for the garbage collection of Pods, and its Job for that.
        jobs.retain(|node, job| nodes.contains(node) || !job.is_deleted);
        let hash = text(&it["metadata"]["annotations"][HASH]);
        let is_right = jobs
            .values()
            .all(|job| !job.is_deleted && (job.hash == hash || !is_replacing));
        let is_whole = jobs.keys().eq(nodes) && is_right;
        if is_current && is_done && is_whole {
            return Ok(Some(()));
        }
        anyhow::bail!("{status} {jobs:#?}")
    });
}

/// What a process did about Jobs since a mark: its creates, and those that met one of the other's.
fn creates(proxy: &Proxy, mark: usize, code: u64) -> usize {
    let calls = proxy.since(mark);
    calls
        .iter()
        .filter(|call| kind(call) == "create jobs" && call.code == code)
        .count()
}

/// O6: a write is done, or the other process was first.
fn assert_no_surprise(proxy: &Proxy) {
    let is_surprise = |call: &&Call| is_write(call) && !matches!(call.code, 200 | 201 | 404 | 409);
    let calls = proxy.calls();
    assert_eq!(calls.iter().find(is_surprise), None);
}

fn assert_leads(operator: &Operator) {
    operator.wait_leading(Duration::ZERO).expect("it leads all the time");
}

/// For so long both lead, whatever either of them does to the other's work. Accepted is what cases.md accepts: a
/// create on its way during an edit may start the old template.
#[test]
fn f26_two_leaders_whose_lease_is_partitioned_keep_one_job_a_node_converge_and_fall_quiet() {
    let mut scene = Scene::begin();
    scene.proxy.set(near_side());
    scene.proxy.end(|_| true);
    scene.nodes(TEST, STEADY);
    scene.add_node(FLAPPING, TEST);
    scene.add_node(AGAIN, TEST);
    let other = Proxy::start(&scene.kubeconfig);
    other.set(far_side());
    let second = scene.spawn(&other, "second", &[]);
    second.wait_leading(DEADLINE).expect("nobody else is on its side");
    let history = Recorder::start(&scene);
    let (mark, others_mark) = (scene.proxy.mark(), other.mark());
    let time = Duration::from_secs(if is_soak() { 60 } else { 10 });
    let nodes = churn(&scene, time);
    assert_converged(&scene, "quick", "succeeded", true, &nodes);
    assert_converged(&scene, "long", "active", true, &nodes);
    assert_converged(&scene, "kept", "succeeded", false, &nodes);
    let touched = [FLAPPING, AGAIN, GUEST];
    let jobs = [("quick", true), ("long", true), ("kept", false), ("new-1", false)]
        .map(|(name, is_replacing)| history.assert_safe(name, is_replacing, &touched));
    // I10, while both lead. A status that lost against the other's may be tried again a few seconds later.
    until("both to be done", DEADLINE, || {
        let is_done = |proxy| renewals_since_the_last_write(proxy) >= 3;
        Ok((is_done(&scene.proxy) && is_done(&other)).then_some(()))
    })
    .expect("they stop writing");
    assert_quiet(&other);
    scene.assert_quiet();
    assert_leads(scene.controller());
    assert_leads(&second);
    let done = [creates(&scene.proxy, mark, 201), creates(&other, others_mark, 201)];
    let met = creates(&scene.proxy, mark, 409) + creates(&other, others_mark, 409);
    show(&format!(
        "{jobs:?} Jobs; {done:?} creates by each, {met} met one of the other's"
    ));
    assert!(done.iter().all(|count| *count > 0), "both acted: {done:?}");
    assert!(met > 0, "they never met");

    // The partition ends: the Lease is one again, and one of them has it.
    other.heal();
    wait_until_it_leads_no_more(&second);
    let mark = other.mark();
    edit(&scene, 0);
    assert_converged(&scene, "quick", "succeeded", true, &nodes);
    assert_leads(scene.controller());
    let late: Vec<Call> = other.since(mark).into_iter().filter(is_write).collect();
    assert!(late.is_empty(), "{late:#?}");
    assert_no_surprise(&scene.proxy);
    assert_no_surprise(&other);
    until("the second to follow", DEADLINE, || {
        let looks = other.since(mark).into_iter().filter(|call| kind(call) == "get leases");
        Ok((looks.count() >= 2).then_some(()))
    })
    .expect("it stands by");
}
