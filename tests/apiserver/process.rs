//! The process: killed, asked to end, doubled; and the webhook while it is not there.

use std::time::{Duration, Instant};

use daemonjob_cluster::{Node, until};
use serde_json::Value;

use crate::support::Trial;
use crate::support::manifest::{changed, daemon_job, hanging, on};
use crate::support::operator::free_port;
use crate::support::trial::{items, text};
use crate::support::watch::{Watch, assert_one_at_a_time};
use crate::support::world::SYSTEM;

/// The Lease may run out just after it was looked at: 15 s and one look of 2 s; then the lists.
const TAKE_OVER: Duration = Duration::from_secs(17 + 3);
/// A Lease given back is seen at the next look, after 2 s at most.
const HAND_OVER: Duration = Duration::from_secs(3);

const MANY: usize = 100;

#[test]
fn e23_f1_killed_in_the_middle_of_a_fan_out_and_after_it_every_node_runs_once() {
    let trial = Trial::begin();
    let nodes: Vec<Node> = (0..MANY)
        .map(|n| Node::new(&format!("e23-{n}")).label("test", "e23"))
        .collect();
    trial.add_nodes(&nodes);
    let operator = trial.take_operator();
    let creates = r#"daemonjob_job_writes_total{verb="create""#;
    let earlier = operator.metric(creates).unwrap();
    trial.accepts(&on(daemon_job("it"), "e23"));
    trial.eventually("the first creates", || {
        Ok((operator.metric(creates)? > earlier + 2.0).then_some(()))
    });
    operator.kill();
    let made = trial.jobs("it").len();
    assert!(made < MANY, "it was killed in the middle");

    let jobs = Watch::start(&trial, "jobs", made);
    trial.restart();
    let all_done = format!("{MANY} desired, {MANY} succeeded");
    trial.shows("it", &all_done);
    let events = jobs.stop_after(&trial, "ADDED", MANY);
    assert_eq!(
        events.iter().filter(|event| event.type_ == "ADDED").count(),
        MANY,
        "one Job a node, ever"
    );
    assert_one_at_a_time(&events, |_| false);

    trial.take_operator().kill();
    // One request: by name, kubectl takes a fifth of a second for each.
    let all = format!(
        "/apis/batch/v1/namespaces/{}/jobs?propagationPolicy=Background",
        trial.namespace
    );
    trial.cluster.run(["delete", "--raw", &all]).unwrap();
    trial.eventually("the Jobs to be gone", || Ok(trial.jobs("it").is_empty().then_some(())));
    trial.restart();
    trial.wait_ready();
    trial.replans("it", &all_done);
    assert!(trial.jobs("it").is_empty(), "finished work does not run again (G2)");
}

#[test]
fn f2_killed_between_delete_and_create_the_replacement_goes_on() {
    let trial = Trial::begin();
    let nodes: Vec<Node> = (0..20)
        .map(|n| Node::new(&format!("f2-{n}")).label("test", "f2"))
        .collect();
    trial.add_nodes(&nodes);
    trial.accepts(&on(daemon_job("it"), "f2"));
    let before = trial.shows("it", "20 desired, 20 succeeded");
    let operator = trial.take_operator();
    let deletes = r#"daemonjob_job_writes_total{verb="delete""#;
    let earlier = operator.metric(deletes).unwrap();
    trial.accepts(&crate::support::manifest::replacing(on(
        changed(daemon_job("it")),
        "f2",
    )));
    trial.eventually("the first deletes", || {
        Ok((operator.metric(deletes)? > earlier).then_some(()))
    });
    operator.kill();
    let old = text(&before["status"]["templateHash"]);
    let made = trial.jobs("it").values().filter(|job| job.hash != old).count();
    assert!(made < 20, "it was killed in the middle");

    trial.restart();
    let after = trial.shows("it", "20 desired, 20 succeeded");
    let hash = text(&after["status"]["templateHash"]);
    assert_ne!(hash, old);
    let jobs = trial.jobs("it");
    assert!(
        jobs.len() == 20 && jobs.values().all(|job| job.hash == hash),
        "{jobs:?}"
    );
}

fn holder(trial: &Trial) -> String {
    let lease = trial
        .cluster
        .json(["get", "lease", "daemonjob", "--namespace", SYSTEM])
        .expect("the process made it");
    text(&lease["spec"]["holderIdentity"])
}

#[test]
fn f1_a_second_replica_takes_over_when_the_leader_is_killed() {
    let trial = Trial::begin();
    trial.add_node("takeover", "takeover");
    trial.accepts(&on(hanging("it"), "takeover"));
    trial.shows("it", "1 desired, 1 active");
    let first = trial.take_operator();
    let mut second = trial.spawn("second", free_port());
    second.wait_ready().unwrap();
    assert!(second.wait_leading(Duration::ZERO).is_err(), "it stands by");

    let killed = Instant::now();
    first.kill();
    second
        .wait_leading(TAKE_OVER.saturating_sub(killed.elapsed()))
        .expect("it takes over in time");
    assert_eq!(holder(&trial), "second");
    let before = trial.jobs("it").remove("takeover").unwrap();
    trial.run(&format!("delete job {} --timeout=30s", before.name));
    let after = trial.eventually("the new leader to work", || Ok(trial.jobs("it").remove("takeover")));
    assert_ne!(after.uid, before.uid);
}

#[test]
fn sigterm_ends_with_0_gives_the_lease_back_and_a_second_replica_goes_on_within_seconds() {
    let trial = Trial::begin();
    let first = trial.take_operator();
    let mut second = trial.spawn("second", free_port());
    second.wait_ready().unwrap();
    first.ask_to_end();
    second
        .wait_leading(HAND_OVER)
        .expect("it need not wait for the Lease to run out");
    assert_eq!(first.wait().code(), Some(0));
    assert_eq!(holder(&trial), "second");

    assert_eq!(second.terminate().code(), Some(0));
    assert_eq!(holder(&trial), "", "the Lease is nobody's");
}

#[test]
fn f15_without_the_process_deletion_and_labels_pass_and_a_changed_spec_does_not() {
    let trial = Trial::begin();
    trial.add_node("f15", "f15");
    trial.accepts(&on(hanging("it"), "f15"));
    trial.shows("it", "1 desired, 1 active");
    trial.take_operator().kill();

    let refused = trial.rejects(&on(changed(hanging("it")), "f15"));
    assert!(
        refused.contains("failed calling webhook \"mutate.daemon.justk8s.com\""),
        "{refused}"
    );
    trial.run("label dj it team=ours");
    trial.accepts(&on(hanging("it"), "f15"));
    let begun = Instant::now();
    trial.run("delete dj it --cascade=foreground --timeout=30s");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(items(&trial.json("get jobs,pods")).is_empty());
}

#[test]
fn f30_a_ca_bundle_that_somebody_wipes_is_back_within_five_seconds() {
    let trial = Trial::begin();
    let kinds = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
    let bundle = |kind: &str| -> anyhow::Result<Value> {
        let mut it = trial.cluster.json(["get", kind, "daemonjob"])?;
        Ok(it["webhooks"][0]["clientConfig"]["caBundle"].take())
    };
    let before = kinds.map(|kind| bundle(kind).unwrap());
    assert!(
        before
            .iter()
            .all(|bundle| bundle.as_str().is_some_and(|text| text.len() > 100))
    );
    let wipe = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
    for kind in kinds {
        trial
            .cluster
            .run(["patch", kind, "daemonjob", "--type=json", "-p", wipe])
            .unwrap();
    }
    until("both bundles to be back", Duration::from_secs(5), || {
        let now = [bundle(kinds[0])?, bundle(kinds[1])?];
        Ok((now == before).then_some(()))
    })
    .unwrap();
    trial.eventually("the webhook to be asked again", || {
        let output = trial.kubectl_with("create --dry-run=server -f -", &daemon_job("probe").to_string());
        output.checked().map(Some)
    });
}

#[test]
fn the_metrics_page_has_the_names_that_dashboards_and_readers_rely_on() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    trial.wait_for("Complete", "it");
    let operator = trial.operator();
    let (code, page) = operator.as_ref().unwrap().page("/metrics").unwrap();
    assert_eq!(code, 200);
    let namespace = &trial.namespace;
    for name in [
        "controller_runtime_reconcile_total{",
        "controller_runtime_reconcile_time_seconds_bucket{",
        "controller_runtime_webhook_requests_total{",
        "controller_runtime_webhook_latency_seconds_bucket{",
        "workqueue_depth{",
        "leader_election_master_status{name=\"daemonjob\"} 1",
        "daemonjob_job_writes_total{verb=\"create\"",
        "daemonjob_certificate_expiry_timestamp_seconds{certificate=\"leaf\"}",
        &format!("daemonjob_nodes{{namespace=\"{namespace}\",daemonjob=\"it\",state=\"succeeded\"}} 4"),
    ] {
        assert!(page.contains(name), "{name} is missing:\n{page}");
    }
    assert_eq!(operator.as_ref().unwrap().page("/livez").unwrap().0, 200);
}
