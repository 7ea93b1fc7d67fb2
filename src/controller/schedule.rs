//! What the controller remembers of one DaemonJob between two plans: when to look again, what failed, what is on
//! its way. Everything here may be lost; the next leader starts without it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::index::Key;
use daemonjob_core::names::{JobName, Uid};
use daemonjob_core::plan::{Action, Answer, Outcome, Plan, Refusal, Setback, Slot, Subject, absorb, classify_create};
use daemonjob_core::reason::Reason;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::execute::{FreshReads, Work, Write};
use crate::clock;

/// A plan is made no sooner than so many times the duration of the last one: at most 5 % of one core.
const REST: u32 = 20;

/// A write that takes longer has no place in the window any more: what hangs must not hold up other DaemonJobs.
const HANGS_AFTER: Duration = Duration::from_secs(2);
/// So many writes of one DaemonJob may hang; those after them would as well.
const HANGING_MAX: usize = 4;
/// So many writes of one DaemonJob wait to be sent. Each answer plans anew, so there are always enough of them.
const WAITING_MAX: usize = 500;

/// A hash annotation that stays right for so long is no longer contested.
const CALM: SignedDuration = SignedDuration::from_mins(10);
/// Between two looks at Events: one list for a DaemonJob, however many of its Jobs have no Pod.
const LOOK_PAUSE: Duration = Duration::from_secs(20);
/// Pause after a guard did not hold: the cache needs a moment to catch up.
const STALE_PAUSE: Duration = Duration::from_secs(1);

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
    /// What Events say of Pods that could not be created, by the UID of the Job.
    pub(super) pods_refused: BTreeMap<Uid, String>,
    /// No look at Events before then.
    look_not_before: Instant,
    /// Restoring the hash annotation, and how often in a row.
    pub(super) restoring: Option<Setback>,
    /// Writes of the last plan that have not been sent.
    pub(super) queue: VecDeque<Work>,
    /// Jobs that a write is on its way for, and since when.
    pub(super) in_flight: BTreeMap<JobName, Instant>,
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
    /// Plans that met a defect.
    defects: Option<Setback>,
}

/// When the next write counts as one that hangs, and leaves its place to another.
pub(super) fn hangs_next<'a>(schedules: impl Iterator<Item = &'a Schedule>, now: Instant) -> Option<Instant> {
    let sent = schedules.flat_map(|schedule| schedule.in_flight.values());
    sent.map(|sent| *sent + HANGS_AFTER).filter(|at| *at > now).min()
}

impl Schedule {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            dirty: true,
            not_before: now,
            wake_at: None,
            setbacks: BTreeMap::new(),
            refusal: None,
            pods_refused: BTreeMap::new(),
            look_not_before: now,
            restoring: None,
            queue: VecDeque::new(),
            in_flight: BTreeMap::new(),
            patching: false,
            suspect_since: Some(now),
            reads: Arc::default(),
            status_not_before: now,
            status_setback: None,
            defects: None,
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
        self.defects = None;
        self.wake_at = wake_at;
        self.not_before = now + took * REST;
    }

    /// Whether a write waits that may be sent, as far as this DaemonJob goes.
    pub(super) fn has_a_write(&self, now: Instant) -> bool {
        !self.queue.is_empty() && self.hanging(now) < HANGING_MAX
    }

    /// How many of its writes hang.
    pub(super) fn hanging(&self, now: Instant) -> usize {
        let sent = self.in_flight.values();
        sent.filter(|sent| now.duration_since(**sent) >= HANGS_AFTER).count()
    }

    /// The plan met a defect: plan again, ever less often.
    pub(super) fn met_a_defect(&mut self, now: Instant, clock: Timestamp) {
        let again = Outcome::Failed {
            because: Reason::InternalError.into(),
            retry_after: None,
        };
        self.defects = absorb(self.defects.as_ref(), None, &again, clock, clock::jitter()).0;
        let wait = self
            .defects
            .as_ref()
            .map(|defects| defects.retry_at.duration_since(clock));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
        self.pause(now, wait.unwrap_or_default());
    }

    /// Plan again at this time at the latest.
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Whether to read Events now; if so, not again for a while.
    pub(super) fn look_for_events(&mut self, now: Instant, clock: Timestamp) -> bool {
        let due = self.look_not_before <= now;
        if due {
            self.look_not_before = now + LOOK_PAUSE;
        }
        self.wake(clock + (self.look_not_before - now));
        due
    }

    /// Something did not hold any more: look again, but not at once.
    pub(super) fn pause(&mut self, now: Instant, pause: Duration) {
        self.dirty = true;
        self.not_before = self.not_before.max(now + pause);
    }

    /// The writes of a plan replace those of the last one that have not been sent.
    pub(super) fn enqueue(&mut self, key: &Key, subject: &Arc<Subject>, slots: &[&Slot], plan: &Plan) {
        self.queue.clear();
        for action in &plan.actions {
            if self.queue.len() == WAITING_MAX {
                break;
            }
            let write = match action {
                Action::Create { slot, guard } => {
                    let Some(slot) = slots.get(*slot) else { continue };
                    Write::Create {
                        slot: Slot::clone(slot),
                        guard: guard.clone(),
                    }
                }
                Action::Delete {
                    name,
                    uid,
                    resource_version,
                    why,
                    guard,
                    news,
                } => Write::Delete {
                    name: name.clone(),
                    uid: uid.clone(),
                    resource_version: resource_version.clone(),
                    why: *why,
                    guard: guard.clone(),
                    news: news.clone(),
                },
                Action::RestoreHash {
                    hash,
                    resource_version,
                    news,
                } => {
                    if self.patching {
                        continue;
                    }
                    Write::RestoreHash {
                        hash: hash.clone(),
                        resource_version: resource_version.clone(),
                        news: news.clone(),
                    }
                }
            };
            if write.job().is_none_or(|name| !self.in_flight.contains_key(name)) {
                self.queue.push_back(Work {
                    key: key.clone(),
                    subject: Arc::clone(subject),
                    write,
                    suspect_since: self.suspect_since,
                    planned: Instant::now(),
                });
            }
        }
    }

    pub(super) fn absorb(&mut self, write: &Write, outcome: &Outcome) {
        let (now, jitter) = (clock::now(), clock::jitter());
        self.dirty = true;
        if matches!(outcome, Outcome::Stale) {
            self.pause(Instant::now(), STALE_PAUSE);
        }
        let Some(name) = write.job() else {
            self.patching = false;
            // A restoration counts as a setback even where it succeeded: the next one must not follow at once.
            let again = Outcome::Failed {
                because: Reason::TemplateHashRestored.into(),
                retry_after: None,
            };
            let recent = self
                .restoring
                .as_ref()
                .filter(|last| now.duration_since(last.retry_at) < CALM);
            self.restoring = absorb(recent, None, &again, now, jitter).0;
            return;
        };
        self.in_flight.remove(name);
        let (setback, refusal) = absorb(self.setbacks.get(name), self.refusal.as_ref(), outcome, now, jitter);
        // Only a create says anything about whether creates are refused.
        if matches!(write, Write::Create { .. }) {
            self.refusal = refusal;
        }
        if self.refusal.is_some() {
            // All of them would hear the same; the next plan probes.
            self.queue.retain(|work| !matches!(work.write, Write::Create { .. }));
        }
        match setback {
            Some(setback) => drop(self.setbacks.insert(name.clone(), setback)),
            None => drop(self.setbacks.remove(name)),
        }
    }

    pub(super) fn reported(&mut self, pause: Duration, refused: Option<&Answer>) {
        self.patching = false;
        self.dirty = true;
        self.status_not_before = Instant::now() + pause;
        let Some(answer) = refused else {
            self.status_setback = None;
            return;
        };
        let outcome = if answer.code == 409 {
            Outcome::Stale
        } else {
            classify_create(&Answer {
                code: 0,
                ..answer.clone()
            })
        };
        self.status_setback = absorb(
            self.status_setback.as_ref(),
            None,
            &outcome,
            clock::now(),
            clock::jitter(),
        )
        .0;
        if answer.code == 409 {
            self.pause(Instant::now(), STALE_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use daemonjob_core::names::NodeName;
    use daemonjob_core::plan::{Guard, NodeGuard, Plan};
    use serde_json::json;

    use super::*;

    fn subject() -> Arc<Subject> {
        let daemon_job =
            json!({"metadata": {"name": "it", "namespace": "ns", "uid": "u"}, "spec": {"jobTemplate": {}}});
        Arc::new(Subject::new(serde_json::from_value(daemon_job).unwrap()))
    }

    fn name(n: usize) -> JobName {
        daemonjob_core::names::job_name("it", &NodeName::new(format!("n{n}")))
    }

    /// Something to do for so many nodes.
    fn enqueue(schedule: &mut Schedule, nodes: usize) {
        let subject = subject();
        let slots: Vec<Slot> = (0..nodes)
            .map(|n| Slot {
                name: name(n),
                node: None,
                selected: true,
                job: None,
                ended: None,
            })
            .collect();
        let create = |slot| Action::Create {
            slot,
            guard: Guard {
                uid: subject.uid().clone(),
                generation: 1,
                hash: daemonjob_core::hash::TemplateHash::of(&json!({})).unwrap(),
                node: NodeGuard::Any,
            },
        };
        let plan = Plan {
            actions: (0..nodes).map(create).collect(),
            status: subject.status().clone(),
            urgent: false,
            events: Vec::new(),
            finished: Vec::new(),
            wake_at: None,
            look_for_events: false,
        };
        let key = Key::of(&subject);
        schedule.enqueue(&key, &subject, &slots.iter().collect::<Vec<_>>(), &plan);
    }

    #[test]
    fn f12_a_daemonjob_of_which_four_writes_hang_waits_for_their_answers() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        enqueue(&mut schedule, 6);
        schedule.in_flight = (0..4).map(|n| (name(n), start)).collect();
        let later = start + HANGS_AFTER;
        assert_eq!((schedule.hanging(start), schedule.hanging(later)), (0, 4));
        assert!(schedule.has_a_write(start) && !schedule.has_a_write(later));
        schedule.in_flight.remove(&name(0));
        assert!(schedule.has_a_write(later));
    }

    #[test]
    fn f37_a_part_of_what_is_to_be_done_waits_and_what_is_on_its_way_is_not_part_of_it() {
        let mut schedule = Schedule::new(Instant::now());
        schedule.in_flight = BTreeMap::from([(name(0), Instant::now())]);
        enqueue(&mut schedule, WAITING_MAX + 10);
        assert_eq!(schedule.queue.len(), WAITING_MAX);
        assert_eq!(schedule.queue[0].write.job(), Some(&name(1)));
    }
}
