//! Running finished nodes once more because the annotation asks for it.

use jiff::SignedDuration;
use rstest::rstest;

use super::super::world::{World, at};
use super::{NOTHING, assert_outcome, check, news, round, settle};
use crate::observed::Run;

#[test]
fn e45_a_retry_runs_what_failed_once_more_also_without_replace() {
    let mut world = World::parse(
        "template A\nnode n1\nnode n2\njob n1 hash=A failed@5\njob n2 hash=A succeeded@5\nretry again\ncompleted",
    );
    assert_eq!(world.plan().actions, [], "the token is stored first");
    world.apply(&world.plan());
    let lines = |world: &World| world.outcome();
    assert_eq!(
        lines(&world),
        "delete n1 (Retried)\n1/2 done, 1 waiting (Replacing), 1 outdated\nReconciling Running"
    );
    world.apply(&world.plan());
    assert_eq!(lines(&world).lines().next(), Some("create n1"));
    world.apply(&world.plan());
    assert_eq!(lines(&world), "1/2 done\nReconciling Running");
    world.apply(&world.plan());
    assert_eq!(world.plan().status.retry.unwrap().pending, "");
    world.end("n1", Run::Succeeded { at: Some(world.now()) });
    world.apply(&world.plan());
    assert!(
        lines(&world).starts_with("2/2 done\nReady AllSucceeded"),
        "{}",
        lines(&world)
    );
    assert_eq!(world.plan().actions, [], "each token is handled once");
}

#[test]
fn e45_named_nodes_run_again_whatever_their_result_and_unknown_names_are_told() {
    let mut world = World::parse(
        "template A\nnode n1\nnode n2\nnode n3\njob n1 hash=A succeeded@5\njob n2 hash=A running\njob n3 hash=A failed@5
         record n1 hash=A succeeded\nretry again n1,n2,n9",
    );
    let plan = world.plan();
    assert!(
        plan.events.iter().any(|event| event.note.contains("n9")),
        "{:?}",
        plan.events
    );
    world.apply(&plan);
    let outcome = world.outcome();
    assert!(
        outcome.starts_with("delete n1 (Retried)\ndelete n2 (Retried)\n"),
        "{outcome}"
    );
    assert!(!outcome.contains("delete n3"), "{outcome}");
}

#[test]
fn e45_a_retry_whose_job_was_recorded_only_creates_and_marks_it() {
    let world = World::parse("template A\nnode n1\nrecord n1 hash=A failed\npending again n1\nretry again");
    assert!(world.outcome().starts_with("create n1"));
    let job = super::super::build_job(&world.subject(), &world.slots()[0]).unwrap();
    assert_eq!(job["metadata"]["annotations"]["daemon.justk8s.com/retry"], "again");
}

#[test]
fn e45_the_stored_status_forgets_what_a_retry_no_longer_waits_for() {
    let world = World::parse("template A\nnode n1\njob n1 hash=A running retry=again\npending again n1\nretry again");
    let (old, new) = (world.subject().status().clone(), world.plan().status);
    assert_eq!(new.retry.as_ref().map(|retry| retry.pending.as_str()), Some(""));
    let mut stored = serde_json::to_value(&old).unwrap();
    json_patch::merge(&mut stored, &super::super::status_patch(&old, &new).unwrap());
    assert_eq!(
        serde_json::from_value::<crate::types::DaemonJobStatus>(stored).unwrap(),
        new
    );
}

#[test]
fn m7_the_outcome_of_the_run_before_a_retry_does_not_stand_for_that_of_the_retry() {
    let world =
        "template A ttl=0\nnode n1\njob n1 hash=A failed@5 retry=again\nrecord n1 hash=A failed\nretry again\nnow 9";
    let stored = World::parse(&format!("{world}\npending again n1")).plan();
    assert_eq!(
        (stored.actions, stored.status.retry.unwrap().pending.as_str()),
        (vec![], "")
    );
    check(
        &format!("{world}\npending again"),
        "delete n1 (TtlExpired)
         0/1 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
}

#[test]
fn l01_the_time_of_completion_stays_though_a_retry_names_a_skipped_node() {
    let mut world = World::parse(
        "template A\nnode n1\nnode n2 taint=gpu:NoSchedule\njob n1 hash=A succeeded@5\npending again n2\nretry again n2",
    );
    world.apply(&world.plan());
    world.pass(SignedDuration::from_secs(60));
    assert_eq!(Some(world.plan().status), world.status);
}

#[test]
fn e45_a_retry_of_all_that_failed_takes_over_what_the_last_one_has_not_started() {
    let world = "template A\nnode n1\nnode n2\nrecord n1 hash=A failed\nrecord n2 hash=A succeeded\npending t1 n1";
    let pending = |request: &str| {
        let retry = World::parse(&format!("{world}\nretry {request}")).plan().status.retry;
        retry.map(|retry| (retry.token, retry.pending.split_whitespace().count()))
    };
    assert_eq!(pending("t2"), Some(("t2".to_owned(), 1)));
    assert_eq!(
        pending("t2 n2"),
        Some(("t2".to_owned(), 1)),
        "names are all that counts"
    );
}

#[test]
fn e45_a_token_runs_every_failed_node_once_more_and_no_other() {
    let mut world = World::parse(
        "template A\nnode n1\nnode n2\nnode n3\nnode n4\njob n1 hash=A failed@5\njob n2 hash=A succeeded@5
         job n3 hash=A running\nrecord n4 hash=A failed\nretry again",
    );
    assert_eq!(round(&mut world), NOTHING, "the token is stored first");
    let retry = world.status.as_ref().unwrap().retry.as_ref().unwrap();
    assert_eq!(
        (retry.token.as_str(), retry.pending.split(' ').count()),
        ("again", 2),
        "n1 and n4"
    );
    assert_eq!(settle(&mut world), ["delete n1 (Retried)", "create n4", "create n1"]);
    assert!(
        world.outcome().starts_with("4/4 done\nReady AllSucceeded"),
        "{}",
        world.outcome()
    );
    for node in ["n1", "n2", "n3", "n4"] {
        world.end(node, failed());
    }
    assert_eq!(settle(&mut world), NOTHING, "the same token again");
    world.say("retry later");
    assert_eq!(
        settle(&mut world).len(),
        8,
        "another token: each is deleted and created"
    );
}

#[test]
fn e45_a_retry_that_fails_again_is_final_again() {
    let mut world = World::parse("template A\nnode n1\nrecord n1 hash=A failed\nretry again");
    assert_eq!(round(&mut world), NOTHING);
    assert_eq!(round(&mut world), ["create n1"]);
    world.end("n1", failed());
    for _ in 0..3 {
        assert_eq!(round(&mut world), NOTHING);
    }
    assert_outcome(
        &world,
        "0/1 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
}

#[test]
fn e45_named_nodes_run_once_more_whatever_their_result() {
    let mut world = World::parse(
        "template A\nnode n1\nnode n2\nnode n3\nnode n4\njob n1 hash=A succeeded@5\njob n2 hash=A running
         job n3 hash=A failed@5\njob n4 hash=A failed@5\nretry again n1,n2,n3",
    );
    assert_eq!(round(&mut world), NOTHING);
    let mut actions = settle(&mut world);
    actions.sort();
    assert_eq!(
        actions,
        [
            "create n1",
            "create n2",
            "create n3",
            "delete n1 (Retried)",
            "delete n2 (Retried)",
            "delete n3 (Retried)"
        ]
    );
    assert_outcome(
        &world,
        "3/4 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
}

#[rstest]
#[case::not_there("n1,n9", "Warning RetryUnknownNodes retry again: not selected or not there: n9")]
#[case::not_selected("n2", "Warning RetryUnknownNodes retry again: not selected or not there: n2")]
fn e45_names_of_no_selected_node_are_told_once(#[case] names: &str, #[case] told: &str) {
    let mut world = World::parse(&format!(
        "template A\nselector os=linux\nnode n1 os=linux\nnode n2\nrecord n1 hash=A failed\nretry again {names}"
    ));
    let plan = world.plan();
    assert!(news(&plan).iter().any(|event| event == told), "{:?}", news(&plan));
    world.apply(&plan);
    let again = news(&world.plan());
    assert!(
        !again.iter().any(|event| event.contains("RetryUnknownNodes")),
        "{again:?}"
    );
}

#[test]
fn e45_a_retried_node_that_cannot_take_work_keeps_its_job_until_it_can() {
    let mut world = World::parse(
        "template A\nnode n1 cordoned\njob n1 hash=A failed@5\nrecord n1 hash=A failed\nretry again\nnow 5",
    );
    for _ in 0..3 {
        assert_eq!(round(&mut world), NOTHING);
    }
    assert_outcome(
        &world,
        "0/1 done, 1 waiting (Cordoned), 1 outdated
         Reconciling Waiting
         wake 600",
    );
    world.say("node n1");
    assert_eq!(settle(&mut world), ["delete n1 (Retried)", "create n1"]);
}

#[rstest]
#[case::starting("node n1", "0/1 done, 1 waiting (Starting), 1 outdated")]
#[case::cordoned("node n1 cordoned", "0/1 done, 1 waiting (Cordoned), 1 outdated")]
#[case::refused("node n1\nrefused QuotaExceeded", "0/1 done, 1 waiting (QuotaExceeded), 1 outdated")]
#[case::conflict(
    "node n1\njob n1 running owner=foreign",
    "0/1 done, 1 waiting (NameConflict), 1 outdated"
)]
#[case::replaced("node n1\njob n1 hash=A running", "0/1 done, 1 waiting (Replacing), 1 outdated")]
#[case::started("node n1\njob n1 hash=A running retry=again", "0/1 done")]
fn e45_a_node_is_outdated_while_its_retry_is_pending(#[case] node: &str, #[case] summary: &str) {
    let status = World::parse(&format!("template A\n{node}\npending again n1\nretry again"))
        .plan()
        .status;
    assert_eq!(status.summary.as_deref(), Some(summary));
}

fn failed() -> Run {
    Run::Failed {
        at: Some(at(9)),
        reason: "BackoffLimitExceeded".into(),
        message: "m".into(),
    }
}
