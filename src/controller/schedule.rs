//! What the controller remembers of one DaemonJob between two plans: when to look again, what failed, what is on
//! its way. Everything here may be lost; the next leader starts without it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::names::JobName;
use daemonjob_core::plan::{Refusal, Setback};
use jiff::Timestamp;
use tokio::time::Instant;

use super::execute::{FreshReads, Work};

/// A plan is made no sooner than so many times the duration of the last one: at most 5 % of one core.
const REST: u32 = 20;

/// One DaemonJob between two plans.
pub(super) struct Schedule {
    /// Something changed since the last plan.
    pub(super) dirty: bool,
    /// No plan before then.
    not_before: Instant,
    /// Plan again then, though nothing happens.
    wake_at: Option<Timestamp>,
    /// What writes for single nodes met.
    pub(super) setbacks: BTreeMap<JobName, Setback>,
    /// The API server refuses the template.
    pub(super) refusal: Option<Refusal>,
    /// Restoring the hash annotation, and how often in a row.
    pub(super) restoring: Option<Setback>,
    /// Writes of the last plan that have not been sent.
    pub(super) queue: VecDeque<Work>,
    /// Jobs that a write is on its way for.
    pub(super) in_flight: BTreeSet<JobName>,
    /// A write to the DaemonJob itself is on its way.
    pub(super) patching: bool,
    /// Creates need a read of the DaemonJob that is not older: its Jobs were listed anew, or one vanished.
    pub(super) suspect_since: Option<Instant>,
    /// Reads that writes share.
    pub(super) reads: Arc<FreshReads>,
    /// No status before then, unless a condition changes.
    pub(super) status_not_before: Instant,
    /// What status writes met.
    pub(super) status_setback: Option<Setback>,
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dirty: true,
            not_before: now,
            wake_at: None,
            setbacks: BTreeMap::new(),
            refusal: None,
            restoring: None,
            queue: VecDeque::new(),
            in_flight: BTreeSet::new(),
            patching: false,
            suspect_since: Some(now),
            reads: Arc::default(),
            status_not_before: now,
            status_setback: None,
        }
    }

    /// When to plan next: now or earlier means at once.
    pub(super) fn due(&self, now: Instant, clock: Timestamp) -> Option<Instant> {
        if self.dirty {
            return Some(self.not_before);
        }
        let wait = self.wake_at?.duration_since(clock);
        let wait = Duration::try_from(wait).unwrap_or_default();
        Some((now + wait).max(self.not_before))
    }

    /// A plan was made, and took so long.
    pub(super) fn planned(&mut self, wake_at: Option<Timestamp>, now: Instant, took: Duration) {
        self.dirty = false;
        self.wake_at = wake_at;
        self.not_before = now + took * REST;
    }

    /// Plan again at this time at the latest.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Something did not hold any more: look again, but not at once.
    pub(super) fn pause(&mut self, now: Instant, pause: Duration) {
        self.dirty = true;
        self.not_before = self.not_before.max(now + pause);
    }
}
