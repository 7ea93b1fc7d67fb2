//! The sentences of conditions and Events, and when they are told.

use rstest::rstest;
use serde_json::json;

use super::super::world::World;
use super::{NOTHING, news};

#[rstest]
#[case::no_node("template A", "no node matches the selector; one that does later runs")]
#[case::late_and_skipped(
    "template A\ncompleted\nnow 60\nnode n1 taint=gpu:NoSchedule joined=30",
    "no node matched the selector; 1 node that came later is excluded by the template"
)]
#[case::late_and_skipped_two(
    "template A\ncompleted\nnow 60\nnode n1 taint=gpu:NoSchedule joined=30\nnode n2 taint=gpu:NoSchedule joined=30",
    "no node matched the selector; 2 nodes that came later are excluded by the template"
)]
#[case::succeeded("template A\nnode n1\njob n1 hash=A succeeded@5", "1 node succeeded")]
#[case::succeeded_some_with_an_older_template(
    "template A\nnode n1\nnode n2\njob n1 hash=A succeeded@5\njob n2 hash=B succeeded@5",
    "2 nodes succeeded, 1 with an older template"
)]
#[case::succeeded_but_for_late_ones(
    "template A\nnow 20\nnode n1\njob n1 hash=A succeeded@5
     node n2 joined=10\njob n2 hash=A running\nnode n3 joined=10 cordoned",
    "1 node succeeded; 2 nodes that came later not finished yet"
)]
#[case::succeeded_with_an_older_template_but_for_a_late_one(
    "template A\nnow 20\nnode n1\njob n1 hash=B succeeded@5\nnode n2 joined=10\njob n2 hash=A running",
    "1 node succeeded, 1 with an older template; 1 node that came later not finished yet"
)]
#[case::failed(
    "template A\nnode n1\nnode n2\njob n1 hash=A failed@5\njob n2 hash=A succeeded@5",
    "1 of 2 nodes failed; status.failures names them"
)]
#[case::unavailable(
    "template A\nnow 600\nnode n1\njob n1 hash=A succeeded@5\nnode n2 cordoned",
    "all done but 1 node that cannot take work now"
)]
#[case::running(
    "template A\nnow 400\nnode n1\njob n1 hash=A succeeded@5\nnode n2\njob n2 hash=A failed@5
     node n3\njob n3 hash=A running unready@5\nnode n4 cordoned",
    "2 of 4 nodes finished, 1 active, 1 waiting (Cordoned), 1 stuck"
)]
#[case::skipped(
    "template A\nnode n1 taint=gpu:NoSchedule\nnode n2 taint=gpu:NoSchedule\nnode n3 taint=arm:NoSchedule",
    "the template excludes all 3 selected nodes: 1 UntoleratedTaint (taint arm), 2 UntoleratedTaint (taint gpu)"
)]
#[case::skipped_for_a_reason_that_says_it_all(
    r#"template A
       pod {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}}}}
       node n1
       node n2"#,
    "the template excludes all 2 selected nodes: 2 NodeAffinityMismatch"
)]
#[case::the_only_one_skipped(
    "template A\nnode n1 taint=gpu:NoSchedule",
    "the template excludes the one selected node: 1 UntoleratedTaint (taint gpu)"
)]
#[case::pods_refused(
    "template A\nnode n1\njob n1 hash=A running podless@0\npodless n1",
    "exceeded quota: pods"
)]
#[case::pods_refused_on_two(
    "template A\nnode n1\njob n1 hash=A running podless@0\npodless n1
     node n2\njob n2 hash=A running podless@0\npodless n2",
    "exceeded quota: pods (and 1 more node)"
)]
fn every_condition_says_what_the_situation_is(#[case] world: &str, #[case] message: &str) {
    let conditions = World::parse(world).plan().status.conditions;
    let messages: Vec<&str> = conditions.iter().map(|condition| condition.message.as_str()).collect();
    assert_eq!(messages, vec![message; conditions.len()]);
}

#[test]
fn an_end_is_told_once_and_as_news() {
    let mut world = World::parse("template A\nnode n1\njob n1 hash=A succeeded@5");
    let plan = world.plan();
    assert_eq!(news(&plan), ["Normal AllSucceeded 1 node succeeded"]);
    world.apply(&plan);
    assert_eq!(news(&world.plan()), NOTHING);
    // Only the condition itself says that it was told.
    let status = world.status.as_mut().unwrap();
    status.conditions.retain(|condition| condition.type_ != "Complete");
    assert_eq!(news(&world.plan()), news(&plan));
}

#[test]
fn what_stalls_next_is_told_as_well() {
    let mut world =
        World::parse("template A\nnode n1\nnode n2\njob n1 running owner=foreign\njob n2 hash=A succeeded@5");
    let plan = world.plan();
    assert!(news(&plan)[0].starts_with("Warning NameConflict "), "{:?}", news(&plan));
    world.apply(&plan);
    world.lose("job", "n1");
    world.say("refused QuotaExceeded");
    assert_eq!(news(&world.plan()), ["Warning QuotaExceeded exceeded quota: q"]);
}

#[rstest]
#[case::one(json!({"spec": {"suspend": true}}), "invalid: spec.jobTemplate.spec.suspend")]
#[case::two(
    json!({"spec": {"managedBy": "example.com/q", "suspend": true}}),
    "invalid: spec.jobTemplate.spec.managedBy and 1 more"
)]
fn the_summary_of_an_invalid_spec_names_the_first_fault_and_counts_the_others(
    #[case] change: serde_json::Value,
    #[case] summary: &str,
) {
    let mut template = super::super::world::template("A");
    json_patch::merge(&mut template, &change);
    let status = World::parse("template A").with_template(template).plan().status;
    assert_eq!(status.summary.as_deref(), Some(summary));
}
