//! A changed template: what stays, what is replaced, and in which order.

use jiff::SignedDuration;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::Action;
use super::super::world::{World, template};
use super::{NOTHING, assert_outcome, check, round, settle};
use crate::hash::TemplateHash;
use crate::observed::Run;

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
fn e26_f18_without_replace_a_change_deletes_nothing_and_new_nodes_run_it() {
    let mut world = World::parse("template A\nnode n1\nnode n2");
    assert_eq!(settle(&mut world), ["create n1", "create n2"]);
    world.say("template B\nedited\nnode n3");
    assert_eq!(settle(&mut world), ["create n3"]);
    let hash = |node: &str| {
        let job = world
            .jobs
            .values()
            .find(|job| job.node.as_ref().is_some_and(|name| name.as_str() == node));
        job.unwrap().hash.clone()
    };
    assert_eq!(hash("n3"), TemplateHash::of(&world.full_template("B")).ok());
    assert_eq!(hash("n1"), TemplateHash::of(&world.full_template("A")).ok());
    assert_outcome(
        &world,
        "3/3 done, 2 outdated
         Ready Outdated
         Complete Outdated
         Finished Outdated",
    );
}

#[test]
fn e27_with_replace_each_node_on_another_template_runs_once_more_and_no_other() {
    let mut world = World::parse(
        "template B replace
         node running\nnode succeeded\nnode failed\nnode recorded\nnode suspended
         node current\nnode finished\nnode cordoned cordoned
         job running hash=A running\njob succeeded hash=A succeeded@5\njob failed hash=A failed@5
         job suspended hash=A suspended\njob current hash=B running\njob finished hash=B failed@5
         job cordoned hash=A succeeded@5
         record recorded hash=A succeeded",
    );
    let mut actions = settle(&mut world);
    actions.sort();
    assert_eq!(
        actions,
        [
            "create failed",
            "create recorded",
            "create running",
            "create succeeded",
            "create suspended",
            "delete failed (TemplateReplaced)",
            "delete running (TemplateReplaced)",
            "delete succeeded (TemplateReplaced)",
            "delete suspended (TemplateReplaced)",
        ]
    );
    world.say("node cordoned");
    assert_eq!(
        settle(&mut world),
        ["delete cordoned (TemplateReplaced)", "create cordoned"]
    );
    assert_outcome(
        &world,
        "7/8 done, 1 failed
         Stalled NodesFailed
         Failed NodesFailed
         Finished NodesFailed",
    );
}

#[test]
fn e28_f19_a_flip_to_replace_replaces_what_is_outdated_each_once() {
    let mut world = World::parse(
        "template B\nnode n1\nnode n2\nnode n3\njob n1 hash=A running\nrecord n2 hash=A failed\nrecord n3 hash=B succeeded",
    );
    assert_eq!(settle(&mut world), NOTHING);
    world.say("template B replace\nedited");
    assert_eq!(
        settle(&mut world),
        ["delete n1 (TemplateReplaced)", "create n2", "create n1"]
    );
    world.pass(SignedDuration::from_hours(24));
    assert_eq!(settle(&mut world), NOTHING);
}

#[test]
fn e19_the_next_job_starts_only_when_the_old_one_is_gone() {
    let mut world = World::parse("template B replace\nnode n1\njob n1 hash=A running");
    let plan = world.plan();
    assert_eq!(world.actions(&plan), ["delete n1 (TemplateReplaced)"]);
    let Action::Delete { uid, .. } = &plan.actions[0] else {
        panic!("{:?}", plan.actions)
    };
    assert_eq!(uid.as_str(), "n1-job", "the one that was seen");
    world.say("job n1 hash=A running deleted@1");
    assert_eq!(round(&mut world), NOTHING, "its Pod may still run");
    world.say("job n1 hash=A succeeded@2 deleted@1");
    assert_eq!(round(&mut world), NOTHING, "it is still there");
    world.lose("job", "n1");
    assert_eq!(settle(&mut world), ["create n1"]);
}

#[rstest]
#[case::keys_in_another_order(
    r#"{"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"image": "image:A", "name": "c"}]}},
        "backoffLimit": 2}}"#
)]
#[case::null_for_absent(
    r#"{"metadata": null, "spec": {"backoffLimit": 2, "template": {"spec": {
        "volumes": null, "containers": [{"name": "c", "image": "image:A"}], "restartPolicy": "Never"}}}}"#
)]
#[case::fraction_for_integer(
    r#"{"spec": {"backoffLimit": 2.0, "template": {"spec": {
        "containers": [{"name": "c", "image": "image:A"}], "restartPolicy": "Never"}}}}"#
)]
fn e30_the_same_template_in_another_form_replaces_nothing(#[case] form: &str) {
    let mut template = template("A");
    template["spec"]["backoffLimit"] = json!(2);
    let mut world = World::parse("template A replace\nnode n1\nnode n2").with_template(template);
    assert_eq!(settle(&mut world), ["create n1", "create n2"]);
    world.lose("job", "n2");
    let mut world = world.with_template(serde_json::from_str(form).unwrap());
    world.say("edited");
    assert_eq!(settle(&mut world), NOTHING);
    assert_eq!(world.status.unwrap().outdated, 0);
}

#[rstest]
#[case::label("/metadata", json!({"labels": {"team": "a"}}))]
#[case::annotation("/metadata", json!({"annotations": {"team": "a"}}))]
#[case::label_of_the_pod("/spec/template/metadata", json!({"labels": {"team": "a"}}))]
#[case::time_to_live("/spec/ttlSecondsAfterFinished", json!(60))]
fn e31_whatever_changes_inside_the_template_changes_the_template(#[case] place: &str, #[case] value: Value) {
    let mut changed = template("A");
    let (parent, member) = place.rsplit_once('/').unwrap();
    changed.pointer_mut(parent).unwrap()[member] = value;
    let ran = "node n1\njob n1 hash=A running";
    let kept = World::parse(&format!("template A\n{ran}")).with_template(changed.clone());
    assert_eq!((kept.plan().actions.len(), kept.plan().status.outdated), (0, 1));
    let replaced = World::parse(&format!("template A replace\n{ran}")).with_template(changed);
    assert_eq!(replaced.actions(&replaced.plan()), ["delete n1 (TemplateReplaced)"]);
}

#[test]
fn e31_a_change_outside_the_template_replaces_nothing() {
    let mut world = World::parse("template A replace\nnode n1 os=linux\nnode n2 os=linux");
    assert_eq!(settle(&mut world), ["create n1", "create n2"]);
    world.lose("job", "n2");
    for change in [
        "selector os=linux",
        "selector os=windows",
        "ignore os=linux\nselector os=linux",
        "template A",
        "template A replace",
    ] {
        world.say(&format!("{change}\nedited"));
        assert_eq!(settle(&mut world), NOTHING, "{change}");
    }
    assert_eq!(world.status.unwrap().succeeded, 2);
}

#[test]
fn f22_while_one_node_does_not_let_go_all_others_finish() {
    let mut world =
        World::parse("template B replace\nnode n1\nnode n2\njob n1 hash=A running deleted@0\njob n2 hash=A running");
    assert_eq!(round(&mut world), ["delete n2 (TemplateReplaced)"]);
    assert_eq!(round(&mut world), ["create n2"]);
    world.end("n2", Run::Succeeded { at: Some(world.now()) });
    for _ in 0..3 {
        world.pass(SignedDuration::from_hours(1));
        assert_eq!(round(&mut world), NOTHING, "never forced");
    }
    assert_outcome(
        &world,
        "1/2 done, 1 waiting (ReplacePending), 1 outdated
         Reconciling Running",
    );
}

#[test]
fn a_job_that_was_told_to_go_before_a_change_was_taken_back_is_waited_for_and_run_again() {
    let mut world = World::parse("template A replace\nnode n1\njob n1 hash=A running deleted@1");
    assert_eq!(round(&mut world), NOTHING);
    world.lose("job", "n1");
    assert_eq!(settle(&mut world), ["create n1"]);
}

#[rstest]
#[case::not_yet("conflict n1\nnow 7", "", "\nwake 1000000")]
#[case::now("conflict n1 due\nnow -1", "delete n1 (TemplateReplaced)\n", "")]
#[case::since_long("conflict n1 due\nnow 7", "delete n1 (TemplateReplaced)\n", "")]
fn f10_a_delete_that_failed_is_sent_again_once_its_time_has_come(
    #[case] setback: &str,
    #[case] delete: &str,
    #[case] wake: &str,
) {
    check(
        &format!("template B replace\nnode n1\njob n1 hash=A running\n{setback}"),
        &format!("{delete}0/1 done, 1 waiting (Replacing), 1 outdated\nReconciling Running{wake}"),
    );
}
