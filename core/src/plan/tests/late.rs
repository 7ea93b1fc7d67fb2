//! Jobs that are seen too late, on an old list or by a controller that lags behind another: what the store tells of
//! the current template has the last word, unless the Job was built after it.

use rstest::rstest;

use super::super::build_job;
use super::super::world::World;
use super::check;
use crate::hash::TemplateHash;
use crate::names::FOLLOWS;

/// What the status would hold of the one node: the letter of the template.
fn recorded(world: &World) -> Option<&'static str> {
    let groups = world.plan().status.finished_nodes;
    let hash = groups.into_iter().next()?.template_hash;
    let is_it = |letter: &&str| TemplateHash::of(&world.full_template(letter)).unwrap().as_str() == hash;
    ["A", "B"].into_iter().find(is_it)
}

#[rstest]
#[case::running("job n1 hash=A running", Some("B"))]
#[case::finished("job n1 hash=A succeeded@5", Some("B"))]
#[case::failed("job n1 hash=A failed@5", Some("B"))]
#[case::gone("ended n1 hash=A succeeded@5", Some("B"))]
#[case::running_after_it("job n1 hash=A running follows=B", None)]
#[case::finished_after_it("job n1 hash=A succeeded@5 follows=B", Some("A"))]
#[case::gone_after_it("ended n1 hash=A succeeded@5 follows=B", Some("A"))]
fn i7_a_job_of_another_template_outdates_the_current_result_only_if_it_was_built_after_it(
    #[case] job: &str,
    #[case] expected: Option<&str>,
) {
    let world = World::parse(&format!(
        "template B replace\nnode n1\nrecord n1 hash=B succeeded\n{job}"
    ));
    assert_eq!(recorded(&world), expected);
}

#[test]
fn i7_a_job_that_was_seen_too_late_is_deleted_and_its_node_does_not_run_again() {
    let world = "template B replace\nnode n1\nrecord n1 hash=B succeeded";
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
        "template B ttl=10\nnode n1\nrecord n1 hash=B succeeded\njob n1 hash=A succeeded@5\nnow 20",
        "delete n1 (TtlExpired)
         1/1 done, 1 outdated
         Ready Outdated
         Complete Outdated
         Finished Outdated",
    );
}

/// Of two older templates none has the last word: the node runs the current one in any case.
#[test]
fn a_result_of_an_older_template_gives_way_to_any_job() {
    let world = World::parse("template C replace\nnode n1\nrecord n1 hash=B succeeded\njob n1 hash=A succeeded@5");
    assert_eq!(recorded(&world), Some("A"));
}

#[rstest]
#[case::nothing("", &[])]
#[case::a_record("record n1 hash=A failed", &["A"])]
#[case::a_job_that_went("ended n1 hash=B succeeded@5", &["B"])]
#[case::both("record n1 hash=A failed\nended n1 hash=B succeeded@5", &["A", "B"])]
fn a_job_tells_which_results_its_node_had_when_it_was_built(#[case] had: &str, #[case] expected: &[&str]) {
    let world = World::parse(&format!("template C replace\nnode n1\n{had}"));
    let job = build_job(&world.subject(), &world.slots()[0]).unwrap();
    let follows = job["metadata"]["annotations"][FOLLOWS].as_str().unwrap_or_default();
    let mut hashes: Vec<String> = expected
        .iter()
        .map(|letter| TemplateHash::of(&world.full_template(letter)).unwrap().to_string())
        .collect();
    hashes.sort();
    assert_eq!(follows, hashes.join(" "));
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
         job n0 hash=B succeeded@5 nodeuid=n0-uid-1
         ended n1 hash=A succeeded@5 nodeuid=n1-uid deleted@10
         record n0 hash=B succeeded nodeuid=n0-uid-1
         record n1 hash=B succeeded nodeuid=n1-uid
         now 20",
    );
    assert_eq!(world.outcome().lines().next(), Some("delete n0 (TtlExpired)"));
    assert!(!world.outcome().contains("create"), "{}", world.outcome());
}
