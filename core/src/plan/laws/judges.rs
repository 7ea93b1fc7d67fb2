//! What every single plan of a walk is held against, beside `plan::check`, which runs after each.

use std::collections::BTreeSet;

use super::super::{Action, Why};
use super::cluster::Cluster;
use super::controller::Planned;
use super::ledger::Law;
use crate::types::NodeGroup;

/// Lets every plan pass.
pub(super) fn no_judge(_: &Planned, _: &mut Cluster) {}

/// L5: nothing is replaced.
pub(super) fn no_replacement(planned: &Planned, cluster: &mut Cluster) {
    let replaced = |action: &Action| matches!(action, Action::Delete { why: Why::Replaced, .. });
    if planned.plan.actions.iter().any(replaced) {
        cluster.ledger.breach(Law::Keeps, format!("{:?}", planned.plan.actions));
    }
}

/// L10: every selected node is counted once, and whatever is not well has a reason.
pub(super) fn partition(planned: &Planned, cluster: &mut Cluster) {
    let subject = &planned.subject;
    let hash = subject
        .reading()
        .runnable()
        .map(|spec| spec.template.hash().as_str().to_owned());
    if subject.is_deleting() || subject.annotated_hash() != hash.ok().as_deref() {
        return;
    }
    let status = &planned.plan.status;
    let selected = planned.slots.iter().filter(|slot| slot.selected).count();
    let sum = |groups: &[NodeGroup]| groups.iter().map(|group| group.count).sum::<i64>();
    let names = |groups: &[NodeGroup]| groups.iter().flat_map(|group| group.nodes.clone()).collect::<Vec<_>>();
    let failed = status.failures.iter().map(|failure| failure.node.clone());
    let mut named = names(&status.waiting_nodes);
    named.extend(names(&status.skipped_nodes));
    named.extend(failed);
    let is_whole = status.desired == status.active + status.succeeded + status.failed + status.waiting
        && i64::try_from(selected) == Ok(status.desired + status.skipped)
        && sum(&status.waiting_nodes) == status.waiting
        && sum(&status.skipped_nodes) == status.skipped
        && i64::try_from(status.failures.len()) == Ok(status.failed)
        && sum(&status.stuck_nodes) <= status.active
        && status.outdated <= status.desired + status.skipped
        && named.iter().collect::<BTreeSet<_>>().len() == named.len()
        && named
            .iter()
            .all(|name| planned.slots.iter().any(|slot| is_at(slot, name)));
    if !is_whole {
        let detail = format!("{selected} nodes are selected: {status:?}");
        cluster.ledger.breach(Law::Partition, detail);
    }
}

fn is_at(slot: &super::super::Slot, name: &str) -> bool {
    slot.selected && slot.node.as_ref().is_some_and(|node| node.name.as_str() == name)
}

/// L11: no more writes than places, one create while the server refuses them, and no hurry to plan again.
pub(super) fn bounded(planned: &Planned, cluster: &mut Cluster) {
    let plan = &planned.plan;
    let restores = plan
        .actions
        .iter()
        .any(|action| matches!(action, Action::RestoreHash { .. }));
    let creates = plan
        .actions
        .iter()
        .filter(|action| matches!(action, Action::Create { .. }))
        .count();
    let allowed = match &planned.refusal {
        Some(refusal) if refusal.retry_at > planned.now => 0,
        Some(_) => 1,
        None => planned.slots.len(),
    };
    let is_hasty = plan.wake_at.is_some_and(|at| at <= planned.now);
    if plan.actions.len() > planned.slots.len() + usize::from(restores) || creates > allowed || is_hasty {
        let detail = format!("{plan:?} with {:?} at {}", planned.refusal, planned.now);
        cluster.ledger.breach(Law::Bounded, detail);
    }
}
