//! What a status says: counters, groups, conditions, and the patch that writes it.

use super::super::world::World;
use super::check;

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
    let stored = crate::types::DaemonJobStatus {
        observed_generation: -1,
        ..Default::default()
    };
    let patch = super::super::status_patch(&stored, &plan.status).unwrap();
    assert_eq!(patch["failed"], 0);
    assert_eq!(super::super::status_patch(&plan.status, &plan.status), None);
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
fn e49_five_minutes_without_a_ready_pod_are_told_and_change_nothing_else() {
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
fn l11_a_time_that_has_come_is_not_waited_for() {
    let world = World::parse("template A\nnode n1 cordoned\nconflict n1 due\nnow 700");
    assert_eq!(world.plan().wake_at, None);
}
