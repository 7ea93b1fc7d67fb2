//! One decision for one node. It reads like the table of the design's chapter on replacing and never re-running.

use jiff::{SignedDuration, Timestamp};

use super::outcome::taken;
use super::{Observed, Slot, Subject, Troubles};
use crate::eligibility::{Because, Eligibility};
use crate::observed::{JobView, NodeView, Ownership, Run};
use crate::reason::Reason;
use crate::record::Finish;
use crate::validation::Spec;

/// What to do about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start a Job.
    Create,
    /// The outcome is recorded and the Job's time to live will be over then: delete it.
    Expire {
        /// When the time is over.
        at: Timestamp,
        /// What is true of the node, with its Job or without.
        meanwhile: Box<Self>,
    },
    /// Nothing to do with this node: a Job that nobody counts.
    Ignore,
    /// Leave it as it is.
    Keep(Progress),
    /// Delete the Job of an older template, or of a node that is to run again; its successor starts once it is gone.
    Replace(Why),
    /// Delete a Job that should not be there.
    Retire(Why),
    /// The template excludes the node.
    Skip {
        /// Why.
        because: Because,
        /// It has a result of another template.
        outdated: bool,
    },
    /// It cannot start now.
    Wait {
        /// Why.
        because: Because,
        /// It has a result of another template.
        outdated: bool,
    },
}

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Running, or how it finished.
    pub stage: Stage,
    /// With another template than the current one.
    pub outdated: bool,
}

/// Running, or how it finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its Job has not finished.
    Active,
    /// Its Job finished.
    Finished(Finish),
}

/// Why a Job is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The node is no longer selected.
    Deselected,
    /// Its time to live is over and its outcome recorded.
    Expired,
    /// The node is gone.
    NodeGone,
    /// The node was created again under the same name.
    NodeRecreated,
    /// It belongs to a deleted DaemonJob of the same name.
    OwnerGone,
    /// The template changed.
    Replaced,
    /// A retry was asked for.
    Retried,
}

impl Why {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Deselected,
        Self::Expired,
        Self::NodeGone,
        Self::NodeRecreated,
        Self::OwnerGone,
        Self::Replaced,
        Self::Retried,
    ];

    /// The reason that users see.
    pub fn reason(self) -> Reason {
        match self {
            Self::Deselected => Reason::NodeNotSelected,
            Self::Expired => Reason::TtlExpired,
            Self::NodeGone => Reason::NodeGone,
            Self::NodeRecreated => Reason::NodeRecreated,
            Self::OwnerGone => Reason::OwnerGone,
            Self::Replaced => Reason::TemplateReplaced,
            Self::Retried => Reason::Retried,
        }
    }
}

/// How long a Job that was told to go may take before that is told.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// What the decision is taken by: the same for all nodes of a plan.
#[derive(Clone, Copy)]
struct Policy<'a> {
    subject: &'a Subject,
    spec: &'a Spec,
    troubles: Troubles<'a>,
    passing: &'a [String],
    now: Timestamp,
}

/// What exists for the node and counts.
#[derive(Clone, Copy)]
enum Exists<'a> {
    /// A Job that finished and is gone, before the store held its outcome.
    Ended(&'a JobView, Finish),
    Job(&'a JobView),
    Nothing,
    Record(&'a str, Finish),
}

/// Decides about one node. Expects a spec that may run and a hash annotation that is right.
pub fn decide(slot: &Slot, seen: &Observed<'_>, spec: &Spec) -> Decision {
    let Observed {
        subject, troubles, now, ..
    } = *seen;
    let policy = Policy {
        subject,
        spec,
        troubles,
        passing: seen.passing_taints,
        now,
    };
    let job = slot.job.as_deref();
    let ownership = job.map(|job| job.ownership(subject.name(), subject.uid()));
    match (slot.node.as_deref(), job, ownership) {
        (None, Some(job), Some(Ownership::Own)) => retire(job, Why::NodeGone),
        (_, Some(job), Some(Ownership::Older)) => clear(slot, job, Why::OwnerGone, now),
        (Some(node), Some(job), Some(Ownership::Own)) if job.node_uid.as_ref() != Some(&node.uid) => {
            clear(slot, job, Why::NodeRecreated, now)
        }
        (Some(node), Some(job), Some(Ownership::Own)) => own_job(slot, node, job, policy),
        (Some(node), None, _) if slot.selected => settle(slot, node, known(slot, node, subject), policy),
        (Some(node), Some(job), _) if slot.selected => foreign(slot, node, job, policy),
        (Some(_) | None, Some(_) | None, _) => Decision::Ignore,
    }
}

/// A Job that is already going is not told twice.
fn retire(job: &JobView, why: Why) -> Decision {
    if job.deleted.is_some() {
        Decision::Ignore
    } else {
        Decision::Retire(why)
    }
}

/// A Job that must be gone before anything starts: told to go, or going already.
fn clear(slot: &Slot, job: &JobView, why: Why, now: Timestamp) -> Decision {
    match (job.deleted.is_some(), slot.selected) {
        (false, _) => Decision::Retire(why),
        (true, false) => Decision::Ignore,
        (true, true) => going(job, false, now),
    }
}

/// The node waits for the name. After a while that is told as what it is, but never forced: the Pod may still run.
fn going(job: &JobView, outdated: bool, now: Timestamp) -> Decision {
    let pending = is_pending_since(job).is_some_and(|at| at <= now);
    let reason = if pending {
        Reason::ReplacePending
    } else {
        Reason::Replacing
    };
    Decision::Wait {
        because: reason.into(),
        outdated,
    }
}

/// From when on a Job that goes counts as one that does not go.
pub(super) fn is_pending_since(job: &JobView) -> Option<Timestamp> {
    Some(job.deleted?.checked_add(PATIENCE).unwrap_or(Timestamp::MAX))
}

/// Somebody else's Job has the name. That matters only where a Job would start: the node waits until the name is free.
fn foreign(slot: &Slot, node: &NodeView, job: &JobView, policy: Policy<'_>) -> Decision {
    let subject = policy.subject;
    let settled = settle(slot, node, known(slot, node, subject), policy);
    if settled != Decision::Create {
        return settled;
    }
    Decision::Wait {
        because: Because {
            reason: Reason::NameConflict,
            detail: Some(taken(subject.namespace(), job)),
        },
        outdated: subject.record().of(&node.uid).is_some() || subject.retry().pending(&node.uid).is_some(),
    }
}

fn own_job(slot: &Slot, node: &NodeView, job: &JobView, policy: Policy<'_>) -> Decision {
    if job.is_result() || job.deleted.is_none() {
        return match (slot.selected, job.finish()) {
            (true, _) => settle(slot, node, Exists::Job(job), policy),
            (false, None) => retire(job, Why::Deselected),
            (false, Some(_)) => expiring(job, Decision::Ignore, policy),
        };
    }
    // It was told to go before it finished: only the record counts, and nothing starts before it is gone.
    if !slot.selected {
        return Decision::Ignore;
    }
    let settled = settle(slot, node, known(slot, node, policy.subject), policy);
    if settled != Decision::Create {
        return settled;
    }
    let outdated = job.hash.as_ref() != Some(policy.spec.template.hash());
    going(job, outdated, policy.now)
}

/// The table: what exists for a selected node, and what follows.
fn settle(slot: &Slot, node: &NodeView, exists: Exists<'_>, policy: Policy<'_>) -> Decision {
    let Policy { subject, spec, .. } = policy;
    let hash = spec.template.hash();
    let outdated = match exists {
        Exists::Ended(job, _) | Exists::Job(job) => job.hash.as_ref() != Some(hash),
        Exists::Nothing => false,
        Exists::Record(recorded, _) => recorded != hash.as_str(),
    };
    let again = is_to_run_again(node, exists, subject);
    let replaced = outdated && spec.replace;
    match exists {
        Exists::Job(job) if replaced => replace(node, job, policy, Why::Replaced),
        Exists::Job(job) if again => replace(node, job, policy, Why::Retried),
        Exists::Job(job) => keep(job, outdated, policy),
        Exists::Ended(_, finish) | Exists::Record(_, finish) if !replaced && !again => Decision::Keep(Progress {
            stage: Stage::Finished(finish),
            outdated,
        }),
        Exists::Ended(..) | Exists::Nothing | Exists::Record(..) => start(slot, node, policy, outdated || again),
    }
}

/// A retry is pending for the node, and this is not the Job that it started.
fn is_to_run_again(node: &NodeView, exists: Exists<'_>, subject: &Subject) -> bool {
    let Some(token) = subject.retry().pending(&node.uid) else {
        return false;
    };
    match exists {
        Exists::Ended(job, _) | Exists::Job(job) => job.retry.as_deref() != Some(token),
        Exists::Nothing | Exists::Record(..) => true,
    }
}

/// The Job stays, running or as the visible part of a result, until its time to live is over.
fn keep(job: &JobView, outdated: bool, policy: Policy<'_>) -> Decision {
    let refused = policy.troubles.pods_refused.get(&job.uid);
    match (job.finish(), refused.filter(|_| job.podless_since.is_some())) {
        (None, _) if job.run == Run::Suspended => Decision::Wait {
            because: Reason::Suspended.into(),
            outdated,
        },
        (None, Some(message)) => Decision::Wait {
            because: Because {
                reason: Reason::PodsRefused,
                detail: Some(message.clone()),
            },
            outdated,
        },
        (None, None) => Decision::Keep(Progress {
            stage: Stage::Active,
            outdated,
        }),
        (Some(finish), _) => {
            let stage = Stage::Finished(finish);
            expiring(job, Decision::Keep(Progress { stage, outdated }), policy)
        }
    }
}

/// The Job of another template goes, but only when its successor may start.
fn replace(node: &NodeView, job: &JobView, policy: Policy<'_>, why: Why) -> Decision {
    let subject = policy.subject;
    if job.deleted.is_some() {
        return going(job, true, policy.now);
    }
    let because = match (job.finish(), subject.requirements().may_start(node, policy.passing)) {
        (None, Eligibility::Skipped(_) | Eligibility::Waiting(_)) => return keep(job, true, policy),
        // Its outcome must be in the store before it goes: the template may be changed back meanwhile.
        (Some(_), Eligibility::Yes) if !subject.has_recorded(job) => Reason::Replacing.into(),
        (_, Eligibility::Yes) => return Decision::Replace(why),
        (Some(_), Eligibility::Skipped(because)) => {
            let outdated = true;
            return expiring(job, Decision::Skip { because, outdated }, policy);
        }
        (Some(_), Eligibility::Waiting(because)) => because,
    };
    let outdated = true;
    expiring(job, Decision::Wait { because, outdated }, policy)
}

/// Nothing stands in the way but the node itself and what the last attempt met.
fn start(slot: &Slot, node: &NodeView, policy: Policy<'_>, outdated: bool) -> Decision {
    let setback = policy.troubles.setback(slot);
    match (policy.subject.requirements().may_start(node, policy.passing), setback) {
        (Eligibility::Skipped(because), _) => Decision::Skip { because, outdated },
        (Eligibility::Waiting(because), _) => Decision::Wait { because, outdated },
        (Eligibility::Yes, Some(setback)) if setback.retry_at > policy.now => Decision::Wait {
            because: setback.because.clone(),
            outdated,
        },
        (Eligibility::Yes, Some(_) | None) => Decision::Create,
    }
}

/// The template's time to live, kept by us: counted from the finish, and only once the outcome is in the store.
fn expiring(job: &JobView, meanwhile: Decision, policy: Policy<'_>) -> Decision {
    match expires(job, policy) {
        Some(at) => Decision::Expire {
            at,
            meanwhile: Box::new(meanwhile),
        },
        None => meanwhile,
    }
}

fn expires(job: &JobView, policy: Policy<'_>) -> Option<Timestamp> {
    let ttl = policy.spec.template.typed().spec.as_ref()?.ttl_seconds_after_finished?;
    if job.deleted.is_some() || !policy.subject.has_recorded(job) {
        return None;
    }
    let (Run::Failed { at, .. } | Run::Succeeded { at }) = &job.run else {
        return None;
    };
    let after = SignedDuration::from_secs(i64::from(ttl.max(0)));
    Some((*at)?.checked_add(after).unwrap_or(Timestamp::MAX))
}

/// What is known of a node without the Job that is there now: an outcome just seen, else the record.
fn known<'a>(slot: &'a Slot, node: &NodeView, subject: &'a Subject) -> Exists<'a> {
    let ended = slot
        .ended
        .as_deref()
        .filter(|job| job.node_uid.as_ref() == Some(&node.uid));
    if let Some((job, finish)) = ended.and_then(|job| Some((job, job.finish()?))) {
        return Exists::Ended(job, finish);
    }
    let recorded = subject.record().of(&node.uid);
    recorded.map_or(Exists::Nothing, |run| Exists::Record(&run.template_hash, run.finish))
}
