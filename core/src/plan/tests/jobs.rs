//! What becomes of Jobs that run, finish, vanish, outlive their time or belong to somebody else.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::world::{World, at};
use super::super::{Finished, Outcome, absorb};
use super::{NOTHING, assert_outcome, check, round, settle};
use crate::observed::{JobLite, JobView, Run};
use crate::record::Finish;

#[test]
fn a_running_job_is_kept() {
    check(
        "template A\nnode n1\njob n1 hash=A running",
        "0/1 done
         Reconciling Running",
    );
}

#[test]
fn e18_a_finished_job_deleted_by_hand_does_not_run_again() {
    check(
        "template A\nnode n1\nnode n2\nrecord n1 hash=A succeeded",
        "create n2
         1/2 done, 1 waiting (Starting)
         Reconciling Running",
    );
}

#[test]
fn a_job_that_finishes_after_its_deletion_is_not_a_result() {
    check(
        "template A\nnode n1\njob n1 hash=A succeeded@5 deleted@5",
        "0/1 done, 1 waiting (Replacing)
         Reconciling Running
         wake 65",
    );
    check(
        "template A\nnode n1\njob n1 hash=A succeeded@4 deleted@5",
        "1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[rstest]
#[case::stopped("job n1 hash=A succeeded@5 deleted@5", false)]
#[case::finished_before("job n1 hash=A succeeded@4 deleted@5", true)]
#[case::running("job n1 hash=A running", false)]
#[case::running_again("record n1 hash=A succeeded\njob n1 hash=A running", true)]
#[case::running_with_another_template("record n1 hash=B succeeded\njob n1 hash=A running", false)]
fn only_a_result_is_recorded_and_only_another_template_takes_it_away(#[case] job: &str, #[case] recorded: bool) {
    let status = World::parse(&format!("template A\nnode n1\n{job}")).plan().status;
    assert_eq!(!status.finished_nodes.is_empty(), recorded);
}

#[rstest]
#[case("now 30", "wake 65")]
#[case("now 65", "delete n1 (TtlExpired)")]
fn e20_the_job_goes_when_its_time_is_over_and_recorded(#[case] now: &str, #[case] expected: &str) {
    let world = format!("template A ttl=60\nnode n1\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded\n{now}");
    assert!(World::parse(&world).outcome().lines().any(|line| line == expected));
}

#[test]
fn e21_time_to_live_zero_waits_for_the_record() {
    let world = World::parse("template A ttl=0\nnode n1\njob n1 hash=A succeeded@0\nnow 5");
    assert_eq!(world.plan().actions, []);
    assert_eq!(world.plan().status.finished_nodes.len(), 1);
}

#[test]
fn e17_a_foreign_job_is_left_alone() {
    check(
        "template A\nnode n1\njob n1 hash=A running owner=foreign",
        "0/1 done, 1 waiting (NameConflict)
         Stalled NameConflict",
    );
    check(
        "template A\nnode n1\nconflict n1",
        "0/1 done, 1 waiting (NameConflict)
         Stalled NameConflict
         wake 1000000",
    );
    check(
        "template A\nnode n1\nconflict n1 due",
        "create n1
         0/1 done, 1 waiting (NameConflict)
         Stalled NameConflict",
    );
}

#[test]
fn e38_the_job_of_an_older_daemonjob_is_deleted_first() {
    check(
        "template A\nnode n1\njob n1 hash=A succeeded@5 owner=older",
        "delete n1 (OwnerGone)
         0/1 done, 1 waiting (Replacing)
         Reconciling Running",
    );
}

#[test]
fn e37_while_it_is_deleted_nothing_happens() {
    check("template A\ndeleting\nnode n1\nnode n2\njob n2 hash=B running", "");
}

#[test]
fn e39_a_suspended_job_waits() {
    check(
        "template A\nnode n1\njob n1 hash=A suspended",
        "0/1 done, 1 waiting (Suspended)
         Reconciling Running",
    );
}

#[test]
fn e17_a_foreign_job_matters_only_where_a_job_would_start() {
    let foreign = "node n1\njob n1 hash=A running owner=foreign";
    check(
        &format!("template B replace\n{foreign}\nrecord n1 hash=A succeeded"),
        "0/1 done, 1 waiting (NameConflict), 1 outdated
         Stalled NameConflict",
    );
    check(
        &format!("template B\n{foreign}\nrecord n1 hash=A succeeded"),
        "1/1 done, 1 outdated
         Ready Outdated
         Complete Outdated
         Finished Outdated",
    );
    check(
        &format!("template A\n{foreign} \nnode n1 taint=gpu:NoSchedule"),
        "all nodes skipped
         Reconciling AllNodesSkipped",
    );
}

#[test]
fn e39_a_suspended_job_waits_also_where_its_successor_may_not_start() {
    check(
        "template B replace\nnode n1 cordoned\njob n1 hash=A suspended\nnow 700",
        "0/1 done, 1 waiting (Suspended), 1 outdated
         Reconciling Running",
    );
}

#[rstest]
#[case::no_owner("hash=A owner=foreign")]
#[case::of_another_daemonjob("hash=A owner=other")]
#[case::without_its_hash("")]
fn e17_f24_f25_a_job_that_is_not_recognisable_as_ours_is_left_alone_until_the_name_is_free(#[case] marks: &str) {
    for run in ["running", "succeeded@5", "failed@5", "suspended"] {
        let mut world = World::parse(&format!("template A\nnode n1\nnode n2\njob n1 {run} {marks}"));
        let plan = world.plan();
        assert_eq!(world.actions(&plan), ["create n2"], "{run}");
        let status = &plan.status;
        assert_eq!(
            (status.waiting, status.active, status.succeeded, status.failed),
            (2, 0, 0, 0)
        );
        assert_eq!(status.finished_nodes, [], "{run}: not counted");
        let group = status
            .waiting_nodes
            .iter()
            .find(|group| group.reason == "NameConflict")
            .unwrap();
        let line = format!("kubectl delete job {} -n ns", world.slots()[0].name);
        assert!(
            group.message.as_ref().is_some_and(|message| message.ends_with(&line)),
            "{group:?}"
        );
        world.apply(&plan);
        world.end("n2", Run::Succeeded { at: Some(world.now()) });
        assert_outcome(
            &world,
            "1/2 done, 1 waiting (NameConflict)
             Stalled NameConflict",
        );
        world.lose("job", "n1");
        assert_eq!(settle(&mut world), ["create n1"], "{run}");
    }
}

#[test]
fn e17_a_taken_name_is_tried_again_with_back_off() {
    let taken = Outcome::Taken { detail: "d".into() };
    let mut waits = Vec::new();
    let mut setback = None;
    for _ in 0..10 {
        (setback, _) = absorb(setback.as_ref(), None, &taken, at(0), 0.5);
        let setback = setback.as_ref().unwrap();
        assert_eq!(setback.because.reason.as_str(), "NameConflict");
        waits.push(setback.retry_at.duration_since(at(0)).as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
}

#[test]
fn e18_f23_a_job_deleted_by_hand_is_made_again_only_if_it_had_not_finished() {
    let mut world = World::parse("template A\nnode n1");
    assert_eq!(round(&mut world), ["create n1"]);
    world.lose("job", "n1");
    assert_eq!(settle(&mut world), ["create n1"], "once, for it finished this time");
    world.lose("job", "n1");
    assert_eq!(settle(&mut world), NOTHING);
    assert!(world.outcome().starts_with("1/1 done\nReady AllSucceeded"));
}

#[test]
fn e18_an_unfinished_job_that_is_going_is_waited_for() {
    let mut world = World::parse("template A\nnode n1\njob n1 hash=A running deleted@3");
    assert_outcome(
        &world,
        "0/1 done, 1 waiting (Replacing)
         Reconciling Running
         wake 63",
    );
    assert_eq!(round(&mut world), NOTHING);
    world.lose("job", "n1");
    assert_eq!(settle(&mut world), ["create n1"]);
}

#[rstest]
#[case("0")]
#[case("60")]
fn e20_e21_an_expired_job_goes_once_its_outcome_is_stored_and_nothing_runs_again(#[case] ttl: &str) {
    let mut world = World::parse(&format!("template A ttl={ttl} replace\nnode n1\nnode n2\nnow 10"));
    assert_eq!(round(&mut world), ["create n1", "create n2"]);
    world.end("n1", Run::Succeeded { at: Some(world.now()) });
    world.end(
        "n2",
        Run::Failed {
            at: Some(world.now()),
            reason: "R".into(),
            message: "m".into(),
        },
    );
    world.pass(SignedDuration::from_secs(60));
    assert_eq!(round(&mut world), NOTHING, "the record is not stored before this round");
    assert_eq!(round(&mut world), ["delete n1 (TtlExpired)", "delete n2 (TtlExpired)"]);
    assert_eq!(world.jobs.len(), 0);
    for _ in 0..3 {
        assert_eq!(round(&mut world), NOTHING);
        world.pass(SignedDuration::from_hours(24));
    }
    assert_outcome(
        &world,
        "1/2 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
    let failures = world.plan().status.failures;
    assert_eq!(
        (failures[0].node.as_str(), failures[0].reason.as_str()),
        ("n2", "R"),
        "told though the Job is gone"
    );
}

#[rstest]
#[case::deselected("selector os=linux\nnode n1")]
#[case::cordoned("node n1 cordoned")]
fn e20_a_finished_job_expires_whatever_became_of_its_node(#[case] node: &str) {
    let world = World::parse(&format!(
        "template A ttl=60\n{node}\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded\nnow 65"
    ));
    assert_eq!(world.actions(&world.plan()), ["delete n1 (TtlExpired)"]);
}

#[test]
fn e20_without_a_time_to_live_a_finished_job_stays() {
    check(
        "template A\nnode n1\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded\nnow 100000000",
        "1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
}

#[test]
fn e22_a_finished_job_whose_pods_are_gone_is_as_finished_as_before() {
    let at = "1970-01-12T13:46:45Z";
    let finished = |pods: Value| -> JobView {
        let mut status =
            json!({"startTime": at, "completionTime": at, "conditions": [{"type": "Complete", "status": "True"}]});
        json_patch::merge(&mut status, &pods);
        let job = json!({"metadata": {"name": "j", "uid": "u", "creationTimestamp": at}, "status": status});
        serde_json::from_value::<JobLite>(job).unwrap().into()
    };
    let (with, without) = (finished(json!({"succeeded": 1, "ready": 0})), finished(json!({})));
    assert_eq!(with, without);
    assert_eq!((without.podless_since, without.unready_since), (None, None));
    assert!(matches!(without.run, Run::Succeeded { .. }));
}

#[test]
fn e23_a_job_that_no_status_tells_of_is_found_and_counted_once() {
    let mut world = World::parse("template A\nnode n1\nnode n2");
    let lost = world.plan();
    world.apply(&lost);
    world.status = None;
    assert_outcome(
        &world,
        "0/2 done
         Reconciling Running",
    );
    let status = world.plan().status;
    assert_eq!((status.desired, status.active), (2, 2));
    assert_eq!(settle(&mut world), NOTHING);
}

#[rstest]
#[case::years_behind(-1_000_000_000)]
#[case::years_ahead(1_000_000_000)]
fn e43_a_wrong_clock_moves_deletes_and_starts_nothing(#[case] now: i64) {
    let mut world = World::parse(&format!(
        "template A ttl=60 replace
         node n1\nnode n2\nnode n3\nnode n4 cordoned
         job n1 hash=A succeeded@5\njob n2 hash=A running\nrecord n1 hash=A succeeded\nrecord n3 hash=A failed
         started\nnow {now}"
    ));
    let expected: &[&str] = if now > 0 { &["delete n1 (TtlExpired)"] } else { &[] };
    assert_eq!(round(&mut world), expected);
    assert_eq!(round(&mut world), NOTHING);
}

#[test]
fn e43_a_time_to_live_that_was_over_long_ago_ends_with_the_record() {
    let world = "template A ttl=60\nnode n1\njob n1 hash=A succeeded@5\nnow 100000";
    assert_eq!(World::parse(world).plan().actions, []);
    let recorded = World::parse(&format!("{world}\nrecord n1 hash=A succeeded"));
    assert_eq!(recorded.actions(&recorded.plan()), ["delete n1 (TtlExpired)"]);
}

#[test]
fn e38_f17_made_again_under_its_name_it_takes_over_no_job_and_no_result_and_runs_on_every_node() {
    let mut world = World::parse(
        "template A\nselector os=linux
         node n1 os=linux\nnode n2 os=linux\nnode n3 os=linux\nnode n4
         job n1 hash=A running owner=older\njob n2 hash=A succeeded@5 owner=older\njob n4 hash=A failed@5 owner=older",
    );
    let plan = world.plan();
    assert_eq!(
        world.actions(&plan),
        [
            "delete n1 (OwnerGone)",
            "delete n2 (OwnerGone)",
            "create n3",
            "delete n4 (OwnerGone)"
        ]
    );
    assert_eq!(plan.status.finished_nodes, []);
    world.apply(&plan);
    assert_eq!(settle(&mut world), ["create n1", "create n2"]);
    assert!(world.outcome().starts_with("3/3 done\nReady AllSucceeded"));
}

#[test]
fn e38_the_job_of_an_older_daemonjob_that_is_going_is_waited_for_and_told_after_a_minute() {
    let world = "template A\nnode n1\njob n1 hash=A running deleted@5 owner=older";
    check(
        &format!("{world}\nnow 10"),
        "0/1 done, 1 waiting (Replacing)
         Reconciling Running
         wake 65",
    );
    check(
        &format!("{world}\nnow 65"),
        "0/1 done, 1 waiting (ReplacePending)
         Reconciling Running",
    );
}

#[rstest]
#[case::nothing_yet("node n1")]
#[case::older("node n1\njob n1 hash=A succeeded@5 owner=older")]
#[case::outdated("node n1\njob n1 hash=B running")]
#[case::node_gone("job n1 hash=A running")]
#[case::expired("node n1\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded")]
#[case::retried("node n1\njob n1 hash=A failed@5\nrecord n1 hash=A failed\npending again n1\nretry again")]
#[case::wrong_hash("node n1\nhash=wrong")]
fn e37_f16_from_its_deletion_on_nothing_is_written_whatever_there_was_to_do(#[case] left: &str) {
    let world = format!("template A replace ttl=60\nnow 90\n{left}");
    assert_ne!(World::parse(&world).plan().actions, [], "there is something to do");
    let world = World::parse(&format!("{world}\ndeleting"));
    let plan = world.plan();
    assert_eq!(
        (world.actions(&plan).len(), plan.events.len(), plan.wake_at),
        (0, 0, None)
    );
    assert_eq!(plan.status, *world.subject().status());
}

#[test]
fn e39_a_job_that_is_resumed_runs_on() {
    let mut world = World::parse("template A\nnode n1\njob n1 hash=A suspended");
    assert_eq!(round(&mut world), NOTHING);
    world.end("n1", Run::Running);
    assert_outcome(
        &world,
        "0/1 done
         Reconciling Running",
    );
    assert_eq!(settle(&mut world), NOTHING);
}

#[test]
fn e50_a_record_that_was_put_back_into_an_empty_status_keeps_finished_work_from_running() {
    let mut world = World::parse(
        "template A replace\nnode n1\nnode n2\nnode n3\nrecord n1 hash=A succeeded\nrecord n2 hash=A failed",
    );
    assert_eq!(settle(&mut world), ["create n3"]);
    let status = world.status.unwrap();
    assert_eq!((status.succeeded, status.failed), (2, 1));
}

#[test]
fn e36_e49_a_pod_that_finds_no_room_or_no_image_leaves_its_job_running() {
    let at = "1970-01-12T13:46:45Z";
    let job = json!({
        "metadata": {"name": "j", "uid": "u", "creationTimestamp": at},
        "status": {"startTime": at, "active": 1, "ready": 0, "terminating": 0},
    });
    let job = JobView::from(serde_json::from_value::<JobLite>(job).unwrap());
    assert_eq!((&job.run, job.podless_since), (&Run::Running, None));
    assert_eq!(job.unready_since, at.parse().ok(), "stuck five minutes later");
}

#[test]
fn e18_what_ended_and_is_gone_counts_and_is_recorded() {
    let world = World::parse("template A\nnode n1\nended n1 hash=A succeeded@5");
    check(
        "template A\nnode n1\nended n1 hash=A succeeded@5",
        "1/1 done
         Ready AllSucceeded
         Complete AllSucceeded
         Finished AllSucceeded",
    );
    assert_eq!(world.plan().status.finished_nodes.len(), 1);
    check(
        "template B replace\nnode n1\nended n1 hash=A succeeded@5",
        "create n1
         0/1 done, 1 waiting (Starting), 1 outdated
         Reconciling Running",
    );
}

#[test]
fn e18_e45_what_ended_runs_again_only_if_it_was_not_the_retry_itself() {
    let pending = "template A\nretry t\npending t n1\nnode n1";
    let before = World::parse(&format!("{pending}\nended n1 hash=A failed@5"));
    assert_eq!(before.actions(&before.plan()), ["create n1"]);
    let retried = World::parse(&format!("{pending}\nended n1 hash=A retry=t succeeded@5"));
    let plan = retried.plan();
    assert_eq!(retried.actions(&plan), NOTHING);
    assert_eq!(plan.status.succeeded, 1);
    assert!(plan.status.retry.is_none_or(|retry| retry.pending.is_empty()));
}

#[test]
fn e20_an_outdated_job_expires_also_where_its_successor_cannot_start() {
    let world = "template B replace ttl=10\nnode n1 cordoned\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded";
    check(
        &format!("{world}\nnow 20"),
        "delete n1 (TtlExpired)
         0/1 done, 1 waiting (Cordoned), 1 outdated
         Reconciling Waiting
         wake 600",
    );
}

#[test]
fn e20_a_finished_job_that_is_going_is_not_told_twice() {
    let world = World::parse(
        "template A ttl=60\nnode n1\njob n1 hash=A succeeded@4 deleted@70\nrecord n1 hash=A succeeded\nnow 90",
    );
    assert_eq!(world.plan().actions, []);
}

#[test]
fn e17_the_next_try_is_at_the_second_that_was_said() {
    check(
        "template A\nnode n1\nconflict n1 due\nnow -1",
        "create n1
         0/1 done, 1 waiting (NameConflict)
         Stalled NameConflict",
    );
    check(
        "template A\nnode n1 cordoned\nconflict n1 due\nnow -1",
        "0/1 done, 1 waiting (Cordoned)
         Reconciling Waiting
         wake 599",
    );
}

#[rstest]
#[case("BackoffLimitExceeded", "BackoffLimitExceeded")]
#[case("PodFailurePolicy", "PodFailurePolicy")]
#[case("of a newer Kubernetes", "Other")]
fn a_failure_counts_under_a_reason_of_the_job_api(#[case] reason: &str, #[case] counted: &'static str) {
    let mut world = World::parse("template A\nnode n1\njob n1 hash=A running");
    world.end(
        "n1",
        Run::Failed {
            at: Some(at(5)),
            reason: reason.into(),
            message: "m".into(),
        },
    );
    let finished = Finished {
        finish: Finish::Failed,
        reason: counted,
    };
    assert_eq!(world.plan().finished, [finished]);
}
