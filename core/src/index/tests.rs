use serde_json::{Value, json};

use super::*;
use crate::names::{self, job_name};
use crate::observed::{JobLite, NodeLite};
use crate::types::DaemonJob;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const HASH: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A DaemonJob for the nodes with `os=linux`, whose template asks for a `zone`.
fn daemon_job(name: &str, version: u64, status: &Value) -> Arc<Subject> {
    let daemon_job: DaemonJob = serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": format!("{name}-uid"), "generation": 1,
            "resourceVersion": version.to_string(),
        },
        "spec": {
            "selector": {"os": "linux"},
            "jobTemplate": {"spec": {"template": {"spec": {
                "restartPolicy": "Never", "nodeSelector": {"zone": "a"}, "containers": [{"name": "c", "image": "i"}]}}}},
        },
        "status": status,
    }))
    .unwrap();
    Arc::new(Subject::new(daemon_job))
}

fn job(uid: &str, version: u64, status: &Value) -> PlacedJob {
    let job: JobLite = serde_json::from_value(json!({
        "metadata": {
            "name": name().as_str(), "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            "labels": {names::DAEMONJOB_LABEL: "dj"},
            "annotations": {names::TEMPLATE_HASH: HASH, names::NODE_NAME: "n", names::NODE_UID: "n-uid"},
            "ownerReferences": [{
                "apiVersion": names::API_VERSION, "kind": names::KIND, "name": "dj", "uid": "dj-uid",
                "controller": true}],
        },
        "status": status,
    }))
    .unwrap();
    ("ns".to_owned(), job.into())
}

fn name() -> JobName {
    job_name("dj", &NodeName::new("n"))
}

fn done() -> Value {
    json!({"conditions": [{"type": "Complete", "status": "True"}], "completionTime": "2026-01-01T00:00:00Z"})
}

fn node(name: &str, labels: &Value) -> NodeView {
    let metadata = json!({"name": name, "uid": format!("{name}-uid"), "labels": labels});
    serde_json::from_value::<NodeLite>(json!({"metadata": metadata}))
        .unwrap()
        .into()
}

fn key() -> Key {
    Key {
        namespace: "ns".into(),
        name: "dj".into(),
    }
}

/// One node `n`, one DaemonJob `dj`, everything listed and planned once.
fn index() -> Index {
    let mut index = Index::default();
    index.take_node(Told::Listed(node("n", &json!({"os": "linux", "zone": "a"}))));
    index.take_node(Told::ListEnds);
    index.take_job(&Scope::All, Told::ListEnds, NOW);
    index.take_daemon_job(&Scope::All, Told::Listed(daemon_job("dj", 5, &json!({}))));
    index.take_daemon_job(&Scope::All, Told::ListEnds);
    assert_eq!(index.slots(&key()).len(), 1);
    index
}

fn apply(index: &mut Index, job: PlacedJob) -> Changes {
    index.take_job(&Scope::All, Told::Applied(job), NOW)
}

fn the_slot(index: &mut Index) -> Slot {
    let slots = index.slots(&key());
    assert_eq!(slots.len(), 1, "{slots:?}");
    slots[0].clone()
}

#[test]
fn f08_nothing_is_planned_before_all_three_kinds_have_been_listed() {
    let mut index = Index::default();
    index.take_daemon_job(&Scope::All, Told::ListEnds);
    index.take_job(&Scope::All, Told::ListEnds, NOW);
    assert!(index.listed("ns").is_none());
    index.take_node(Told::ListEnds);
    assert!(index.listed("ns").is_some());
}

fn only(namespace: &str) -> Scope {
    Scope::Namespace(namespace.into())
}

#[test]
fn f08_a_namespace_waits_for_its_own_lists_and_for_no_others() {
    let mut index = Index::default();
    index.take_node(Told::ListEnds);
    index.take_daemon_job(&only("ns"), Told::ListEnds);
    index.take_job(&only("other"), Told::ListEnds, NOW);
    assert!(index.listed("ns").is_none() && index.listed("other").is_none());
    index.take_job(&only("ns"), Told::ListEnds, NOW);
    assert!(index.listed("ns").is_some() && index.listed("other").is_none());
}

#[test]
fn m6_a_list_of_one_namespace_says_nothing_of_another() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    index.take_job(&only("other"), Told::ListBegins, NOW);
    index.take_daemon_job(&only("other"), Told::ListBegins);
    // An older version: only a list of this namespace makes it believed.
    assert_eq!(apply(&mut index, job("a", 2, &done())), Changes::default());
    let ended = index.take_job(&only("other"), Told::ListEnds, NOW);
    assert_eq!(ended, Changes::default());
    let ended = index.take_daemon_job(&only("other"), Told::ListEnds);
    assert_eq!(ended, Changes::default());
    assert!(the_slot(&mut index).job.is_some());
}

#[test]
fn m6_lists_of_two_namespaces_that_cross_keep_what_each_of_them_told() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    for scope in [only("ns"), only("other")] {
        index.take_job(&scope, Told::ListBegins, NOW);
        index.take_daemon_job(&scope, Told::ListBegins);
    }
    index.take_job(&only("ns"), Told::Listed(job("a", 9, &json!({}))), NOW);
    index.take_daemon_job(&only("ns"), Told::Listed(daemon_job("dj", 5, &json!({}))));
    for scope in [only("other"), only("ns")] {
        index.take_job(&scope, Told::ListEnds, NOW);
        index.take_daemon_job(&scope, Told::ListEnds);
    }
    assert!(the_slot(&mut index).job.is_some());

    index.take_job(&only("ns"), Told::ListBegins, NOW);
    index.take_job(&only("ns"), Told::ListEnds, NOW);
    assert!(
        the_slot(&mut index).job.is_none(),
        "the list of its own namespace lacks it"
    );
}

#[test]
fn e24_an_older_version_of_a_job_is_not_taken() {
    let mut index = index();
    apply(&mut index, job("a", 9, &done()));
    assert_eq!(apply(&mut index, job("a", 8, &json!({}))), Changes::default());
    assert!(apply(&mut index, job("b", 30, &json!({}))).dirty.contains(&key()));
}

#[test]
fn f07_a_repeated_event_plans_nothing() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    assert_eq!(apply(&mut index, job("a", 9, &json!({}))), Changes::default());
    let again = Told::Applied(daemon_job("dj", 5, &json!({})));
    assert_eq!(index.take_daemon_job(&Scope::All, again), Changes::default());
}

#[test]
fn a_change_of_a_job_that_no_decision_looks_at_plans_nothing_but_its_version_is_kept() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({"active": 1, "ready": 1})));
    let changes = apply(&mut index, job("a", 10, &json!({"active": 2, "ready": 2})));
    assert_eq!(changes, Changes::default());
    assert_eq!(the_slot(&mut index).job.unwrap().resource_version, "10".into());
}

#[test]
fn a_heartbeat_plans_nothing() {
    let mut index = index();
    let heartbeat = Told::Applied(node("n", &json!({"os": "linux", "zone": "a"})));
    assert_eq!(index.take_node(heartbeat), Changes::default());
}

#[test]
fn a_label_plans_only_the_daemonjobs_that_look_at_it() {
    let mut index = index();
    let mut relabel = |labels: &Value| index.take_node(Told::Applied(node("n", labels))).dirty;
    assert!(relabel(&json!({"os": "linux", "zone": "a", "other": "x"})).is_empty());
    let affinity = relabel(&json!({"os": "linux", "zone": "b", "other": "x"}));
    assert!(affinity.contains(&key()), "the template looks at it");
    let selection = relabel(&json!({"os": "windows", "zone": "b", "other": "x"}));
    assert!(selection.contains(&key()));
    assert!(index.slots(&key()).is_empty());
}

#[test]
fn a_change_of_a_node_that_is_not_selected_plans_nothing() {
    let mut index = index();
    index.take_node(Told::Applied(node("other", &json!({"os": "windows"}))));
    let mut tainted = node("other", &json!({"os": "windows", "zone": "a"}));
    tainted.spec.unschedulable = true;
    assert_eq!(index.take_node(Told::Applied(tainted)), Changes::default());
}

#[test]
fn a_label_that_only_an_older_spec_looked_at_plans_nothing() {
    let mut index = index();
    let mut newer: Value = json!({
        "metadata": {"name": "dj", "namespace": "ns", "uid": "dj-uid", "generation": 2, "resourceVersion": "6"},
    });
    newer["spec"] = json!({"jobTemplate": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}});
    let newer: DaemonJob = serde_json::from_value(newer).unwrap();
    index.take_daemon_job(&Scope::All, Told::Applied(Arc::new(Subject::new(newer))));
    index.slots(&key());
    let relabelled = Told::Applied(node("n", &json!({"os": "windows"})));
    assert_eq!(index.take_node(relabelled), Changes::default());
    assert!(index.readers.is_empty());
}

#[test]
fn f05_a_job_that_a_new_list_lacks_is_forgotten_and_its_daemonjob_suspect() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    index.take_job(&Scope::All, Told::ListBegins, NOW);
    let changes = index.take_job(&Scope::All, Told::ListEnds, NOW);
    assert!(the_slot(&mut index).job.is_none() && changes.suspect.contains(&key()));
}

#[test]
fn a_new_list_is_taken_though_its_versions_went_back() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    index.take_job(&Scope::All, Told::ListBegins, NOW);
    let changes = index.take_job(&Scope::All, Told::Listed(job("a", 2, &done())), NOW);
    assert!(changes.dirty.contains(&key()));
    index.take_daemon_job(&Scope::All, Told::ListBegins);
    index.take_daemon_job(&Scope::All, Told::Listed(daemon_job("dj", 1, &json!({}))));
    assert_eq!(index.subject(&key()).unwrap().resource_version(), "1");
}

#[test]
fn e19_an_answer_that_comes_after_the_removal_does_not_bring_the_job_back() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    index.take_job(&Scope::All, Told::Gone(job("a", 12, &json!({}))), NOW);
    let changes = index.renew_job(job("a", 11, &json!({})), NOW);
    assert!(the_slot(&mut index).job.is_none() && changes == Changes::default());
    apply(&mut index, job("b", 13, &json!({})));
    apply(&mut index, job("a", 10, &json!({})));
    assert_eq!(the_slot(&mut index).job.unwrap().uid.as_str(), "b");
}

#[test]
fn an_answer_that_comes_after_the_removal_does_not_bring_the_daemonjob_back() {
    let mut index = index();
    index.take_daemon_job(&Scope::All, Told::Gone(daemon_job("dj", 6, &json!({}))));
    index.renew_daemon_job(&daemon_job("dj", 5, &json!({})));
    assert!(index.subject(&key()).is_none());
}

#[test]
fn the_deletion_of_an_older_job_does_not_take_its_successor_away() {
    let mut index = index();
    apply(&mut index, job("b", 9, &json!({})));
    index.take_job(&Scope::All, Told::Gone(job("a", 10, &json!({}))), NOW);
    assert!(the_slot(&mut index).job.is_some());
}

#[test]
fn a_job_that_somebody_gave_another_label_is_lost_to_its_daemonjob() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    let (namespace, mut relabelled) = job("a", 10, &json!({}));
    relabelled.label = Some("other".into());
    let changes = apply(&mut index, (namespace, relabelled));
    assert!(the_slot(&mut index).job.is_none() && changes.dirty.contains(&key()));
}

#[test]
fn e18_what_finished_and_was_deleted_at_once_is_remembered_until_the_store_holds_it() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    index.take_job(&Scope::All, Told::Gone(job("a", 10, &done())), NOW);
    assert_eq!(the_slot(&mut index).ended.unwrap().uid.as_str(), "a");
    let token = names::node_token(&NodeUid::new("n-uid"));
    let recorded = json!({"observedGeneration": 1, "finishedNodes": [
        {"templateHash": HASH, "succeeded": token, "failed": ""}]});
    index.take_daemon_job(&Scope::All, Told::Applied(daemon_job("dj", 11, &recorded)));
    assert!(the_slot(&mut index).ended.is_none());
}

#[test]
fn e18_a_list_that_lacks_a_finished_job_does_not_make_it_forgotten() {
    let mut index = index();
    apply(&mut index, job("a", 9, &done()));
    index.take_job(&Scope::All, Told::ListBegins, NOW);
    index.take_job(&Scope::All, Told::ListEnds, NOW);
    assert!(the_slot(&mut index).ended.is_some());
}

#[test]
fn what_ended_counts_no_longer_once_another_job_has_started_or_the_node_is_another() {
    let mut index = index();
    apply(&mut index, job("a", 9, &done()));
    index.take_job(&Scope::All, Told::Gone(job("a", 10, &done())), NOW);
    let mut again = node("n", &json!({"os": "linux"}));
    again.uid = NodeUid::new("another");
    index.take_node(Told::Applied(again));
    assert!(the_slot(&mut index).ended.is_none());

    let mut index = self::index();
    apply(&mut index, job("a", 9, &done()));
    index.take_job(&Scope::All, Told::Gone(job("a", 10, &done())), NOW);
    apply(&mut index, job("b", 11, &json!({})));
    index.take_job(&Scope::All, Told::Gone(job("b", 12, &json!({}))), NOW);
    assert!(the_slot(&mut index).ended.is_none());
}

#[test]
fn a_job_that_was_stopped_is_no_result() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    let (namespace, mut stopped) = job("a", 10, &done());
    stopped.deleted = Some("2025-12-31T23:59:59Z".parse().unwrap());
    index.take_job(&Scope::All, Told::Gone((namespace, stopped)), NOW);
    assert!(the_slot(&mut index).ended.is_none());
}

#[test]
fn f09_nodes_that_a_list_lacks_stay_until_a_second_one_lacks_them() {
    let mut index = index();
    index.take_node(Told::ListBegins);
    index.take_node(Told::ListEnds);
    assert!(index.is_missing_nodes());
    assert!(the_slot(&mut index).node.is_some());

    index.confirm_missing(&BTreeSet::from([NodeUid::new("n-uid")]));
    assert!(the_slot(&mut index).node.is_some() && !index.is_missing_nodes());

    index.take_node(Told::ListBegins);
    index.take_node(Told::ListEnds);
    let changes = index.confirm_missing(&BTreeSet::new());
    assert!(index.slots(&key()).is_empty() && changes.dirty.contains(&key()));
}

#[test]
fn f14_a_daemonjob_that_cannot_be_read_is_set_aside_and_comes_back() {
    let mut index = index();
    apply(&mut index, job("a", 9, &json!({})));
    assert!(index.take_unreadable(&key()).gone.contains(&key()));
    assert!(index.subject(&key()).is_none());
    index.take_daemon_job(&Scope::All, Told::Applied(daemon_job("dj", 20, &json!({}))));
    assert!(the_slot(&mut index).job.is_some());
}

/// Slots that were kept event by event are the slots that a new list gives.
#[test]
fn l08_slots_kept_event_by_event_are_those_made_anew() {
    let mut index = index();
    index.take_node(Told::Applied(node("m", &json!({"os": "linux"}))));
    apply(&mut index, job("a", 9, &json!({})));
    let mut cordoned = node("m", &json!({"os": "linux"}));
    cordoned.spec.unschedulable = true;
    index.take_node(Told::Applied(cordoned));
    index.take_node(Told::Gone(node("n", &json!({}))));
    let kept: Vec<Slot> = index.slots(&key()).into_iter().cloned().collect();
    index.families.get_mut(&key()).unwrap().make_anew();
    let anew: Vec<Slot> = index.slots(&key()).into_iter().cloned().collect();
    assert_eq!(kept, anew);
    assert_eq!(kept.len(), 2, "the Job of the node that is gone has a slot of its own");
}
