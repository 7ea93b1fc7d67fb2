//! What becomes of Jobs that run, finish, vanish, outlive their time or belong to somebody else.

use rstest::rstest;

use super::super::world::World;
use super::check;

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
