//! The planner's tests: text worlds for single situations, properties for the laws.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::json;

use super::Action;
use super::world::World;
use crate::observed::Run;

#[track_caller]
fn check(world: &str, expected: &str) {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(World::parse(world).outcome(), expected.join("\n"));
}

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
fn a_running_job_is_kept() {
    check(
        "template A\nnode n1\njob n1 hash=A running",
        "0/1 done
         Reconciling Running",
    );
}

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
fn e26_a_changed_template_without_replace_deletes_nothing() {
    check(
        "template B\nnode n1\nnode n2\nnode n3\njob n1 hash=A succeeded@5\njob n2 hash=A running",
        "create n3
         1/3 done, 1 waiting (Starting), 2 outdated
         Reconciling Running",
    );
    check(
        "template B\nnode n1\njob n1 hash=A succeeded@5",
        "1/1 done, 1 outdated
         Ready Outdated
         Complete Outdated
         Finished Outdated",
    );
}

#[test]
fn e27_a_changed_template_with_replace_deletes_what_is_outdated() {
    check(
        "template B replace
         node n1\nnode n2\nnode n3\nnode n4
         job n1 hash=A running\njob n2 hash=A succeeded@5\njob n3 hash=B running
         record n2 hash=A succeeded\nrecord n4 hash=A succeeded",
        "delete n1 (TemplateReplaced)
         delete n2 (TemplateReplaced)
         create n4
         0/4 done, 3 waiting (Replacing, Starting), 3 outdated
         Reconciling Running",
    );
}

#[test]
fn m7_a_finished_outdated_job_is_deleted_only_once_its_outcome_is_recorded() {
    check(
        "template B replace\nnode n1\njob n1 hash=A succeeded@5",
        "0/1 done, 1 waiting (Replacing), 1 outdated
         Reconciling Running",
    );
}

#[test]
fn e19_nothing_starts_before_the_old_job_is_gone() {
    check(
        "template B replace\nnode n1\njob n1 hash=A running deleted@3",
        "0/1 done, 1 waiting (Replacing), 1 outdated
         Reconciling Running
         wake 63",
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
fn e39_a_suspended_job_waits() {
    check(
        "template A\nnode n1\njob n1 hash=A suspended",
        "0/1 done, 1 waiting (Suspended)
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
fn flipping_between_templates_reruns_exactly_the_nodes_that_started_the_other() {
    let mut world = World::parse("template A replace\nnode n1\nnode n2 cordoned\nrecord n2 hash=A succeeded");
    world.apply(&world.plan());
    world.end("n1", Run::Succeeded { at: Some(world.now()) });
    world.apply(&world.plan());
    world.set_template("B");
    for _ in 0..2 {
        world.apply(&world.plan());
    }
    world.set_template("A");
    world.apply(&world.plan());
    assert_eq!(world.outcome().lines().next(), Some("create n1"));
}

#[test]
fn the_first_status_holds_counters_of_zero_too() {
    let plan = World::parse("template A\nnode n1").plan();
    let stored = crate::types::DaemonJobStatus {
        observed_generation: -1,
        ..Default::default()
    };
    let patch = super::status_patch(&stored, &plan.status).unwrap();
    assert_eq!(patch["failed"], 0);
    assert_eq!(super::status_patch(&plan.status, &plan.status), None);
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
    let patch = super::status_patch(&older, &plan.status).unwrap();
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
fn e06_the_unknown_outcome_of_a_gone_node_is_told() {
    let told = |job: &str| match &World::parse(&format!("template A\njob n1 hash=A {job}")).plan().actions[..] {
        [Action::Delete { news, .. }] => news.is_some(),
        other => panic!("{other:?}"),
    };
    assert!(told("running") && !told("succeeded@5"));
}

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
    let job = super::build_job(&world.subject(), &world.slots()[0]).unwrap();
    assert_eq!(job["metadata"]["annotations"]["daemon.justk8s.com/retry"], "again");
}

#[test]
fn f22_a_job_that_does_not_go_is_told_after_a_minute_and_never_forced() {
    let world = "template B replace\nnode n1\njob n1 hash=A running deleted@10";
    check(
        &format!("{world}\nnow 69"),
        "0/1 done, 1 waiting (Replacing), 1 outdated
         Reconciling Running
         wake 70",
    );
    check(
        &format!("{world}\nnow 70"),
        "0/1 done, 1 waiting (ReplacePending), 1 outdated
         Reconciling Running",
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
    check(
        &format!("{world}\nnow 15\npodless n1 last"),
        "0/1 done
         Reconciling Running
         wake 20",
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
fn e45_the_stored_status_forgets_what_a_retry_no_longer_waits_for() {
    let world = World::parse("template A\nnode n1\njob n1 hash=A running retry=again\npending again n1\nretry again");
    let (old, new) = (world.subject().status().clone(), world.plan().status);
    assert_eq!(new.retry.as_ref().map(|retry| retry.pending.as_str()), Some(""));
    let mut stored = serde_json::to_value(&old).unwrap();
    json_patch::merge(&mut stored, &super::status_patch(&old, &new).unwrap());
    assert_eq!(
        serde_json::from_value::<crate::types::DaemonJobStatus>(stored).unwrap(),
        new
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

#[test]
fn l11_a_time_that_has_come_is_not_waited_for() {
    let world = World::parse("template A\nnode n1 cordoned\nconflict n1 due\nnow 700");
    assert_eq!(world.plan().wake_at, None);
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
