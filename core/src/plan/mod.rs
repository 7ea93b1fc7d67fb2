//! The planner: from everything seen of one DaemonJob to everything to do about it.
//!
//! [`plan`] is pure and total. One decision per node, [`decide`], is folded into actions, status and events,
//! so that they can never disagree. The process executes and makes no choice of its own: what it needs to know on
//! the way is pure as well ([`permits`] for a delete or create about to be sent, [`absorb`] for its answer).

mod build;
mod check;
mod conditions;
mod decide;
mod fold;
mod guard;
mod held;
#[cfg(test)]
mod laws;
mod memory;
mod outcome;
mod slot;
mod status;
mod subject;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

pub use self::build::build_job;
pub use self::check::{Violation, check};
pub use self::decide::{Decision, Progress, Why, decide};
pub use self::guard::{Fresh, Guard, NodeGuard, permits};
pub use self::memory::Finished;
pub use self::outcome::{Answer, Outcome, Refusal, Setback, absorb, classify_create, classify_delete, taken};
pub use self::slot::Slot;
pub use self::status::status_patch;
pub use self::subject::Subject;
use crate::hash::TemplateHash;
use crate::names::{JobName, Uid};
use crate::observed::Listed;
use crate::reason::Reason;
use crate::types::DaemonJobStatus;

/// Everything seen of one DaemonJob, at one moment. All of it may be stale; each guard says why that is safe.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    subject: &'a Subject,
    slots: &'a [&'a Slot],
    troubles: Troubles<'a>,
    gone: Option<&'a BTreeSet<String>>,
    passing_taints: &'a [String],
    now: Timestamp,
}

/// What earlier writes met, and what else went wrong.
#[derive(Clone, Copy, Debug)]
pub struct Troubles<'a> {
    /// What the last write for a node met, if it has not been made good; by the name of its Job.
    pub setbacks: &'a BTreeMap<JobName, Setback>,
    /// What the Events of Jobs say of Pods that were refused; by the UID of the Job, since its successor has the same
    /// name and owes nothing to its Events.
    pub pods_refused: &'a BTreeMap<Uid, String>,
    /// The API server refuses its Jobs.
    pub refusal: Option<&'a Refusal>,
    /// Its hash annotation was restored, so many times in a row.
    pub restoring: Option<&'a Setback>,
}

impl Default for Troubles<'_> {
    fn default() -> Self {
        const NO_SETBACK: &BTreeMap<JobName, Setback> = &BTreeMap::new();
        const NONE_REFUSED: &BTreeMap<Uid, String> = &BTreeMap::new();
        Self {
            setbacks: NO_SETBACK,
            pods_refused: NONE_REFUSED,
            refusal: None,
            restoring: None,
        }
    }
}

impl<'a> Troubles<'a> {
    /// What the last write for this place met.
    fn setback(&self, slot: &Slot) -> Option<&'a Setback> {
        self.setbacks.get(&slot.name)
    }
}

impl<'a> Observed<'a> {
    /// Takes what was seen. `_proof` says that all three kinds have been listed; the slots come from an
    /// [`Index`](crate::index::Index), in the order of their nodes.
    pub fn new(
        _proof: Listed,
        subject: &'a Subject,
        slots: &'a [&'a Slot],
        troubles: Troubles<'a>,
        now: Timestamp,
    ) -> Self {
        Self {
            subject,
            slots,
            troubles,
            gone: None,
            passing_taints: &[],
            now,
        }
    }

    /// Adds the tokens of nodes that a complete list, made for this purpose, has shown to be gone:
    /// they are dropped from the record. A watch cache is not enough, a wrong one would make work run again.
    #[must_use]
    pub fn with_gone(self, gone: &'a BTreeSet<String>) -> Self {
        Self {
            gone: Some(gone),
            ..self
        }
    }

    /// Adds keys of taints that pass by themselves in this cluster.
    #[must_use]
    pub fn with_passing_taints(self, passing_taints: &'a [String]) -> Self {
        Self { passing_taints, ..self }
    }

    /// The time in whole seconds, as the API writes times.
    fn second(&self) -> Timestamp {
        Timestamp::from_second(self.now.as_second()).unwrap_or(self.now)
    }
}

/// What to do about one DaemonJob.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Writes to send, in order; any of them may be lost, the next plan makes it good.
    pub actions: Vec<Action>,
    /// The status as it should read now.
    pub status: DaemonJobStatus,
    /// Whether a condition changes: such a status is written at once.
    pub urgent: bool,
    /// To be sent once the status has been written.
    pub events: Vec<EventDraft>,
    /// Runs that this status records for the first time.
    pub finished: Vec<Finished>,
    /// When to plan again though nothing happens.
    pub wake_at: Option<Timestamp>,
    /// Some Jobs have no Pod though they should: their Events may say why.
    pub look_for_events: bool,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Create the Job of this slot; [`build_job`] makes its text.
    Create {
        /// Index into the slots of the plan.
        slot: usize,
        /// Must still hold on a fresh read, where one is asked for.
        guard: Guard,
    },
    /// Delete this Job in the foreground, with its UID and the version that was examined as preconditions.
    Delete {
        /// Its name.
        name: JobName,
        /// Its UID: a Job of that name with another one is not the one examined.
        uid: Uid,
        /// The version that was examined: it may have finished since, or be ours no longer.
        resource_version: Arc<str>,
        /// Why.
        why: Why,
        /// Must hold on a fresh read.
        guard: Guard,
        /// To be told once it is done.
        news: Option<EventDraft>,
    },
    /// Put the right hash into the annotation of the DaemonJob.
    RestoreHash {
        /// The right one.
        hash: TemplateHash,
        /// The version of the DaemonJob that was examined; the write is refused if it has changed since.
        resource_version: String,
        /// To be told once it is done.
        news: EventDraft,
    },
}

/// An Event to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDraft {
    /// A warning, or news.
    pub warning: bool,
    /// Why.
    pub reason: Reason,
    /// For people.
    pub note: String,
    /// The Job or Node it is about, beside the DaemonJob.
    pub about: Option<About>,
}

/// The second object of an Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A Job in the DaemonJob's namespace.
    Job(JobName),
}

/// Decides what to do about one DaemonJob: pure, total, the same for the same input.
pub fn plan(seen: &Observed<'_>) -> Plan {
    if seen.subject.is_deleting() {
        return Plan::nothing(seen);
    }
    let spec = match seen.subject.reading().runnable() {
        Ok(spec) => spec,
        Err(causes) => return held::invalid(seen, causes),
    };
    let hash = spec.template.hash();
    if seen.subject.annotated_hash() != Some(hash.as_str()) {
        return held::restore(seen, hash);
    }
    let decisions: Vec<Decision> = seen.slots.iter().map(|slot| decide(slot, seen, spec)).collect();
    fold::fold(seen, spec, &decisions)
}

impl Plan {
    fn nothing(seen: &Observed<'_>) -> Self {
        Self {
            actions: Vec::new(),
            status: seen.subject.status().clone(),
            urgent: false,
            events: Vec::new(),
            finished: Vec::new(),
            wake_at: None,
            look_for_events: false,
        }
    }
}
