//! The planner's tests: text worlds for single situations, by subject. Its laws are in `laws`.

mod guards;
mod jobs;
mod late;
mod messages;
mod nodes;
mod objections;
mod replace;
mod retry;
mod status;
mod trouble;

use jiff::SignedDuration;

use super::world::World;
use super::{EventDraft, Plan};
use crate::observed::Run;

/// No action, or no news.
const NOTHING: [&str; 0] = [];

#[track_caller]
fn check(world: &str, expected: &str) {
    assert_outcome(&World::parse(world), expected);
}

#[track_caller]
fn assert_outcome(world: &World, expected: &str) {
    let expected: Vec<&str> = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(world.outcome(), expected.join("\n"));
}

/// The actions of one plan, which is carried out.
fn round(world: &mut World) -> Vec<String> {
    let plan = world.plan();
    let actions = world.actions(&plan);
    world.apply(&plan);
    actions
}

/// Carries out plan after plan, while every Job succeeds, until one changes nothing; all actions in their order.
fn settle(world: &mut World) -> Vec<String> {
    let mut actions = Vec::new();
    for _ in 0..100 {
        succeed(world);
        let before = world.status.clone();
        let more = round(world);
        if more.is_empty() && world.status == before {
            return actions;
        }
        actions.extend(more);
        world.pass(SignedDuration::from_secs(1));
    }
    panic!("it does not settle: {actions:?}");
}

/// All Jobs that run succeed.
fn succeed(world: &mut World) {
    let running = world.jobs.values().filter(|job| job.run == Run::Running);
    let nodes: Vec<String> = running.filter_map(|job| Some(job.node.as_ref()?.to_string())).collect();
    let at = Some(world.now());
    nodes.iter().for_each(|node| world.end(node, Run::Succeeded { at }));
}

/// `Warning REASON note` or `Normal REASON note`, an Event a line.
fn news(plan: &Plan) -> Vec<String> {
    let line = |event: &EventDraft| {
        let kind = if event.warning { "Warning" } else { "Normal" };
        format!("{kind} {} {}", event.reason.as_str(), event.note)
    };
    plan.events.iter().map(line).collect()
}
