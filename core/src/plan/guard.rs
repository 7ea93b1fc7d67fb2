//! What must still be true, on a fresh read, when a write is about to be sent.
//!
//! A plan is made from caches, and caches lag. The name of a Job is the lock against doubles; what a name cannot
//! prevent, deleting what is still wanted and starting what has finished elsewhere, is checked here once more.

use super::Subject;
use super::Why;
use crate::hash::TemplateHash;
use crate::names::{NodeName, NodeUid, Uid};
use crate::observed::NodeView;
use crate::record::LastRun;

/// What a write was planned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The DaemonJob's UID: another one is another object.
    pub uid: Uid,
    /// Its generation: an edit since may have turned the decision.
    pub generation: i64,
    /// The hash that was planned for.
    pub hash: TemplateHash,
    /// What must be true of the node.
    pub node: NodeGuard,
}

/// What must be true of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeGuard {
    /// Nothing: the decision does not depend on it.
    Any,
    /// Its name is free, or names a node with another UID.
    Gone {
        /// Its name.
        name: NodeName,
        /// The UID that is gone.
        uid: NodeUid,
    },
    /// The selectors do not select it.
    NotSelected {
        /// Its name.
        name: NodeName,
    },
    /// The store records this last run for it: what a create, or the delete of a finished Job, was planned on.
    Recorded {
        /// Its UID.
        uid: NodeUid,
        /// What it finished last, if there is a record.
        last: Option<LastRun>,
        /// The retry that is pending for it.
        retry: Option<String>,
    },
}

impl NodeGuard {
    /// The node to read afresh, if the guard needs one.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Any | Self::Recorded { .. } => None,
            Self::Gone { name, .. } | Self::NotSelected { name } => Some(name),
        }
    }
}

/// What a fresh read found.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    /// The DaemonJob; none if it is gone.
    pub subject: Option<&'a Subject>,
    /// The node that the guard names; none if it is gone or the guard names none.
    pub node: Option<&'a NodeView>,
}

/// May the write still go out?
pub fn permits(guard: &Guard, fresh: &Fresh<'_>) -> bool {
    let Some(subject) = fresh.subject else { return false };
    let unchanged = subject.uid() == &guard.uid
        && subject.generation() == guard.generation
        && subject.annotated_hash() == Some(guard.hash.as_str())
        && !subject.is_deleting();
    unchanged && node_permits(&guard.node, subject, fresh.node)
}

fn node_permits(guard: &NodeGuard, subject: &Subject, fresh: Option<&NodeView>) -> bool {
    match guard {
        NodeGuard::Any => true,
        NodeGuard::Gone { uid, .. } => fresh.is_none_or(|node| node.uid != *uid),
        NodeGuard::NotSelected { .. } => {
            let Ok(spec) = subject.reading().runnable() else {
                return false;
            };
            fresh.is_none_or(|node| !spec.selection.matches(&node.labels))
        }
        NodeGuard::Recorded { uid, last, retry } => {
            subject.record().of(uid) == last.as_ref() && subject.retry().pending(uid) == retry.as_deref()
        }
    }
}

impl Guard {
    pub(super) fn new(subject: &Subject, hash: &TemplateHash, node: NodeGuard) -> Self {
        Self {
            uid: subject.uid().clone(),
            generation: subject.generation(),
            hash: hash.clone(),
            node,
        }
    }
}

impl NodeGuard {
    pub(super) fn recorded(subject: &Subject, uid: &NodeUid) -> Self {
        Self::Recorded {
            uid: uid.clone(),
            last: subject.record().of(uid).cloned(),
            retry: subject.retry().pending(uid).map(str::to_owned),
        }
    }

    pub(super) fn for_delete(why: Why, subject: &Subject, job: &crate::observed::JobView) -> Self {
        let (Some(name), Some(uid)) = (&job.node, &job.node_uid) else {
            return Self::Any;
        };
        match why {
            Why::Deselected => Self::NotSelected { name: name.clone() },
            Why::Expired | Why::Replaced | Why::Retried => Self::recorded(subject, uid),
            Why::NodeGone | Why::NodeRecreated => Self::Gone {
                name: name.clone(),
                uid: uid.clone(),
            },
            // That the DaemonJob of the guard has our UID under this name proves the older one gone.
            Why::OwnerGone => Self::Any,
        }
    }
}
