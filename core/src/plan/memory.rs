//! What a status remembers of nodes beyond their Jobs: how they finished, and which are still to run again.

use super::{About, EventDraft, Slot, Subject};
use crate::observed::{JobView, NodeView, Ownership, Run};
use crate::reason::Reason;
use crate::record::{Finish, LastRun, Record};
use crate::retry::Retry;

/// Record and retry, brought up to what is seen, and the news on the way.
pub(super) struct Memory {
    pub(super) record: Record,
    pub(super) retry: Retry,
    pub(super) news: Vec<EventDraft>,
    pub(super) finished: Vec<Finished>,
}

/// A run that is recorded for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How it finished.
    pub finish: Finish,
    /// Why, in the words of the Job API.
    pub reason: &'static str,
}

/// Reasons that the Job API gives for a failure (source: `batch/v1`, constants `JobReason…`).
const FAILURES: [&str; 5] = [
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "FailedIndexes",
    "MaxFailedIndexesExceeded",
    "PodFailurePolicy",
];

impl Memory {
    /// As the status in the store has it.
    pub(super) fn of(subject: &Subject) -> Self {
        Self {
            record: subject.record().clone(),
            retry: subject.retry().clone(),
            news: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Takes in the Jobs of a slot, the one that is gone first.
    pub(super) fn take(&mut self, subject: &Subject, slot: &Slot) {
        let Some(node) = &slot.node else { return };
        for job in [&slot.ended, &slot.job].into_iter().flatten() {
            self.take_job(subject, node, job);
        }
    }

    /// Takes in a Job, if it is ours and of this node.
    fn take_job(&mut self, subject: &Subject, node: &NodeView, job: &JobView) {
        let is_own = job.ownership(subject.name(), subject.uid()) == Ownership::Own;
        if !is_own || job.node_uid.as_ref() != Some(&node.uid) || subject.is_past(job) {
            return;
        }
        let retried = self.retry.pending(&node.uid);
        if retried.is_some_and(|token| job.retry.as_deref() == Some(token)) {
            // The Job of the retry is there: what the node finished before it counts no longer.
            self.retry.remove(&node.uid);
            self.record.forget(&node.uid);
        }
        match subject.result(job) {
            Some(result) if job.is_result() => self.finish(node, job, result),
            Some(_) => {}
            None => self.forget_other_templates(node, job),
        }
    }

    /// A node that has started another template: what it finished before counts no longer.
    fn forget_other_templates(&mut self, node: &NodeView, job: &JobView) {
        let recorded = self.record.of(&node.uid).map(|run| run.template_hash.as_str());
        if recorded.is_some() && recorded != job.hash.as_ref().map(|hash| hash.as_str()) {
            self.record.forget(&node.uid);
        }
    }

    fn finish(&mut self, node: &NodeView, job: &JobView, result: LastRun) {
        if self.record.of(&node.uid) == Some(&result) {
            return;
        }
        self.finished.push(Finished::of(result.finish, &job.run));
        self.record.finish(&node.uid, result);
        if let Run::Failed { reason, message, .. } = &job.run {
            self.news.push(EventDraft {
                warning: true,
                reason: Reason::JobFailed,
                note: format!("node {}: {reason}: {message}", node.name),
                about: Some(About::Job(job.name.clone())),
            });
        }
    }
}

impl Finished {
    fn of(finish: Finish, run: &Run) -> Self {
        let reason = match run {
            Run::Failed { reason, .. } => FAILURES.iter().find(|known| ***known == **reason).unwrap_or(&"Other"),
            Run::Running | Run::Succeeded { .. } | Run::Suspended => "Completed",
        };
        Self { finish, reason }
    }
}
