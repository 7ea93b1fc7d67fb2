//! What a status says: counters, groups, conditions, and the patch that writes it.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use super::super::world::{World, at};
use super::{NOTHING, assert_outcome, check, news, round, settle};
use crate::observed::Run;
use crate::types::{DaemonJobStatus, NodeGroup};

#[test]
fn all_succeeded_is_complete() {
    check(
        "template A\nnode n1\njob n1 hash=A succeeded@5",
        "1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[test]
fn e40_a_failed_job_is_final() {
    check(
        "template A\nnode n1\nnode n2\njob n1 hash=A failed@5\njob n2 hash=A succeeded@5",
        "1/2 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
}

#[test]
fn a_failure_does_not_stall_while_others_run() {
    check(
        "template A\nnode n1\nnode n2\njob n1 hash=A failed@5\njob n2 hash=A running",
        "0/2 done, 1 failed
         Reconciling Running",
    );
}

#[test]
fn e47_late_nodes_hold_nothing_up_but_their_failure_counts() {
    let world = "template A\nnow 20\nnode n1\nnode n2 joined=10\njob n1 hash=A succeeded@5";
    check(
        &format!("{world}\njob n2 hash=A running"),
        "1/2 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
    check(
        &format!("{world}\njob n2 hash=A failed@15"),
        "1/2 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
}

#[test]
fn e47_a_node_that_joined_in_the_second_of_the_start_is_of_the_beginning() {
    let world = "template A\nnow 20\njob n1 hash=A running";
    check(
        &format!("{world}\nnode n1 joined=0"),
        "0/1 done
         Reconciling Running",
    );
    check(
        &format!("{world}\nnode n1 joined=1"),
        "0/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[test]
fn e48_after_ten_minutes_unavailable_nodes_no_longer_hold_up_ready() {
    let world = "template A\nnode n1\nnode n2 cordoned\njob n1 hash=A succeeded@5\nstarted";
    check(
        world,
        "1/2 done, 1 waiting (Cordoned)
         Reconciling Waiting
         wake 600",
    );
    check(
        &format!("{world}\nnow 600"),
        "1/2 done, 1 waiting (Cordoned)
         Ready NodesUnavailable",
    );
}

#[test]
fn the_first_status_holds_counters_of_zero_too() {
    let plan = World::parse("template A\nnode n1").plan();
    let stored = DaemonJobStatus {
        observed_generation: -1,
        ..Default::default()
    };
    let patch = super::super::status_patch(&stored, &plan.status).unwrap();
    assert_eq!(patch["failed"], 0);
    assert_eq!(super::super::status_patch(&plan.status, &plan.status), None);
    let planned = DaemonJobStatus {
        observed_generation: 0,
        ..plan.status
    };
    assert_eq!(
        super::super::status_patch(&planned, &planned),
        None,
        "whatever the generation"
    );
}

#[test]
fn a_field_that_went_is_null_in_the_patch() {
    let plan = World::parse("template A\nnode n1\njob n1 hash=A succeeded@5").plan();
    let mut older = plan.status.clone();
    older.failures.push(crate::types::Failure {
        node: "n1".into(),
        job: "j".into(),
        reason: "R".into(),
        message: "m".into(),
    });
    let patch = super::super::status_patch(&older, &plan.status).unwrap();
    assert_eq!(patch, serde_json::json!({"failures": null}));
}

#[test]
fn e36_e49_five_minutes_without_a_ready_pod_are_told_and_change_nothing_else() {
    let world = "template A\nnode n1\njob n1 hash=A running unready@10";
    check(
        &format!("{world}\nnow 309"),
        "0/1 done
         Reconciling Running
         wake 310",
    );
    let plan = World::parse(&format!("{world}\nnow 310")).plan();
    assert_eq!((plan.status.active, plan.status.stuck_nodes[0].count), (1, 1));
    let message = plan.status.stuck_nodes[0].message.as_deref().unwrap();
    assert!(
        message.contains("kubectl get pods -l daemon.justk8s.com/daemonjob=dj -n ns"),
        "{message}"
    );
}

#[test]
fn details_that_differ_by_node_share_a_group() {
    let world: String = (0..30)
        .map(|n| format!("node n{n}\njob n{n} hash=A running owner=foreign\n"))
        .collect();
    let status = World::parse(&format!("template A\n{world}")).plan().status;
    assert_eq!(status.waiting_nodes.len(), 1);
    assert_eq!(
        (status.waiting_nodes[0].count, status.waiting_nodes[0].nodes.len()),
        (30, 5)
    );
    assert!(
        status.waiting_nodes[0]
            .message
            .as_deref()
            .unwrap()
            .contains("kubectl delete job")
    );
    assert!(
        status.conditions[0].message.ends_with("(and 29 more nodes)"),
        "{}",
        status.conditions[0].message
    );
}

#[test]
fn nodes_are_told_by_reason_and_by_what_there_is_to_say_of_it() {
    let status = World::parse(
        "template A\nnode n1 cordoned\nnode n2\njob n2 running owner=foreign\nnode n3\njob n3 running owner=foreign
         node n4 taint=gpu:NoSchedule\nnode n5 taint=arm:NoSchedule\nnode n6 taint=gpu:NoSchedule",
    )
    .plan()
    .status;
    let told = |groups: &[NodeGroup]| -> Vec<String> {
        let line = |group: &NodeGroup| format!("{} {} {}", group.reason, group.count, group.nodes.join(","));
        groups.iter().map(line).collect()
    };
    assert_eq!(told(&status.waiting_nodes), ["Cordoned 1 n1", "NameConflict 2 n2,n3"]);
    assert_eq!(
        told(&status.skipped_nodes),
        ["UntoleratedTaint 1 n5", "UntoleratedTaint 2 n4,n6"]
    );
}

#[test]
fn a_change_of_a_condition_or_of_the_run_is_urgent_and_a_counter_is_not() {
    let mut world = World::parse("template A\nnode n1\nnode n2\njob n1 hash=A running\njob n2 hash=A running");
    let mut is_urgent = |change: &str| {
        world.say(change);
        let plan = world.plan();
        world.apply(&plan);
        plan.urgent
    };
    assert!(is_urgent(""), "it begins");
    assert!(!is_urgent("now 10"), "nothing new");
    assert!(!is_urgent("job n1 hash=A succeeded@5"), "not the last one");
    assert!(is_urgent("job n2 hash=A succeeded@5"), "it completes");
    assert!(is_urgent("edited"), "another run, which is complete as well");
    assert!(!is_urgent("now 20"), "nothing new");
}

#[test]
fn l11_a_time_that_has_come_is_not_waited_for() {
    let world = World::parse("template A\nnode n1 cordoned\nconflict n1 due\nnow 700");
    assert_eq!(world.plan().wake_at, None);
}

/// The columns of the table: Reconciling, Stalled, Ready, Complete, Failed, Finished.
fn columns(status: &DaemonJobStatus) -> [&str; 6] {
    ["Reconciling", "Stalled", "Ready", "Complete", "Failed", "Finished"].map(|type_| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == type_);
        condition.map_or("-", |condition| condition.status.as_str())
    })
}

const UNDERWAY: [&str; 6] = ["True", "-", "False", "False", "False", "False"];
const COMPLETE: [&str; 6] = ["-", "-", "True", "True", "False", "True"];
const READY: [&str; 6] = ["-", "-", "True", "False", "False", "False"];
const FAILED: [&str; 6] = ["-", "True", "False", "False", "True", "True"];
const STALLED: [&str; 6] = ["-", "True", "False", "False", "False", "False"];

const DONE: &str = "node n0\njob n0 hash=A succeeded@5";

#[rstest]
#[case::running("template A\nnode n1\njob n1 hash=A running", UNDERWAY, "Running")]
#[case::replacing("template B replace\nnode n1\njob n1 hash=A running", UNDERWAY, "Running")]
#[case::waiting("template A\nnode n1 cordoned", UNDERWAY, "Waiting")]
#[case::failed_while_others_run(
    "template A\nnode n1\njob n1 hash=A running\nnode n2\nrecord n2 hash=A failed",
    UNDERWAY,
    "Running"
)]
#[case::all_succeeded("template A", COMPLETE, "AllSucceeded")]
#[case::all_succeeded_some_outdated("template A\nnode n1\njob n1 hash=B succeeded@5", COMPLETE, "Outdated")]
#[case::late_node_running(
    "template A\nnow 20\nnode n1 joined=10\njob n1 hash=A running",
    COMPLETE,
    "AllSucceeded"
)]
#[case::late_node_unavailable("template A\nnow 20\nnode n1 joined=10 cordoned", COMPLETE, "AllSucceeded")]
#[case::unavailable_for_ten_minutes("template A\nnow 600\nnode n1 cordoned", READY, "NodesUnavailable")]
#[case::some_skipped("template A\nnode n1 taint=gpu:NoSchedule", COMPLETE, "AllSucceeded")]
#[case::some_failed("template A\nnode n1\njob n1 hash=A failed@5", FAILED, "NodesFailed")]
#[case::late_node_failed(
    "template A\nnow 20\nnode n1 joined=10\njob n1 hash=A failed@15",
    FAILED,
    "NodesFailed"
)]
#[case::refused("template A\nrefused Refused\nnode n1", STALLED, "Refused")]
#[case::quota("template A\nrefused QuotaExceeded\nnode n1", STALLED, "QuotaExceeded")]
#[case::terminating("template A\nrefused NamespaceTerminating\nnode n1", STALLED, "NamespaceTerminating")]
#[case::invalid("template A\npod {\"restartPolicy\": \"Always\"}", STALLED, "InvalidSpec")]
#[case::contested("template A\nhash=wrong\nrestored 5 60", STALLED, "TemplateHashContested")]
#[case::conflict("template A\nnode n1\njob n1 running owner=foreign", STALLED, "NameConflict")]
#[case::conflict_while_others_run(
    "template A\nnode n1\njob n1 running owner=foreign\nnode n2\njob n2 hash=A running",
    UNDERWAY,
    "Running"
)]
#[case::conflict_while_another_starts(
    "template A\nnode n1\njob n1 running owner=foreign\nnode n2",
    UNDERWAY,
    "Running"
)]
#[case::conflict_while_a_late_node_runs(
    "template A\nnow 20\nnode n1\njob n1 running owner=foreign\nnode n2 joined=10\njob n2 hash=A running",
    UNDERWAY,
    "Running"
)]
#[case::pods_refused(
    "template A\nnode n1\njob n1 hash=A running podless@0\npodless n1",
    STALLED,
    "PodsRefused"
)]
#[case::pods_refused_while_others_run(
    "template A\nnode n1\njob n1 hash=A running podless@0\npodless n1\nnode n2\njob n2 hash=A running",
    UNDERWAY,
    "Running"
)]
fn each_situation_has_the_conditions_of_its_row(#[case] world: &str, #[case] row: [&str; 6], #[case] reason: &str) {
    let status = World::parse(&format!("{world}\n{DONE}")).plan().status;
    assert_eq!(columns(&status), row);
    for condition in &status.conditions {
        assert_eq!(
            (condition.reason.as_str(), condition.observed_generation),
            (reason, 1),
            "{condition:?}"
        );
        assert!(!condition.message.is_empty(), "{condition:?}");
    }
}

#[rstest]
#[case::nothing_selected("template A\nselector os=linux\nnode n1", COMPLETE, "NoNodesSelected")]
#[case::no_nodes_at_all("template A", COMPLETE, "NoNodesSelected")]
#[case::all_skipped("template A\nnode n1 taint=gpu:NoSchedule", UNDERWAY, "AllNodesSkipped")]
fn a_daemonjob_without_desired_nodes_has_the_conditions_of_its_row(
    #[case] world: &str,
    #[case] row: [&str; 6],
    #[case] reason: &str,
) {
    let status = World::parse(world).plan().status;
    assert_eq!((columns(&status), status.desired), (row, 0));
    assert!(
        status.conditions.iter().all(|condition| condition.reason == reason),
        "{:?}",
        status.conditions
    );
}

#[test]
fn just_created_it_has_no_conditions_and_its_first_plan_begins_the_run() {
    let mut world = World::parse("template A\nnode n1");
    world.pass(SignedDuration::from_secs(7));
    let created: DaemonJobStatus = serde_json::from_value(json!({"observedGeneration": -1})).unwrap();
    assert_eq!(columns(&created), ["-"; 6]);
    world.status = Some(created);
    let status = world.plan().status;
    assert_eq!((status.observed_generation, status.start_time), (1, Some(at(7))));
}

#[test]
fn a_condition_tells_since_when_it_is_so() {
    let mut world = World::parse("template A\nnode n1");
    round(&mut world);
    world.pass(SignedDuration::from_secs(60));
    world.end("n1", Run::Succeeded { at: Some(world.now()) });
    round(&mut world);
    world.pass(SignedDuration::from_secs(60));
    let since: Vec<_> = world
        .plan()
        .status
        .conditions
        .into_iter()
        .map(|condition| (condition.type_, condition.last_transition_time))
        .collect();
    let expected = [("Ready", 60), ("Complete", 60), ("Failed", 0), ("Finished", 60)];
    assert_eq!(since, expected.map(|(type_, seconds)| (type_.to_owned(), at(seconds))));
}

#[test]
fn a_run_is_a_generation() {
    let mut world = World::parse("template A\nnode n1\nnode n2 joined=5");
    assert_eq!(settle(&mut world), ["create n1", "create n2"]);
    assert!(world.status.as_ref().unwrap().completion_time.is_some());
    world.pass(SignedDuration::from_secs(100));
    let began = world.now();
    world.say("template B replace\nedited");
    round(&mut world);
    let status = world.status.as_ref().unwrap();
    assert_eq!((status.start_time, status.completion_time), (Some(began), None));
    assert_eq!(columns(status), UNDERWAY, "n2 is of the beginning of this run");
    assert!(
        status
            .conditions
            .iter()
            .all(|condition| condition.observed_generation == 2)
    );
}

#[test]
fn e40_failures_are_named_up_to_twenty_with_the_words_of_their_jobs() {
    let nodes: String = (10..35)
        .map(|n| format!("node n{n}\njob n{n} hash=A failed@5\n"))
        .collect();
    let mut world = World::parse(&format!("template A\n{nodes}"));
    let plan = world.plan();
    assert_eq!((plan.status.failed, plan.status.failures.len()), (25, 20));
    let first = &plan.status.failures[0];
    assert_eq!(
        (
            first.node.as_str(),
            first.job.as_str(),
            first.reason.as_str(),
            first.message.as_str()
        ),
        ("n10", world.slots()[0].name.as_str(), "BackoffLimitExceeded", "m")
    );
    assert!(news(&plan).contains(&"Warning JobFailed node n10: BackoffLimitExceeded: m".to_owned()));
    assert!(plan.events.len() <= 20, "{}", plan.events.len());
    for _ in 0..3 {
        assert_eq!(round(&mut world), NOTHING, "final");
    }
    assert_eq!(news(&world.plan()), NOTHING, "told once");
}

#[test]
fn e41_a_thousand_nodes_that_join_at_once_start_in_one_plan_and_none_twice() {
    let nodes: String = (0..1000).map(|n| format!("node n{n}\n")).collect();
    let mut world = World::parse(&format!("template A\n{nodes}"));
    let waiting = world.plan().status.waiting_nodes;
    assert_eq!((waiting.len(), waiting[0].count, waiting[0].nodes.len()), (1, 1000, 5));
    assert_eq!(round(&mut world).len(), 1000);
    assert_eq!(round(&mut world), NOTHING);
}

#[test]
fn e41_the_status_of_5000_nodes_in_every_trouble_stays_small() {
    let line = |n: i32| match n % 8 {
        0 => format!("node n{n}\njob n{n} hash=A failed@5\n"),
        1 => format!("node n{n}\njob n{n} running owner=foreign\n"),
        2 => format!("node n{n}\njob n{n} hash=A running unready@5\n"),
        3 => format!("node n{n}\njob n{n} hash=A running podless@5\npodless n{n}\n"),
        4 => format!("node n{n} taint=gpu:NoSchedule\n"),
        5 => format!("node n{n} cordoned\n"),
        6 => format!("node n{n}\nrecord n{n} hash=B failed\n"),
        _ => format!("node n{n}\nconflict n{n}\n"),
    };
    let nodes: String = (0..5000).map(line).collect();
    let mut status = World::parse(&format!("template A\nnow 400\n{nodes}")).plan().status;
    let told = [
        status.failed,
        status.waiting,
        status.active,
        status.skipped,
        status.outdated,
    ];
    assert_eq!(told, [1250, 2500, 625, 625, 625]);
    status.finished_nodes.clear();
    let length = serde_json::to_vec(&status).unwrap().len();
    assert!(length <= 12_000, "{length} bytes beside the record");
}

#[test]
fn e44_fields_of_a_newer_version_are_read_over_and_survive_the_patch() {
    let world = World::parse("template A\nnode n1\njob n1 hash=A succeeded@5\nstarted");
    let (old, new) = (world.subject().status().clone(), world.plan().status);
    let mut stored = serde_json::to_value(&old).unwrap();
    stored["newer"] = json!({"field": [1]});
    assert_eq!(serde_json::from_value::<DaemonJobStatus>(stored.clone()).unwrap(), old);
    let patch = super::super::status_patch(&old, &new).unwrap();
    assert_eq!(patch.get("startTime"), None, "only what changed is written");
    json_patch::merge(&mut stored, &patch);
    assert_eq!(stored["newer"], json!({"field": [1]}));
    assert_eq!(serde_json::from_value::<DaemonJobStatus>(stored).unwrap(), new);
}

#[test]
fn e47_nodes_that_keep_coming_run_and_ready_stays() {
    let mut world = World::parse("template A\nselector os=linux\nnode n0 os=linux\nnode old");
    assert_eq!(settle(&mut world), ["create n0"]);
    let completed = world.status.as_ref().unwrap().completion_time;
    for n in 1..5 {
        world.pass(SignedDuration::from_secs(60));
        let joined = world.now().duration_since(at(0)).as_secs();
        world.say(&format!("node n{n} os=linux joined={joined}"));
        assert_eq!(round(&mut world), [format!("create n{n}")]);
        assert_eq!(columns(world.status.as_ref().unwrap()), COMPLETE);
    }
    world.say("node old os=linux");
    assert_eq!(
        round(&mut world),
        ["create old"],
        "selected after completion: late as well"
    );
    assert_eq!(columns(world.status.as_ref().unwrap()), COMPLETE);
    assert_eq!(world.status.as_ref().unwrap().completion_time, completed);
    world.end(
        "n3",
        Run::Failed {
            at: Some(world.now()),
            reason: "R".into(),
            message: "m".into(),
        },
    );
    assert_eq!(columns(&world.plan().status), FAILED);
}

#[test]
fn e48_a_node_that_recovers_runs() {
    let mut world = World::parse("template A\nnow 600\nnode n1\nnode n2 cordoned\njob n1 hash=A succeeded@5");
    assert_eq!(round(&mut world), NOTHING);
    world.say("node n2");
    assert_outcome(
        &world,
        "create n2
         1/2 done, 1 waiting (Starting)
         Reconciling Running",
    );
    assert_eq!(settle(&mut world), ["create n2"]);
    assert_eq!(columns(&world.plan().status), COMPLETE);
}

#[test]
fn the_summary_names_what_is_done_what_failed_and_what_holds_the_rest_up() {
    check(
        "template A\nnow 400
         node n1\nnode n2\nnode n3 cordoned\nnode n4 taint=node.kubernetes.io/not-ready:NoSchedule
         node n5\nnode n6\nnode n7 taint=gpu:NoSchedule
         job n1 hash=A succeeded@5\njob n2 hash=A failed@5\njob n5 hash=A running unready@5\njob n6 hash=B succeeded@5",
        "2/6 done, 1 failed, 2 waiting (Cordoned, NotReady), 1 stuck, 1 outdated
         Reconciling Running
         wake 600",
    );
}

#[test]
fn e47_a_late_node_that_the_template_skips_takes_no_condition_away() {
    check(
        "template A\nnode n1 taint=gpu:NoSchedule joined=30\nnow 60\ncompleted",
        "all nodes skipped
         Ready NoNodesSelected
         Complete NoNodesSelected
         Finished NoNodesSelected",
    );
}
