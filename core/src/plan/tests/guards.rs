//! What is planned on a view that lags goes out only if a fresh read says the same.

use rstest::rstest;

use super::super::world::World;
use super::super::{Action, Fresh, Guard, permits};

/// The one write that is planned in a world, and whether it may still go out where a fresh read shows another.
#[track_caller]
fn asked_afresh(planned: &str, fresh: &str) -> (String, bool) {
    let (world, fresh) = (World::parse(planned), World::parse(fresh));
    let plan = world.plan();
    let [action] = &plan.actions[..] else {
        panic!("not one write: {:?}", plan.actions)
    };
    (world.actions(&plan).concat(), goes_out(guard_of(action), &fresh))
}

fn guard_of(action: &Action) -> &Guard {
    match action {
        Action::Create { guard, .. } | Action::Delete { guard, .. } => guard,
        Action::RestoreHash { .. } => panic!("guarded by its resourceVersion: {action:?}"),
    }
}

fn goes_out(guard: &Guard, fresh: &World) -> bool {
    let node = guard.node.node().and_then(|name| fresh.nodes.get(name));
    let subject = fresh.subject();
    permits(
        guard,
        &Fresh {
            subject: Some(&subject),
            node: node.map(AsRef::as_ref),
        },
    )
}

#[rstest]
#[case::still_gone("", true)]
#[case::there_after_all("node n1", false)]
#[case::made_again("node n1 uid=new", true)]
fn e06_f09_the_job_of_a_node_goes_only_if_a_fresh_read_misses_the_node(#[case] fresh: &str, #[case] goes: bool) {
    let planned = asked_afresh("template A\njob n1 hash=A running", &format!("template A\n{fresh}"));
    assert_eq!(planned, ("delete a gone node (NodeGone)".to_owned(), goes));
}

#[rstest]
#[case::as_seen("node n1 uid=new", true)]
#[case::of_the_old_uid_after_all("node n1", false)]
fn e07_f21_the_job_of_a_node_made_again_goes_only_if_a_fresh_read_shows_it(#[case] fresh: &str, #[case] goes: bool) {
    let seen = "template A\nnode n1 uid=new\njob n1 hash=A running";
    let planned = asked_afresh(seen, &format!("template A\n{fresh}"));
    assert_eq!(planned, ("delete n1 (NodeRecreated)".to_owned(), goes));
}

#[rstest]
#[case::label_still_off("node n1 os=windows", true)]
#[case::label_back("node n1 os=linux", false)]
fn e09_f20_the_job_of_a_deselected_node_goes_only_if_a_fresh_read_shows_the_label_off(
    #[case] fresh: &str,
    #[case] goes: bool,
) {
    let template = "template A\nselector os=linux";
    let planned = asked_afresh(
        &format!("{template}\nnode n1 os=windows\njob n1 hash=A running"),
        &format!("{template}\n{fresh}"),
    );
    assert_eq!(planned, ("delete n1 (NodeNotSelected)".to_owned(), goes));
}

#[rstest]
#[case::as_seen("template B replace", true)]
#[case::changed_back("template A replace", false)]
#[case::changed_back_past_the_webhook("template B replace\nhash=wrong", false)]
#[case::edited("template B\nedited", false)]
#[case::told_to_go("template B replace\ndeleting", false)]
#[case::made_again("template B replace\nuid another", false)]
fn e25_a_job_is_replaced_only_if_a_fresh_read_shows_the_same_daemonjob(#[case] fresh: &str, #[case] goes: bool) {
    let planned = asked_afresh("template B replace\nnode n1\njob n1 hash=A running", fresh);
    assert_eq!(planned, ("delete n1 (TemplateReplaced)".to_owned(), goes));
}

#[rstest]
#[case::as_seen("template A", true)]
#[case::edited("template B\nedited", false)]
#[case::told_to_go("template A\ndeleting", false)]
#[case::made_again("template A\nuid another", false)]
#[case::finished_elsewhere("template A\nrecord n1 hash=A succeeded", false)]
#[case::another_finished("template A\nrecord n2 hash=A succeeded", true)]
#[case::retry_stored_elsewhere("template A\npending again n1", false)]
fn e25_m9_a_job_starts_only_if_a_fresh_read_shows_the_same_daemonjob_and_record(
    #[case] fresh: &str,
    #[case] goes: bool,
) {
    let planned = asked_afresh("template A\nnode n1", fresh);
    assert_eq!(planned, ("create n1".to_owned(), goes));
}

#[rstest]
#[case::stored("record n1 hash=A succeeded", true)]
#[case::lost("", false)]
#[case::stored_otherwise("record n1 hash=A failed", false)]
fn e20_an_expired_job_goes_only_if_a_fresh_read_shows_its_outcome_recorded(#[case] fresh: &str, #[case] goes: bool) {
    let template = "template A ttl=60\nnow 90";
    let planned = asked_afresh(
        &format!("{template}\nnode n1\njob n1 hash=A succeeded@5\nrecord n1 hash=A succeeded"),
        &format!("{template}\n{fresh}"),
    );
    assert_eq!(planned, ("delete n1 (TtlExpired)".to_owned(), goes));
}

#[rstest]
#[case::pending("pending again n1", true)]
#[case::done("pending again", false)]
#[case::of_another_token("pending other n1", false)]
fn e45_the_job_of_a_retried_node_goes_only_if_a_fresh_read_shows_the_retry_pending(
    #[case] fresh: &str,
    #[case] goes: bool,
) {
    let planned = asked_afresh(
        "template A\nnode n1\njob n1 hash=A running\npending again n1\nretry again",
        &format!("template A\n{fresh}"),
    );
    assert_eq!(planned, ("delete n1 (Retried)".to_owned(), goes));
}

#[rstest]
#[case::as_seen("template A", true)]
#[case::the_older_is_back("template A\nuid older", false)]
fn e38_f17_the_job_of_an_older_daemonjob_goes_only_if_a_fresh_read_proves_that_one_gone(
    #[case] fresh: &str,
    #[case] goes: bool,
) {
    let planned = asked_afresh("template A\nnode n1\njob n1 hash=A running owner=older", fresh);
    assert_eq!(planned, ("delete n1 (OwnerGone)".to_owned(), goes));
}

#[test]
fn e37_nothing_goes_out_for_a_daemonjob_that_is_gone() {
    let plan = World::parse("template A\nselector os=linux\nnode n1 os=linux\nnode n2\njob n2 hash=A running").plan();
    assert_eq!(plan.actions.len(), 2, "a create and a delete");
    let gone = Fresh {
        subject: None,
        node: None,
    };
    assert!(!plan.actions.iter().any(|action| permits(guard_of(action), &gone)));
}
