//! Jobs that are seen too late, on an old list or by a controller that lags behind another, or that were created too
//! late, by a leader that had stood still: of two runs of a node, the one of the later generation has the last word.

use rstest::rstest;

use super::super::build_job;
use super::super::world::World;
use super::check;
use crate::hash::TemplateHash;
use crate::names::GENERATION;

/// What the status would hold of the one node: the letter of the template.
fn recorded(world: &World) -> Option<&'static str> {
    let groups = world.plan().status.finished_nodes;
    let hash = groups.into_iter().next()?.template_hash;
    let is_it = |letter: &&str| TemplateHash::of(&world.full_template(letter)).unwrap().as_str() == hash;
    ["A", "B"].into_iter().find(is_it)
}

/// The record is of the second generation.
#[rstest]
#[case::running("job n1 hash=A running", Some("B"))]
#[case::finished("job n1 hash=A succeeded@5", Some("B"))]
#[case::failed("job n1 hash=A failed@5", Some("B"))]
#[case::gone("ended n1 hash=A succeeded@5", Some("B"))]
#[case::of_no_generation("job n1 hash=A succeeded@5 generation=0", Some("B"))]
#[case::running_after_it("job n1 hash=A running generation=3", None)]
#[case::finished_after_it("job n1 hash=A succeeded@5 generation=3", Some("A"))]
#[case::gone_after_it("ended n1 hash=A succeeded@5 generation=3", Some("A"))]
fn i7_a_job_outdates_a_result_only_if_it_is_of_a_later_generation(#[case] job: &str, #[case] expected: Option<&str>) {
    for current in ["A", "B", "C"] {
        let world = World::parse(&format!(
            "template {current} replace\ngeneration 4\nnode n1\nrecord n1 hash=B succeeded generation=2\n{job}"
        ));
        assert_eq!(recorded(&world), expected, "{current}");
    }
}

/// The first run of A, the one of B, and the second of A, which is on record: the one of B is seen too late.
#[rstest]
#[case::running("running")]
#[case::finished("succeeded@5")]
fn i7_a_template_that_was_changed_and_changed_back_is_not_run_a_third_time(#[case] run: &str) {
    let world = |job: &str| {
        World::parse(&format!(
            "template A replace\ngeneration 3\nnode n1\nrecord n1 hash=A succeeded generation=3\n{job}"
        ))
    };
    let seen = world(&format!("job n1 hash=B {run} generation=2"));
    assert_eq!(seen.actions(&seen.plan()), ["delete n1 (TemplateReplaced)"]);
    assert_eq!(recorded(&seen), Some("A"));
    let gone = world(&format!("ended n1 hash=B {run} generation=2"));
    assert_eq!(gone.actions(&gone.plan()), [""; 0]);
    assert_eq!(recorded(&gone), Some("A"));
}

/// What the first run of A came to says nothing of the second.
#[test]
fn i7_an_earlier_run_of_the_same_template_leaves_the_result_of_the_later_one() {
    let world = World::parse(
        "template A replace\ngeneration 3\nnode n1\nrecord n1 hash=A succeeded generation=3\njob n1 hash=A failed@5",
    );
    let plan = world.plan();
    assert_eq!(plan.finished, []);
    assert_eq!(plan.status.finished_nodes, world.subject().status().finished_nodes);
}

/// The same template, made from a later generation, ran again: then that is what is to be on record before it goes.
#[test]
fn i7_the_same_outcome_of_a_later_generation_is_recorded_before_its_job_expires() {
    let mut world = World::parse(
        "template A ttl=0\ngeneration 3\nnode n1\nrecord n1 hash=A succeeded generation=1\n\
         job n1 hash=A succeeded@5 generation=3\nnow 20",
    );
    let plan = world.plan();
    assert_eq!(world.actions(&plan), [""; 0]);
    assert_eq!(plan.status.finished_nodes[0].generation, 3);
    world.apply(&plan);
    assert_eq!(world.actions(&world.plan()), ["delete n1 (TtlExpired)"]);
}

/// Somebody wrote it, and it would outdate everything for ever.
#[test]
fn i7_a_job_of_a_generation_that_is_still_to_come_counts_as_one_of_the_newest() {
    let mut world = World::parse("template A\nnode n1\njob n1 hash=A succeeded@5 generation=99");
    let plan = world.plan();
    assert_eq!(plan.status.finished_nodes[0].generation, 1);
    world.apply(&plan);
    assert_eq!(world.plan().status.finished_nodes, plan.status.finished_nodes);
}

#[test]
fn i7_a_job_that_was_seen_too_late_is_deleted_and_its_node_does_not_run_again() {
    let world = "template B replace\nedited\nnode n1\nrecord n1 hash=B succeeded generation=2";
    check(
        &format!("{world}\njob n1 hash=A succeeded@5"),
        "delete n1 (TemplateReplaced)
         0/1 done, 1 waiting (Replacing), 1 outdated
         Reconciling Running",
    );
    for gone in ["", "\nended n1 hash=A succeeded@5"] {
        check(
            &format!("{world}{gone}"),
            "1/1 done
             Ready AllSucceeded
             Complete AllSucceeded
             Finished AllSucceeded",
        );
    }
}

#[test]
fn i7_without_replace_a_job_that_was_seen_too_late_expires() {
    check(
        "template B ttl=10\nedited\nnode n1\nrecord n1 hash=B succeeded generation=2\njob n1 hash=A succeeded@5\nnow 20",
        "delete n1 (TtlExpired)
         1/1 done, 1 outdated
         Ready Outdated
         Complete Outdated
         Finished Outdated",
    );
}

#[test]
fn a_job_tells_the_generation_that_it_was_made_from() {
    let world = World::parse("template C replace\ngeneration 12\nnode n1\nrecord n1 hash=A failed");
    let job = build_job(&world.subject(), &world.slots()[0]).unwrap();
    assert_eq!(job["metadata"]["annotations"][GENERATION], "12");
}

/// As the model prints it: a controller that lags has seen the Job of template A go, and the other one has recorded B.
#[test]
fn f26_i7_a_world_that_the_model_found_starts_nothing() {
    let world = World::parse(
        "template B replace ttl=0
         selector os=linux
         edited
         node n0 os=linux uid=n0-uid-1
         node n1 os=linux uid=n1-uid
         job n0 hash=B succeeded@5 nodeuid=n0-uid-1 generation=2
         ended n1 hash=A succeeded@5 nodeuid=n1-uid deleted@10
         record n0 hash=B succeeded nodeuid=n0-uid-1 generation=2
         record n1 hash=B succeeded nodeuid=n1-uid generation=2
         now 20",
    );
    assert_eq!(world.outcome().lines().next(), Some("delete n0 (TtlExpired)"));
    assert!(!world.outcome().contains("create"), "{}", world.outcome());
}
