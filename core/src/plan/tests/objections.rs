//! The second opinion on plans, `check`, objects where a plan does what must never happen, and only there.

use rstest::rstest;

use super::super::world::World;
use super::super::{Action, Guard, NodeGuard, Plan, Slot, Why, check};
use crate::names::{JobName, Uid};

/// The rules that a plan with these actions breaks in a world, by the first word of each: `create n1`,
/// `delete n1 Replaced`, `delete n1 Replaced uid=other`, `restore hash`.
fn objections(world: &str, actions: &str) -> Vec<&'static str> {
    let world = World::parse(world);
    let mut plan = world.plan();
    let slots = world.slots();
    plan.actions = actions
        .lines()
        .map(|line| action(&world, &slots, line.trim()))
        .collect();
    broken(&world, &plan)
}

fn broken(world: &World, plan: &Plan) -> Vec<&'static str> {
    let violations = world.show(|seen| check(seen, plan));
    assert!(violations.iter().all(|violation| !violation.detail.is_empty()));
    let code = |rule: &'static str| rule.split(' ').next().unwrap_or(rule);
    violations.iter().map(|violation| code(violation.rule)).collect()
}

fn action(world: &World, slots: &[Slot], line: &str) -> Action {
    let subject = world.subject();
    let hash = subject.reading().runnable().unwrap().template.hash();
    let guard = Guard::new(&subject, hash, NodeGuard::Any);
    let slot = |node: &str| {
        let name = crate::names::job_name("dj", &crate::names::NodeName::new(node));
        slots.iter().position(|slot| slot.name == name).unwrap_or(usize::MAX)
    };
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["create", node] => Action::Create {
            slot: slot(node),
            guard,
        },
        ["delete", node, why, ref uid @ ..] => {
            let job = slots.get(slot(node)).and_then(|slot| slot.job.as_deref());
            Action::Delete {
                name: job.map_or(JobName::new("other"), |job| job.name.clone()),
                uid: match (uid, job) {
                    ([], Some(job)) => job.uid.clone(),
                    _ => Uid::new("other"),
                },
                resource_version: "3".into(),
                why: Why::ALL[Why::ALL.iter().position(|known| format!("{known:?}") == why).unwrap()],
                guard,
                news: None,
            }
        }
        ["restore", "hash"] => subject.restore_hash(hash),
        _ => panic!("no such action: {line}"),
    }
}

const NONE: &[&str] = &[];

#[rstest]
#[case::one_each("node n1\nnode n2", "create n1\ncreate n2", NONE)]
#[case::twice("node n1", "create n1\ncreate n1", &["L3"])]
#[case::over_a_job("node n1\njob n1 hash=A running", "create n1", &["I6"])]
#[case::beside_its_delete("node n1\njob n1 hash=A running", "delete n1 NodeGone\ncreate n1", &["L3", "I6"])]
#[case::nowhere("node n1", "create n2", &["L3", "L3"])]
#[case::not_selected("selector os=linux\nnode n1\nended n1 hash=A succeeded@5", "create n1", &["§4"])]
#[case::node_gone("job n1 hash=A running", "create n1", &["I6", "§4"])]
#[case::the_hash_alone("node n1", "restore hash", NONE)]
#[case::before_the_hash_is_right("node n1", "restore hash\ncreate n1", &["E29"])]
fn creates(#[case] world: &str, #[case] actions: &str, #[case] rules: &[&str]) {
    assert_eq!(objections(&format!("template A\n{world}"), actions), rules);
}

#[rstest]
#[case::ours("job n1 hash=A running", "delete n1 NodeGone", NONE)]
#[case::of_an_older_daemonjob("job n1 hash=A running owner=older", "delete n1 OwnerGone", NONE)]
#[case::foreign("job n1 hash=A running owner=foreign", "delete n1 NodeGone", &["G4"])]
#[case::with_another_uid("job n1 hash=A running", "delete n1 NodeGone uid=other", &["I4"])]
#[case::not_there("", "delete n1 NodeGone", &["I4"])]
#[case::twice("job n1 hash=A running", "delete n1 NodeGone\ndelete n1 NodeGone", &["L3"])]
#[case::the_hash_first("job n1 hash=A running", "delete n1 NodeGone\nrestore hash", &["E29"])]
fn deletes(#[case] world: &str, #[case] actions: &str, #[case] rules: &[&str]) {
    assert_eq!(objections(&format!("template A\nnode n1\n{world}"), actions), rules);
}

#[rstest]
#[case::outdated("template B replace", NONE)]
#[case::current("template A replace", &["I5"])]
#[case::without_replace("template B", &["I5"])]
#[case::neither("template A", &["I5"])]
fn replacements(#[case] template: &str, #[case] rules: &[&str]) {
    let world = format!("{template}\nnode n1\njob n1 hash=A running");
    assert_eq!(objections(&world, "delete n1 Replaced"), rules);
    assert_eq!(objections(&world, "delete n1 Deselected"), NONE);
}

#[rstest]
#[case::pending("job n1 hash=A running\npending again n1", NONE)]
#[case::of_another_token("job n1 hash=A running retry=before\npending again n1", NONE)]
#[case::not_pending("job n1 hash=A running retry=again\npending again", &["I3"])]
#[case::never_asked_for("job n1 hash=A running", &["I3"])]
#[case::the_retry_itself("job n1 hash=A running retry=again\npending again n1", &["I3"])]
fn retries(#[case] job: &str, #[case] rules: &[&str]) {
    let world = format!("template A\nnode n1\n{job}");
    assert_eq!(objections(&world, "delete n1 Retried"), rules);
    assert_eq!(objections(&world, "delete n1 Deselected"), NONE);
}

#[test]
fn m7_deletes_of_what_finished_and_is_not_recorded() {
    let recorded = "record n1 hash=A succeeded\npending again n1";
    for why in Why::ALL {
        // A node or an owner that is gone takes its record with it.
        let needs_a_record = !matches!(why, Why::NodeGone | Why::NodeRecreated | Why::OwnerGone);
        for run in ["succeeded@5", "failed@5", "running", "suspended"] {
            let world = format!("template B replace\nnode n1\njob n1 hash=A {run}");
            let delete = format!("delete n1 {why:?}");
            assert_eq!(
                objections(&format!("{world}\n{recorded}"), &delete),
                NONE,
                "{why:?} {run}"
            );
            let breaks = needs_a_record && run.contains('@');
            let rules: &[&str] = if breaks { &["M7"] } else { NONE };
            assert_eq!(
                objections(&format!("{world}\npending again n1"), &delete),
                rules,
                "{why:?} {run}"
            );
        }
    }
}

#[test]
fn g5_l10_counters_that_do_not_add_up_and_nodes_without_a_reason() {
    let world =
        World::parse("template A\nnode n1 cordoned\nnode n2 taint=gpu:NoSchedule\nnode n3\njob n3 hash=A running");
    let spoilt = |spoil: fn(&mut Plan)| {
        let mut plan = world.plan();
        spoil(&mut plan);
        broken(&world, &plan)
    };
    assert_eq!(spoilt(|_| {}), NONE);
    assert_eq!(spoilt(|plan| plan.status.active += 1), ["G5"]);
    assert_eq!(spoilt(|plan| plan.status.desired += 1), ["G5"]);
    assert_eq!(spoilt(|plan| plan.status.waiting_nodes.clear()), ["L10"]);
    assert_eq!(spoilt(|plan| plan.status.skipped_nodes.clear()), ["L10"]);
}
