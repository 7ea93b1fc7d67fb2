//! The Jobs: where they are pinned, how they are deleted, and what others do to them.

use std::collections::{BTreeMap, BTreeSet};

use daemonjob_cluster::Node;
use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{at_hand, changed, daemon_job, expiring, hanging, on, replacing, with};
use crate::support::trial::{HASH, condition, items, text, told};
use crate::support::watch::{Event, Watch};

fn term(key: &str, value: &str) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]})
}

#[test]
fn e14_e15_e16_ored_terms_foreign_host_names_and_long_names_run_once_on_each_node() {
    let trial = Trial::begin();
    let long_node = ["a", "b", "c", "d"].map(|letter| letter.repeat(50)).join(".");
    let long_name = format!("{}.{}", "d".repeat(30), "j".repeat(32));
    let node = |name: &str, zone: &str| Node::new(name).label("test", "e14").label("zone", zone);
    trial.add_nodes(&[
        node("e14-a", "a").label("kubernetes.io/hostname", "e14-b"),
        node("e14-b", "b").label("kubernetes.io/hostname", "e14-a"),
        node(&long_node, "b").label("kubernetes.io/hostname", "elsewhere"),
    ]);
    let terms = json!([term("zone", "a"), {}, term("zone", "b")]);
    let affinity = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
    }});
    trial.accepts(&on(with(daemon_job(&long_name), "affinity", affinity), "e14"));
    trial.wait_for("Complete", &long_name);
    trial.shows(&long_name, "3 desired, 3 succeeded");

    let jobs = trial.jobs(&long_name);
    let nodes: BTreeSet<&str> = jobs.keys().map(String::as_str).collect();
    assert_eq!(nodes, [long_node.as_str(), "e14-a", "e14-b"].into());
    let is_label = |name: &str| name.len() <= 57 && !name.contains('.');
    assert!(jobs.values().all(|job| is_label(&job.name)), "{jobs:?}");
    let pods = trial.json("get pods");
    let ran: BTreeSet<(String, String)> = items(&pods)
        .iter()
        .map(|pod| {
            let job = &pod["metadata"]["labels"]["batch.kubernetes.io/job-name"];
            (text(&pod["spec"]["nodeName"]), text(job))
        })
        .collect();
    let expected = jobs.into_iter().map(|(node, job)| (node, job.name)).collect();
    assert_eq!(
        (items(&pods).len(), ran),
        (3, expected),
        "each Pod on the node of its Job"
    );
}

/// The UIDs of the Jobs that went, each with whether garbage collection was told to take its Pods first.
fn deleted(events: &[Event]) -> BTreeMap<String, bool> {
    let mut gone = BTreeMap::new();
    let mut in_foreground = BTreeSet::new();
    for event in events {
        let metadata = &event.object["metadata"];
        let finalizers = metadata["finalizers"].as_array();
        let uid = text(&metadata["uid"]);
        if finalizers.is_some_and(|all| all.contains(&json!("foregroundDeletion"))) {
            in_foreground.insert(uid.clone());
        }
        if event.type_ == "DELETED" {
            let is_in_foreground = in_foreground.contains(&uid);
            gone.insert(uid, is_in_foreground);
        }
    }
    gone
}

#[test]
fn e19_i4_every_delete_takes_the_pods_first() {
    let trial = Trial::begin();
    trial.add_node("e19-stays", "e19");
    trial.add_node("e19-leaves", "e19-leaves");
    trial.accepts(&on(hanging("replaced"), "e19"));
    trial.accepts(&on(hanging("deselected"), "e19-leaves"));
    trial.shows("replaced", "1 desired, 1 active");
    trial.shows("deselected", "1 desired, 1 active");
    let jobs = Watch::start(&trial, "jobs", 2);
    trial.accepts(&on(expiring(daemon_job("expired"), 1), "e19"));
    trial.accepts(&replacing(on(changed(hanging("replaced")), "e19")));
    trial.cluster.unlabel("e19-leaves", "test").unwrap();
    let gone = deleted(&jobs.stop_after(&trial, "DELETED", 3));
    assert!(
        gone.len() == 3 && gone.values().all(|foreground| *foreground),
        "{gone:?}"
    );
}

#[test]
fn e22_finished_pods_that_somebody_removes_change_nothing() {
    let trial = Trial::begin();
    trial.add_node("e22", "e22");
    trial.accepts(&on(daemon_job("it"), "e22"));
    trial.wait_for("Complete", "it");
    let before = trial.jobs("it");
    trial.run("delete pods --all --timeout=30s");
    trial.replans("it", "1 desired, 1 succeeded");
    assert_eq!(trial.jobs("it"), before);
    assert!(items(&trial.json("get pods")).is_empty(), "nothing ran");
}

/// The UIDs of all Jobs, whosever they are.
fn uids(trial: &Trial) -> BTreeSet<String> {
    let jobs = trial.json("get jobs");
    items(&jobs).iter().map(|job| text(&job["metadata"]["uid"])).collect()
}

#[test]
fn f24_a_job_without_its_owner_or_without_its_hash_is_not_ours_any_more() {
    let trial = Trial::begin();
    trial.add_node("f24-hash", "f24");
    trial.add_node("f24-owner", "f24");
    trial.accepts(&on(hanging("it"), "f24"));
    trial.shows("it", "2 desired, 2 active");
    let (jobs, before) = (trial.jobs("it"), uids(&trial));
    let disown = r#"[{"op":"remove","path":"/metadata/ownerReferences"}]"#;
    trial.run(&format!("patch job {} --type=json -p {disown}", jobs["f24-owner"].name));
    trial.run(&format!("annotate job {} {HASH}-", jobs["f24-hash"].name));
    trial.shows("it", "2 desired, 2 waiting");
    trial.accepts(&replacing(on(changed(hanging("it")), "f24")));
    let it = trial.shows("it", "2 desired, 2 waiting");
    assert_eq!(told(&it, "Stalled"), "Stalled=True (NameConflict)");
    assert_eq!(it["status"]["waitingNodes"][0]["reason"], "NameConflict");
    assert_eq!(uids(&trial), before, "neither is touched");

    trial.run("delete jobs --all --timeout=60s");
    trial.shows("it", "2 desired, 2 active");
    assert!(uids(&trial).is_disjoint(&before), "the names are free");
}

#[test]
fn e35_pods_that_are_refused_are_told_in_the_servers_words_and_run_once_they_are_allowed() {
    let trial = Trial::begin();
    trial.add_node("e35", "e35");
    trial.run("create quota no-pods --hard=pods=0");
    trial.eventually("the quota to be counted", || {
        Ok((!trial.json("get quota no-pods")["status"]["hard"].is_null()).then_some(()))
    });
    trial.accepts(&on(daemon_job("it"), "e35"));
    trial.wait_for("Stalled", "it");
    let it = trial.shows("it", "1 desired, 1 waiting");
    let group = &it["status"]["waitingNodes"][0];
    assert_eq!(
        (&group["reason"], &group["nodes"]),
        (&json!("PodsRefused"), &json!(["e35"]))
    );
    assert!(
        text(&group["message"]).contains("exceeded quota: no-pods"),
        "the words of the Event: {group}"
    );
    assert_eq!(told(&it, "Stalled"), "Stalled=True (PodsRefused)");
    assert!(
        text(&condition(&it, "Stalled")["message"]).contains("exceeded quota: no-pods"),
        "{it}"
    );
    let before = trial.jobs("it");

    trial.run("delete quota no-pods");
    trial.wait_for("Complete", "it");
    let it = trial.shows("it", "1 desired, 1 succeeded");
    assert_eq!(told(&it, "Stalled"), "none");
    assert_eq!(trial.jobs("it"), before, "by the same Job");

    let statuses = Watch::start(&trial, "dj", 1);
    trial.accepts(&replacing(on(changed(daemon_job("it")), "e35")));
    trial.shows("it", "1 desired, 1 succeeded");
    let stalled = |event: &Event| !condition(&event.object, "Stalled").is_null();
    let seen = statuses.stop_after(&trial, "MODIFIED", 2);
    assert!(
        !seen.iter().any(stalled),
        "what the old Job met is not told of the new one: {seen:#?}"
    );
}

#[test]
fn e36_e49_a_pod_that_finds_no_room_is_active_and_runs_when_there_is_some() {
    let trial = Trial::begin();
    trial.add_node("e36", "e36");
    let mut it = on(daemon_job("it"), "e36");
    let container = &mut it["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({"limits": {"example.com/room": "1"}});
    trial.accepts(&it);
    trial.eventually("the scheduler to find no room", || {
        let pods = trial.json("get pods");
        let conditions = items(&pods).iter().map(|pod| &pod["status"]["conditions"][0]);
        Ok(conditions.filter(|it| it["reason"] == "Unschedulable").map(drop).next())
    });
    trial.replans("it", "1 desired, 1 active");
    let before = trial.jobs("it");
    trial.run(
        "patch node e36 --subresource=status --type=merge -p \
         {\"status\":{\"allocatable\":{\"example.com/room\":\"1\"},\"capacity\":{\"example.com/room\":\"1\"}}}",
    );
    trial.wait_for("Complete", "it");
    assert_eq!(trial.jobs("it"), before);
}

#[test]
fn e39_a_suspended_job_waits_and_goes_on_when_it_is_resumed() {
    let trial = Trial::begin();
    trial.add_node("e39", "e39");
    trial.accepts(&on(at_hand("it"), "e39"));
    trial.shows("it", "1 desired, 1 active");
    let before = trial.jobs("it");
    let suspend = |suspend: bool| {
        let name = &before["e39"].name;
        trial.run(&format!(
            r#"patch job {name} --type=merge -p {{"spec":{{"suspend":{suspend}}}}}"#
        ))
    };
    suspend(true);
    let it = trial.shows("it", "1 desired, 1 waiting");
    assert_eq!(it["status"]["waitingNodes"][0]["reason"], "Suspended");
    assert_eq!(told(&it, "Stalled"), "none");
    trial.replans("it", "1 desired, 1 waiting");
    suspend(false);
    trial.shows("it", "1 desired, 1 active");
    trial.end_pod("it", "e39", "Succeeded");
    trial.wait_for("Complete", "it");
    assert_eq!(trial.jobs("it"), before);
}
