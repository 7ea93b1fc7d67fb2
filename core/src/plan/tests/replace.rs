//! A changed template: what stays, what is replaced, and in which order.

use super::super::world::World;
use super::check;
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
