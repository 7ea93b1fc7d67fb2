//! Whether a delete may be: each reason held against what a fresh read may have found, without the planner's code.

use std::sync::Arc;

use super::super::Why;
use super::cluster::{Cluster, Version};
use super::ledger::Law;
use super::settled::{is_over, is_selected};
use crate::hash::TemplateHash;
use crate::names::Uid;
use crate::observed::JobView;

/// The controller of the DaemonJob `by` deletes a Job, of which it has seen this.
pub(super) fn justify(seen: &JobView, why: Why, by: &Uid, cluster: &mut Cluster) {
    let Some(job) = cluster.jobs.get(&seen.name).filter(|job| job.view.uid == seen.uid) else {
        return;
    };
    let view = Arc::clone(&job.view);
    let live = cluster.daemon_job.as_ref().map(|live| live.uid.clone());
    let is_ours = if why == Why::OwnerGone {
        let owner = view.owner.as_ref();
        owner.is_none_or(|owner| live.as_ref() != Some(&owner.uid) && owner.uid != *by)
    } else {
        cluster.ledger.is_made_for(&view.uid, by)
    };
    if !is_ours {
        cluster
            .ledger
            .breach(Law::OnlyItsOwn, format!("{by} deletes {view:?} ({why:?})"));
    }
    // A Job that is going already goes no sooner for being told twice.
    if view.deleted.is_none() && !(is_just(&view, why, by, cluster) && is_remembered(seen, why, by, cluster)) {
        cluster
            .ledger
            .breach(Law::Justified, format!("{by} deletes {view:?} ({why:?})"));
    }
}

/// A Job that was seen finished goes only once its outcome is stored (M7), unless its node or DaemonJob is gone.
fn is_remembered(seen: &JobView, why: Why, by: &Uid, cluster: &Cluster) -> bool {
    let holds = |node| {
        let (daemon_jobs, _) = cluster.recent(node);
        let mut versions = daemon_jobs.iter().filter(|version| version.uid == *by);
        versions.any(|version| cluster.ledger.is_on_record(&seen.uid, &version.subject()))
    };
    match why {
        Why::Deselected | Why::Expired | Why::Replaced | Why::Retried => {
            !is_over(seen) || seen.node.as_ref().is_some_and(holds)
        }
        Why::NodeGone | Why::NodeRecreated | Why::OwnerGone => true,
    }
}

fn is_just(job: &JobView, why: Why, by: &Uid, cluster: &Cluster) -> bool {
    let (Some(name), Some(node_uid)) = (&job.node, &job.node_uid) else {
        return why == Why::OwnerGone;
    };
    let (daemon_jobs, nodes) = cluster.recent(name);
    let mut daemon_jobs = daemon_jobs.iter().filter(|version| version.uid == *by);
    let hash_of = |version: &Version| TemplateHash::of(&version.spec["jobTemplate"]).ok();
    match why {
        Why::Deselected => {
            let is_there = cluster.nodes.get(name).is_some_and(|node| node.uid == *node_uid);
            !is_there || daemon_jobs.any(|version| nodes.iter().any(|node| !is_selected(&version.spec, node)))
        }
        Why::Expired => is_over(job),
        // A UID that is gone never comes back.
        Why::NodeGone | Why::NodeRecreated => cluster.nodes.get(name).is_none_or(|node| node.uid != *node_uid),
        Why::OwnerGone => true,
        Why::Replaced => daemon_jobs.any(|version| version.spec["replace"] == true && hash_of(version) != job.hash),
        Why::Retried => daemon_jobs.any(|version| {
            let subject = version.subject();
            let pending = subject.retry().pending(node_uid);
            pending.is_some() && pending != job.retry.as_deref()
        }),
    }
}
