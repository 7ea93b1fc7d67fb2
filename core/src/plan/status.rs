//! How a status tells what the decisions add up to: its one line, its groups of nodes, and the patch that writes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fold::Tally;
use super::{Refusal, Subject};
use crate::eligibility::Because;
use crate::names::DAEMONJOB_LABEL;
use crate::reason::Reason;
use crate::types::{DaemonJobStatus, NodeGroup};

/// Nodes that a group names.
pub(super) const GROUP_NAMES_MAX: usize = 5;

/// Whether a condition changes, or the run: such a status is written at once.
pub(super) fn is_urgent(old: &DaemonJobStatus, new: &DaemonJobStatus) -> bool {
    let states = |status: &DaemonJobStatus| -> Vec<(String, String)> {
        status
            .conditions
            .iter()
            .map(|condition| (condition.type_.clone(), condition.status.clone()))
            .collect()
    };
    old.observed_generation != new.observed_generation || states(old) != states(new)
}

/// Reasons that a summary names.
const REASONS_MAX: usize = 3;

/// Nodes by reason. Details that differ from node to node share a group: the first stands for all,
/// or a status would grow with the nodes. A refusal's own words go with its reason.
pub(super) fn groups(groups: &BTreeMap<Because, Vec<String>>, refusal: Option<&Refusal>) -> Vec<NodeGroup> {
    let mut told: Vec<NodeGroup> = Vec::new();
    for (because, names) in groups {
        let reason = because.reason.as_str();
        match told
            .last_mut()
            .filter(|group| because.reason.differs_by_node() && group.reason == reason)
        {
            Some(group) => {
                group.count += count(names.len());
                group.nodes.extend(names.iter().cloned());
            }
            None => told.push(NodeGroup {
                reason: reason.to_owned(),
                count: count(names.len()),
                nodes: names.clone(),
                message: because.detail.clone().or_else(|| words_of(refusal, because)),
            }),
        }
    }
    for group in &mut told {
        group.nodes.truncate(GROUP_NAMES_MAX);
    }
    told
}

fn words_of(refusal: Option<&Refusal>, because: &Because) -> Option<String> {
    let refusal = refusal.filter(|refusal| refusal.reason == because.reason)?;
    Some(refusal.message.clone())
}

/// The nodes without a ready Pod, with the line to look at their Pods.
pub(super) fn stuck_nodes(names: &[String], subject: &Subject) -> Vec<NodeGroup> {
    let look = format!(
        "to see why: kubectl get pods -l {DAEMONJOB_LABEL}={} -n {} -o wide",
        subject.name(),
        subject.namespace()
    );
    let group = NodeGroup {
        reason: Reason::NoReadyPod.as_str().to_owned(),
        count: count(names.len()),
        nodes: names.iter().take(GROUP_NAMES_MAX).cloned().collect(),
        message: Some(look),
    };
    if names.is_empty() { Vec::new() } else { vec![group] }
}

fn count(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// `31/50 done, 2 failed, 1 waiting (Cordoned)`.
pub(super) fn summary(tally: &Tally) -> String {
    if tally.desired() == 0 {
        let nothing = if tally.skipped > 0 {
            "all nodes skipped"
        } else {
            "no node selected"
        };
        return nothing.to_owned();
    }
    let mut parts = vec![format!("{}/{} done", tally.succeeded, tally.desired())];
    if tally.failed > 0 {
        parts.push(format!("{} failed", tally.failed));
    }
    parts.extend(troubles(tally));
    if tally.outdated > 0 {
        parts.push(format!("{} outdated", tally.outdated));
    }
    parts.join(", ")
}

/// What holds nodes up: waiting ones with up to three reasons, and stuck ones.
pub(super) fn troubles(tally: &Tally) -> Vec<String> {
    let mut parts = Vec::new();
    if tally.waiting > 0 {
        let reasons = tally.waiting_groups.keys().map(|because| because.reason.as_str());
        let reasons: BTreeSet<&str> = reasons.collect();
        let reasons: Vec<&str> = reasons.into_iter().take(REASONS_MAX).collect();
        parts.push(format!("{} waiting ({})", tally.waiting, reasons.join(", ")));
    }
    if !tally.stuck.is_empty() {
        parts.push(format!("{} stuck", tally.stuck.len()));
    }
    parts
}

/// The merge patch that turns one status into another; nothing if they are equal.
///
/// A merge patch (RFC 7396) merges objects at every depth, so what went is null at every depth.
pub fn status_patch(old: &DaemonJobStatus, new: &DaemonJobStatus) -> Option<Value> {
    let fields = |status| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    };
    let mut stored = fields(old);
    if old.observed_generation < 0 {
        // The store holds nothing but the schema's default: counters of 0 are missing there.
        stored.retain(|_, value| *value != 0);
    }
    let patch = merge_patch(&stored, &fields(new));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn merge_patch(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let gone = old.keys().filter(|key| !new.contains_key(*key));
    let mut patch: Map<String, Value> = gone.map(|key| (key.clone(), Value::Null)).collect();
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
        let change = match (old.get(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(merge_patch(old, new)),
            _ => value.clone(),
        };
        patch.insert(key.clone(), change);
    }
    patch
}
