//! A second opinion on a plan. It shares no code with the decisions and looks only at what must never happen;
//! it runs after every plan in tests and in debug builds.

use std::collections::BTreeSet;

use super::{Action, Observed, Plan, Why};
use crate::observed::{Ownership, Run};

/// Something in a plan that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant of the design or law of the planner that is broken.
    pub rule: &'static str,
    /// How.
    pub detail: String,
}

/// All violations of a plan; empty for every plan that [`super::plan`] makes.
pub fn check(seen: &Observed<'_>, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    one_action_a_name(seen, plan, &mut found);
    for action in &plan.actions {
        match action {
            Action::Create { slot, .. } => check_create(seen, *slot, &mut found),
            Action::Delete { .. } => check_delete(seen, action, &mut found),
            Action::RestoreHash { .. } if plan.actions.len() > 1 => {
                found.push(violation(
                    "E29 nothing else happens before the hash is right",
                    "other actions",
                ));
            }
            Action::RestoreHash { .. } => {}
        }
    }
    check_counts(plan, &mut found);
    found
}

fn violation(rule: &'static str, detail: impl Into<String>) -> Violation {
    Violation {
        rule,
        detail: detail.into(),
    }
}

fn one_action_a_name(seen: &Observed<'_>, plan: &Plan, found: &mut Vec<Violation>) {
    let mut names = BTreeSet::new();
    for action in &plan.actions {
        let name = match action {
            Action::Create { slot, .. } => seen.slots.get(*slot).map(|slot| &slot.name),
            Action::Delete { name, .. } => Some(name),
            Action::RestoreHash { .. } => continue,
        };
        if !name.is_some_and(|name| names.insert(name)) {
            found.push(violation("L3 one action a Job name", format!("{name:?}")));
        }
    }
}

fn check_create(seen: &Observed<'_>, slot: usize, found: &mut Vec<Violation>) {
    let Some(slot) = seen.slots.get(slot) else {
        found.push(violation("L3 creates name a slot", slot.to_string()));
        return;
    };
    if slot.job.is_some() {
        found.push(violation(
            "I6 no create while a Job of the name exists",
            slot.name.as_str(),
        ));
    }
    if slot.node.is_none() || !slot.selected {
        found.push(violation("§4 Jobs start only on selected nodes", slot.name.as_str()));
    }
}

fn check_delete(seen: &Observed<'_>, action: &Action, found: &mut Vec<Violation>) {
    let Action::Delete { name, uid, why, .. } = action else {
        return;
    };
    let job = seen
        .slots
        .iter()
        .filter_map(|slot| slot.job.as_deref())
        .find(|job| job.name == *name);
    let Some(job) = job.filter(|job| job.uid == *uid) else {
        found.push(violation("I4 deletes name a Job that was seen, by UID", name.as_str()));
        return;
    };
    if job.ownership(seen.subject.name(), seen.subject.uid()) == Ownership::Foreign {
        found.push(violation("G4 only our own Jobs are deleted", name.as_str()));
    }
    let replaces = seen.subject.reading().runnable().is_ok_and(|spec| spec.replace);
    if *why == Why::Replaced
        && (!replaces || job.hash.as_ref().map(|hash| hash.as_str()) == seen.subject.annotated_hash())
    {
        found.push(violation(
            "I5 only outdated Jobs are replaced, and only with replace",
            name.as_str(),
        ));
    }
    let pending = job
        .node_uid
        .as_ref()
        .and_then(|node| seen.subject.retry().pending(node));
    if *why == Why::Retried && (pending.is_none() || pending == job.retry.as_deref()) {
        found.push(violation(
            "I3 a retry deletes only what is pending, and not its own Job",
            name.as_str(),
        ));
    }
    let finished = matches!(job.run, Run::Failed { .. } | Run::Succeeded { .. });
    let recorded = job
        .node_uid
        .as_ref()
        .is_some_and(|node| seen.subject.record().of(node).is_some());
    if finished && !recorded && matches!(why, Why::Deselected | Why::Expired | Why::Replaced | Why::Retried) {
        found.push(violation(
            "M7 a finished Job goes only once its outcome is recorded",
            name.as_str(),
        ));
    }
}

fn check_counts(plan: &Plan, found: &mut Vec<Violation>) {
    let status = &plan.status;
    if status.desired != status.active + status.succeeded + status.failed + status.waiting {
        found.push(violation("G5 the counters add up", format!("{status:?}")));
    }
    let told = |groups: &[crate::types::NodeGroup]| groups.iter().map(|group| group.count).sum::<i64>();
    if told(&status.waiting_nodes) != status.waiting || told(&status.skipped_nodes) != status.skipped {
        found.push(violation(
            "L10 every waiting or skipped node has a reason",
            format!("{status:?}"),
        ));
    }
}
