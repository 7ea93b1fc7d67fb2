//! Which nodes a DaemonJob runs on, which it skips and which wait; nodes that go, come back and change.

use super::super::Action;
use super::super::world::World;
use super::check;

#[test]
fn every_selected_node_starts() {
    check(
        "template A\nnode n1\nnode n2",
        "create n1
         create n2
         0/2 done, 2 waiting (Starting)
         Reconciling Running",
    );
}

#[test]
fn e02_a_job_is_replaced_only_where_its_successor_may_start() {
    check(
        "template B replace\nnode n1 cordoned\nnode n2 cordoned\njob n1 hash=A running\nrecord n2 hash=A succeeded",
        "0/2 done, 1 waiting (Cordoned), 2 outdated
         Reconciling Running
         wake 600",
    );
}

#[test]
fn e06_the_job_of_a_gone_node_is_deleted() {
    check(
        "template A\njob n1 hash=A running",
        "delete a gone node (NodeGone)
         no node selected
         Ready NoNodesSelected
         Complete NoNodesSelected
         Finished NoNodesSelected",
    );
}

#[test]
fn e07_recreated_node_runs_again() {
    check(
        "template A\nnode n1 uid=new\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded",
        "delete n1 (NodeRecreated)
         0/1 done, 1 waiting (Replacing)
         Reconciling Running",
    );
    check(
        "template A\nnode n1 uid=new\nrecord n1 hash=A succeeded",
        "create n1
         0/1 done, 1 waiting (Starting)
         Reconciling Running",
    );
}

#[test]
fn e09_deselected_an_unfinished_job_goes_and_a_finished_one_stays() {
    check(
        "template A\nselector os=linux\nnode n1 os=windows\nnode n2 os=windows\nnode n3 os=linux
         job n1 hash=A running\njob n2 hash=A succeeded@5\njob n3 hash=A succeeded@5",
        "delete n1 (NodeNotSelected)
         1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[test]
fn b34_with_both_selectors_only_selector_counts_and_the_status_says_so() {
    let world = World::parse("template A\nselector os=linux\nignore os=linux\nnode n1 os=linux\nnode n2");
    let plan = world.plan();
    assert_eq!(plan.actions.len(), 1);
    assert!(
        plan.status
            .conditions
            .iter()
            .all(|condition| condition.message.contains("only `selector` takes effect"))
    );
    assert!(plan.events[0].warning && plan.events[0].reason.as_str() == "SelectorsConflict");
}

#[test]
fn e11_nothing_selected_is_complete_and_all_skipped_is_not() {
    check(
        "template A\nselector os=linux\nnode n1",
        "no node selected
         Ready NoNodesSelected
         Complete NoNodesSelected
         Finished NoNodesSelected",
    );
    check(
        "template A\nnode n1 taint=gpu:NoSchedule",
        "all nodes skipped
         Reconciling AllNodesSkipped",
    );
    let plan = World::parse("template A\nnode n1 taint=gpu:NoSchedule").plan();
    assert!(
        plan.events[0].warning && plan.events[0].note.contains("gpu"),
        "{:?}",
        plan.events
    );
}

#[test]
fn e06_the_unknown_outcome_of_a_gone_node_is_told() {
    let told = |job: &str| match &World::parse(&format!("template A\njob n1 hash=A {job}")).plan().actions[..] {
        [Action::Delete { news, .. }] => news.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(told("running") && !told("succeeded@5"));
}
