//! What holds a DaemonJob up from outside: refusals of the API server, hashes and specs that are wrong.

use serde_json::json;

use super::super::world::World;
use super::check;

#[test]
fn e29_a_wrong_hash_is_restored_and_nothing_else_happens() {
    check("template A\nhash=wrong\nnode n1", "restore hash");
}

#[test]
fn e34_a_refused_template_costs_one_create_a_tick() {
    check(
        "template A\nrefused QuotaExceeded\nnode n1\nnode n2",
        "0/2 done, 2 waiting (QuotaExceeded)
         Stalled QuotaExceeded
         wake 1000000",
    );
    check(
        "template A\nrefused QuotaExceeded due\nnode n1\nnode n2",
        "create n1
         0/2 done, 2 waiting (QuotaExceeded)
         Stalled QuotaExceeded",
    );
}

#[test]
fn e35_a_job_whose_pods_are_refused_waits_with_the_words_of_its_event() {
    let world = "template A\nnode n1\njob n1 hash=A running podless@10";
    check(
        &format!("{world}\nnow 15"),
        "0/1 done
         Reconciling Running
         wake 20",
    );
    assert!(World::parse(&format!("{world}\nnow 20")).plan().look_for_events);
    check(
        &format!("{world}\nnow 25\npodless n1"),
        "0/1 done, 1 waiting (PodsRefused)
         Stalled PodsRefused",
    );
    let admitted = "template A\nnode n1\njob n1 hash=A running\nnow 25\npodless n1";
    check(
        admitted,
        "0/1 done
         Reconciling Running",
    );
}

#[test]
fn e46_a_contested_hash_is_restored_ever_less_often_and_told_after_five_times() {
    let world = "template A\nhash=wrong\nnode n1\nnow 10";
    check(&format!("{world}\nrestored 1 30"), "wake 30");
    check(&format!("{world}\nrestored 1 10"), "restore hash");
    check(
        &format!("{world}\nrestored 5 30"),
        "held: the template hash is contested
         Stalled TemplateHashContested
         wake 30",
    );
}

#[test]
fn e34_a_refusal_counts_only_while_a_node_of_the_beginning_wants_a_job() {
    let done = "1/1 done\nReady AllSucceeded\nComplete AllSucceeded\nFinished AllSucceeded";
    check(
        "template A\nrefused QuotaExceeded\nnode n1\njob n1 hash=A succeeded@5",
        done,
    );
    let late = World::parse(
        "template A\nrefused QuotaExceeded\nnow 20\nnode n1\nnode n2 joined=10\njob n1 hash=A succeeded@5",
    );
    assert!(late.outcome().contains("Ready AllSucceeded"), "{}", late.outcome());
    assert_eq!(late.plan().status.waiting_nodes[0].reason, "QuotaExceeded");
}

#[test]
fn e46_a_contest_from_the_creation_on_is_told_for_this_generation() {
    let status = World::parse("template A\nhash=wrong\nnode n1\nrestored 5 30")
        .plan()
        .status;
    assert_eq!((status.observed_generation, status.start_time), (1, None));
}

#[test]
fn b33_what_finishes_while_the_spec_is_invalid_is_recorded() {
    let world =
        World::parse("template A\nnode n1\njob n1 hash=A succeeded@5\nstarted").with_template(json!({"spec": {}}));
    let plan = world.plan();
    assert_eq!((plan.actions.len(), plan.status.finished_nodes.len()), (0, 1));
    assert!(
        plan.status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Stalled")
    );
}
