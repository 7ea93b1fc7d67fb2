//! Every run that was ever started, as an observer at the API server sees it: what the laws are held against.

use serde_json::Value;

use super::super::Subject;
use crate::names::{NodeName, NodeUid, Uid};
use crate::observed::JobView;
use crate::record::Finish;

/// A law that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) law: Law,
    pub(super) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Law {
    /// L1.
    Converges,
    /// L2: finished work stays finished.
    FinishedStays,
    /// L3.
    OneJob,
    /// L4.
    OnlyItsOwn,
    /// L5.
    Keeps,
    /// L6: what is deleted may be deleted.
    Justified,
    /// L10.
    Partition,
    /// L11.
    Bounded,
}

/// One Job that was started.
#[derive(Clone, Debug)]
struct Run {
    job: Uid,
    daemon_job: Uid,
    node: NodeUid,
    /// Where its Pods run, by their affinity.
    place: NodeName,
    hash: String,
    retry: Option<String>,
    has_pods: bool,
    finish: Option<Finish>,
    /// The store has held its outcome.
    recorded: bool,
    /// Before that, a user took away what its outcome could be learned from.
    meddled: bool,
}

#[derive(Default)]
pub(super) struct Ledger {
    runs: Vec<Run>,
    pub(super) breaches: Vec<Breach>,
}

impl Ledger {
    pub(super) fn breach(&mut self, law: Law, detail: String) {
        self.breaches.push(Breach { law, detail });
    }

    fn run(&mut self, job: &Uid) -> Option<&mut Run> {
        self.runs.iter_mut().find(|run| run.job == *job)
    }

    /// A Job of ours was stored.
    pub(super) fn started(&mut self, view: &JobView, job: &Value) {
        let (Some(owner), Some(node), Some(hash)) = (&view.owner, &view.node_uid, &view.hash) else {
            return self.breach(Law::OnlyItsOwn, format!("a Job without our marks: {view:?}"));
        };
        let run = Run {
            job: view.uid.clone(),
            daemon_job: owner.uid.clone(),
            node: node.clone(),
            place: pin(job),
            hash: hash.to_string(),
            retry: view.retry.as_deref().map(str::to_owned),
            has_pods: true,
            finish: None,
            recorded: false,
            meddled: false,
        };
        if let Some(other) = self
            .runs
            .iter()
            .find(|other| other.has_pods && other.place == run.place)
        {
            let detail = format!("{other:?} still runs when {run:?} starts");
            self.breach(Law::OneJob, detail);
        }
        let last = |other: &&Run| other.daemon_job == run.daemon_job && other.node == run.node;
        if let Some(last) = self.runs.iter().rev().find(last) {
            let is_known = last.finish.is_some() && !last.meddled;
            let is_asked = run.retry.is_some() && run.retry != last.retry;
            if last.hash == run.hash && is_known && !is_asked {
                let detail = format!("{last:?} is run again as {run:?}");
                self.breach(Law::FinishedStays, detail);
            }
        }
        self.runs.push(run);
    }

    /// A Job has changed.
    pub(super) fn changed(&mut self, view: &JobView) {
        let (outcome, counts) = (view.finish(), view.is_result());
        if let Some(run) = self.run(&view.uid) {
            run.has_pods &= outcome.is_none();
            run.finish = outcome.filter(|_| counts);
        }
    }

    /// A user took away the Job, or what makes it ours, perhaps before its outcome was seen.
    pub(super) fn meddled(&mut self, job: &Uid) {
        if let Some(run) = self.run(job) {
            run.meddled |= !run.recorded;
        }
    }

    /// A Job is gone.
    pub(super) fn gone(&mut self, view: &JobView) {
        if let Some(run) = self.run(&view.uid) {
            run.has_pods = false;
        }
    }

    /// A status was stored: these outcomes are known from now on.
    pub(super) fn stored(&mut self, subject: &Subject) {
        for run in &mut self.runs {
            run.recorded |= run.is_on_record(subject);
        }
    }

    /// Whether this Job was made for this DaemonJob.
    pub(super) fn is_made_for(&self, job: &Uid, daemon_job: &Uid) -> bool {
        let made = |run: &&Run| run.job == *job && run.daemon_job == *daemon_job;
        self.runs.iter().any(|run| made(&run))
    }

    /// Whether the record reads as the outcome of this Job.
    pub(super) fn is_on_record(&self, job: &Uid, subject: &Subject) -> bool {
        self.runs.iter().any(|run| run.job == *job && run.is_on_record(subject))
    }
}

impl Run {
    fn is_on_record(&self, subject: &Subject) -> bool {
        let is_pending = self.retry.is_some() && subject.retry().pending(&self.node) == self.retry.as_deref();
        let held = subject.record().of(&self.node);
        let is_held = held.is_some_and(|run| run.template_hash == self.hash && self.finish == Some(run.finish));
        self.daemon_job == *subject.uid() && is_held && !is_pending
    }
}

/// The node that the affinity of a built Job allows.
fn pin(job: &Value) -> NodeName {
    const TERMS: &str = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                         nodeSelectorTerms";
    let terms = job.pointer(TERMS).and_then(Value::as_array).unwrap();
    assert_eq!(terms.len(), 1, "{terms:?}");
    let field = &terms[0]["matchFields"][0];
    assert_eq!(
        (&field["key"], &field["operator"]),
        (&"metadata.name".into(), &"In".into())
    );
    NodeName::new(field["values"][0].as_str().unwrap())
}
