//! From one decision per node to actions, counters, status and events: all from the same decisions,
//! so that they always agree.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::conditions::{Verdict, conditions};
use super::decide::{Stage, is_pending_since};
use super::guard::NodeGuard;
use super::memory::Memory;
use super::status::{GROUP_NAMES_MAX, groups, is_urgent, stuck_nodes, summary};
use super::{About, Action, Decision, EventDraft, Guard, Observed, Plan, Slot, Why};
use crate::eligibility::Because;
use crate::names::{JobName, NodeName};
use crate::observed::{JobView, NodeView, Run};
use crate::reason::Reason;
use crate::record::Finish;
use crate::retry::Retry;
use crate::types::{DaemonJobStatus, Failure};
use crate::validation::Spec;

/// Failed nodes that a status names, and news of one plan.
pub(super) const FAILURES_MAX: usize = 20;
/// How long a Job may be without a ready Pod before its node counts as stuck.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How long a Job may be without any Pod before its Events are read.
const PODLESS_AFTER: SignedDuration = SignedDuration::from_secs(10);
/// How long nodes may be unavailable before the rest counts as ready.
pub(super) const UNAVAILABLE_GRACE: SignedDuration = SignedDuration::from_mins(10);

/// What the decisions add up to.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) active: i64,
    pub(super) succeeded: i64,
    pub(super) failed: i64,
    pub(super) waiting: i64,
    pub(super) outdated: i64,
    pub(super) skipped: i64,
    /// Those of them that came after the run began.
    pub(super) skipped_late: i64,
    /// Unfinished nodes of the run's beginning, apart from those that only cannot take work now.
    pub(super) open: i64,
    /// Nodes of the run's beginning that cannot take work now.
    pub(super) unavailable: i64,
    pub(super) waiting_groups: BTreeMap<Because, Vec<String>>,
    pub(super) skipped_groups: BTreeMap<Because, Vec<String>>,
    pub(super) stuck: Vec<String>,
    failures: Vec<Failure>,
}

impl Tally {
    pub(super) fn desired(&self) -> i64 {
        self.active + self.succeeded + self.failed + self.waiting
    }
}

/// Folds the decisions of a spec that may run.
pub(super) fn fold(seen: &Observed<'_>, spec: &Spec, decisions: &[Decision]) -> Plan {
    let mut folding = Folding::new(seen, spec);
    for (index, (slot, decision)) in seen.slots.iter().zip(decisions).enumerate() {
        folding.memory.take(seen.subject, slot);
        folding.one(index, slot, decision);
    }
    if let Some(gone) = seen.gone {
        folding.memory.record.drop_gone(gone);
    }
    folding.take_retry_request(decisions);
    folding.finish()
}

struct Folding<'a> {
    seen: &'a Observed<'a>,
    spec: &'a Spec,
    start_time: Timestamp,
    /// The run had completed before this plan: whatever is unfinished now came later.
    completed: bool,
    tally: Tally,
    memory: Memory,
    actions: Vec<Action>,
    creates: usize,
    /// The refusal holds up a node of the run's beginning.
    refused: bool,
    wake_at: Option<Timestamp>,
    look_for_events: bool,
}

impl<'a> Folding<'a> {
    fn new(seen: &'a Observed<'a>, spec: &'a Spec) -> Self {
        let status = seen.subject.status();
        let carried = (!seen.subject.is_new_run()).then_some(status);
        Self {
            seen,
            spec,
            start_time: carried
                .and_then(|status| status.start_time)
                .unwrap_or_else(|| seen.second()),
            completed: carried.is_some_and(|status| status.completion_time.is_some()) && !is_retrying(seen),
            tally: Tally::default(),
            memory: Memory::of(seen.subject),
            actions: Vec::new(),
            creates: 0,
            refused: false,
            wake_at: None,
            look_for_events: false,
        }
    }

    /// A time that has come is no time to wait for: to plan again at once would change nothing, for ever.
    fn wake(&mut self, at: Timestamp) {
        if at > self.seen.now {
            self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// A token that was not seen before: from the next plan on its nodes run again.
    fn take_retry_request(&mut self, decisions: &[Decision]) {
        let Some(request) = self.seen.subject.retry_request() else {
            return;
        };
        if request.token == self.seen.subject.retry().token() {
            return;
        }
        // What the last one asked for and has not started yet has failed too, and must not be forgotten.
        let last = std::mem::replace(&mut self.memory.retry, Retry::new(&request.token));
        let mut unknown: BTreeSet<&NodeName> = request.nodes.iter().flatten().collect();
        for (slot, decision) in self.seen.slots.iter().zip(decisions) {
            let Some(node) = slot.node.as_ref().filter(|_| slot.selected) else {
                continue;
            };
            let named = unknown.remove(&node.name);
            let failed = has_failed(decision) || last.pending(&node.uid).is_some();
            if named || (request.nodes.is_none() && failed) {
                self.memory.retry.add(&node.uid);
            }
        }
        if !unknown.is_empty() {
            let names: Vec<&str> = unknown.iter().take(GROUP_NAMES_MAX).map(|name| name.as_str()).collect();
            self.memory.news.push(EventDraft {
                warning: true,
                reason: Reason::RetryUnknownNodes,
                note: format!(
                    "retry {}: not selected or not there: {}",
                    request.token,
                    names.join(", ")
                ),
                about: None,
            });
        }
    }

    fn one(&mut self, index: usize, slot: &Slot, decision: &Decision) {
        self.watch_podless(slot);
        match decision {
            Decision::Create => self.create(index, slot),
            Decision::Expire { at, meanwhile } => {
                if *at <= self.seen.now {
                    self.delete(slot, Why::Expired);
                } else {
                    self.wake(*at);
                }
                self.one(index, slot, meanwhile);
            }
            Decision::Ignore => {}
            Decision::Keep(progress) => self.count(slot, progress.stage, progress.outdated),
            Decision::Replace(why) => {
                self.delete(slot, *why);
                self.count_waiting(slot, &Reason::Replacing.into(), true);
            }
            Decision::Retire(why) => {
                self.delete(slot, *why);
                if slot.selected {
                    self.count_waiting(slot, &Reason::Replacing.into(), false);
                }
            }
            Decision::Skip { because, outdated } => {
                self.tally.skipped += 1;
                self.tally.skipped_late += i64::from(self.is_late(slot));
                self.tally.outdated += i64::from(*outdated);
                self.tally
                    .skipped_groups
                    .entry(because.clone())
                    .or_default()
                    .push(node_name(slot));
            }
            Decision::Wait { because, outdated } => {
                if let Some(setback) = self.seen.troubles.setback(slot) {
                    self.wake(setback.retry_at);
                }
                let overdue = slot.job.as_deref().and_then(is_pending_since);
                if let Some(at) = overdue.filter(|at| *at > self.seen.now) {
                    self.wake(at);
                }
                self.count_waiting(slot, because, *outdated);
            }
        }
    }

    /// While the API server refuses the template, one create is enough to hear when it no longer does.
    fn create(&mut self, index: usize, slot: &Slot) {
        let Some(node) = &slot.node else { return };
        let retry = self.seen.subject.retry();
        let outdated = self.memory.record.of(&node.uid).is_some() || retry.pending(&node.uid).is_some();
        self.creates += 1;
        if let Some(refusal) = self.seen.troubles.refusal {
            self.refused |= !self.is_late(slot);
            self.count_waiting(slot, &refusal.reason.into(), outdated);
            if refusal.reason == Reason::NamespaceTerminating {
                // It never becomes usable again.
                return;
            }
            if refusal.retry_at > self.seen.now || self.creates > 1 {
                self.wake(refusal.retry_at);
                return;
            }
        } else {
            // What the last attempt met holds until this one is answered.
            let setback = self.seen.troubles.setback(slot);
            let because = setback.map(|setback| setback.because.clone());
            self.count_waiting(slot, &because.unwrap_or_else(|| Reason::Starting.into()), outdated);
        }
        let subject = self.seen.subject;
        self.actions.push(Action::Create {
            slot: index,
            guard: Guard::new(
                subject,
                self.spec.template.hash(),
                NodeGuard::recorded(subject, &node.uid),
            ),
        });
    }

    fn delete(&mut self, slot: &Slot, why: Why) {
        let Some(job) = &slot.job else { return };
        let setback = self.seen.troubles.setback(slot);
        if let Some(setback) = setback.filter(|setback| setback.retry_at > self.seen.now) {
            self.wake(setback.retry_at);
            return;
        }
        let subject = self.seen.subject;
        let guard = Guard::new(
            subject,
            self.spec.template.hash(),
            NodeGuard::for_delete(why, subject, job),
        );
        self.actions.push(Action::Delete {
            name: job.name.clone(),
            uid: job.uid.clone(),
            resource_version: job.resource_version.clone(),
            why,
            guard,
            news: news_of_delete(why, job),
        });
    }

    fn count(&mut self, slot: &Slot, stage: Stage, outdated: bool) {
        self.tally.outdated += i64::from(outdated);
        match stage {
            Stage::Active => {
                self.tally.active += 1;
                self.count_open(slot, false);
                self.count_stuck(slot);
            }
            Stage::Finished(Finish::Succeeded) => self.tally.succeeded += 1,
            Stage::Finished(Finish::Failed) => {
                self.tally.failed += 1;
                let failure = self.failure(slot);
                self.tally.failures.push(failure);
            }
        }
    }

    /// A Job without any Pod may be one whose Pods are refused; only its Events say so.
    fn watch_podless(&mut self, slot: &Slot) {
        let Some(since) = slot.job.as_ref().and_then(|job| job.podless_since) else {
            return;
        };
        let late = since.checked_add(PODLESS_AFTER).unwrap_or(Timestamp::MAX);
        if late <= self.seen.now {
            self.look_for_events = true;
        } else {
            self.wake(late);
        }
    }

    fn count_stuck(&mut self, slot: &Slot) {
        let Some(since) = slot.job.as_ref().and_then(|job| job.unready_since) else {
            return;
        };
        let stuck_at = since.checked_add(STUCK_AFTER).unwrap_or(Timestamp::MAX);
        if stuck_at <= self.seen.now {
            self.tally.stuck.push(node_name(slot));
        } else {
            self.wake(stuck_at);
        }
    }

    fn count_waiting(&mut self, slot: &Slot, because: &Because, outdated: bool) {
        self.tally.waiting += 1;
        self.tally.outdated += i64::from(outdated);
        self.tally
            .waiting_groups
            .entry(because.clone())
            .or_default()
            .push(node_name(slot));
        self.count_open(slot, because.reason.is_unavailable());
    }

    /// Late nodes hold nothing up: those that joined after the run began, and all that start after it completed.
    fn is_late(&self, slot: &Slot) -> bool {
        let joined = slot.node.as_ref().and_then(|node| node.created);
        self.completed || joined.is_some_and(|joined| joined > self.start_time)
    }

    fn count_open(&mut self, slot: &Slot, unavailable: bool) {
        if self.is_late(slot) {
            return;
        }
        if unavailable {
            self.tally.unavailable += 1;
        } else {
            self.tally.open += 1;
        }
    }

    /// What the Job says of its failure; once it is gone, what the status said before.
    fn failure(&self, slot: &Slot) -> Failure {
        let node = node_name(slot);
        for job in [&slot.job, &slot.ended].into_iter().flatten() {
            if let Run::Failed { reason, message, .. } = &job.run {
                return failure(node, &slot.name, reason, message);
            }
        }
        let known = self
            .seen
            .subject
            .status()
            .failures
            .iter()
            .find(|failure| failure.node == node);
        known
            .cloned()
            .unwrap_or_else(|| failure(node, &slot.name, Reason::JobFailed.as_str(), "the Job is gone"))
    }

    fn finish(mut self) -> Plan {
        let grace_ends = self.start_time.checked_add(UNAVAILABLE_GRACE).unwrap_or(Timestamp::MAX);
        if self.tally.unavailable > 0 && grace_ends > self.seen.now {
            self.wake(grace_ends);
        }
        let verdict = Verdict::of_run(
            &self.tally,
            self.seen.troubles.refusal.filter(|_| self.refused),
            self.seen.subject.reading().both_selectors(),
            grace_ends <= self.seen.now,
        );
        let status = self.status(&verdict);
        let mut events = verdict.events(self.seen);
        events.append(&mut self.memory.news);
        events.truncate(FAILURES_MAX);
        Plan {
            urgent: is_urgent(self.seen.subject.status(), &status),
            actions: self.actions,
            status,
            events,
            finished: self.memory.finished,
            wake_at: self.wake_at,
            look_for_events: self.look_for_events,
        }
    }

    fn status(&mut self, verdict: &Verdict) -> DaemonJobStatus {
        let old = self.seen.subject.status();
        let completion = old.completion_time.filter(|_| !self.seen.subject.is_new_run());
        let tally = &mut self.tally;
        tally.failures.truncate(FAILURES_MAX);
        DaemonJobStatus {
            observed_generation: self.seen.subject.generation(),
            template_hash: Some(self.spec.template.hash().as_str().to_owned()),
            desired: tally.desired(),
            active: tally.active,
            succeeded: tally.succeeded,
            failed: tally.failed,
            waiting: tally.waiting,
            outdated: tally.outdated,
            skipped: tally.skipped,
            summary: Some(summary(tally)),
            failures: std::mem::take(&mut tally.failures),
            waiting_nodes: groups(&tally.waiting_groups, self.seen.troubles.refusal),
            skipped_nodes: groups(&tally.skipped_groups, None),
            stuck_nodes: stuck_nodes(&tally.stuck, self.seen.subject),
            start_time: Some(self.start_time),
            completion_time: verdict
                .finished
                .then(|| completion.unwrap_or_else(|| self.seen.second())),
            finished_nodes: self.memory.record.render(),
            retry: self.memory.retry.render(),
            conditions: conditions(verdict, self.seen),
        }
    }
}

/// A node that is selected is still to run again.
fn is_retrying(seen: &Observed<'_>) -> bool {
    let pending = |node: &NodeView| seen.subject.retry().pending(&node.uid).is_some();
    let mut selected = seen.slots.iter().filter(|slot| slot.selected);
    selected.any(|slot| slot.node.as_deref().is_some_and(pending))
}

fn has_failed(decision: &Decision) -> bool {
    match decision {
        Decision::Expire { meanwhile, .. } => has_failed(meanwhile),
        Decision::Keep(progress) => progress.stage == Stage::Finished(Finish::Failed),
        Decision::Create
        | Decision::Ignore
        | Decision::Replace(_)
        | Decision::Retire(_)
        | Decision::Skip { .. }
        | Decision::Wait { .. } => false,
    }
}

fn failure(node: String, job: &JobName, reason: &str, message: &str) -> Failure {
    Failure {
        node,
        job: job.to_string(),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

fn node_name(slot: &Slot) -> String {
    slot.node
        .as_ref()
        .map_or_else(|| slot.name.to_string(), |node| node.name.to_string())
}

/// A Job that went with its node may have done its work or not: nobody will know.
fn news_of_delete(why: Why, job: &JobView) -> Option<EventDraft> {
    let unknown = job.finish().is_none() && matches!(why, Why::NodeGone | Why::NodeRecreated);
    unknown.then(|| EventDraft {
        warning: true,
        reason: why.reason(),
        note: format!(
            "Job {} was deleted because its node is gone; its outcome is unknown",
            job.name
        ),
        about: Some(About::Job(job.name.clone())),
    })
}
