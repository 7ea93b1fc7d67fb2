//! Sends the writes of a plan, one each, and says what they met. Only this file writes Jobs.
//!
//! Nothing is decided here: whether a write may still go out is [`permits`]' answer on a fresh read, and what follows
//! from the server's answer is the planner's business.

use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::index::{Key, PlacedJob};
use daemonjob_core::names::{JobName, Uid};
use daemonjob_core::observed::{JobView, Ownership};
use daemonjob_core::plan::{
    Answer, EventDraft, Fresh, Guard, Outcome, Slot, Subject, Why, build_job, classify_create, classify_delete,
    permits, taken,
};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::Server;
use super::watch::place;
use crate::lease::Fence;

/// A delete is sent at most so long after its guards were asked for; till then, deletes share a read of the DaemonJob.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// One write to be sent.
pub(super) struct Work {
    pub(super) key: Key,
    pub(super) subject: Arc<Subject>,
    pub(super) write: Write,
    /// A create needs a read that is not older: what it was planned on was suspect.
    pub(super) suspect_since: Option<Instant>,
    /// When it was planned.
    pub(super) planned: Instant,
}

/// What to write.
pub(crate) enum Write {
    Create {
        slot: Slot,
        guard: Guard,
    },
    Delete {
        name: JobName,
        uid: Uid,
        resource_version: Arc<str>,
        why: Why,
        guard: Guard,
        news: Option<EventDraft>,
    },
    RestoreHash {
        hash: TemplateHash,
        resource_version: String,
        news: EventDraft,
    },
}

impl Write {
    /// The Job that it is about; none for a write to the DaemonJob itself.
    pub(super) fn job(&self) -> Option<&JobName> {
        match self {
            Self::Create { slot, .. } => Some(&slot.name),
            Self::Delete { name, .. } => Some(name),
            Self::RestoreHash { .. } => None,
        }
    }

    /// What is to be told once it is done.
    pub(super) fn news(&self) -> Option<&EventDraft> {
        match self {
            Self::Create { .. } => None,
            Self::Delete { news, .. } => news.as_ref(),
            Self::RestoreHash { news, .. } => Some(news),
        }
    }
}

/// What a write met, and what was learned on the way.
pub(super) struct Done {
    pub(super) work: Arc<Work>,
    pub(super) outcome: Outcome,
    /// A fresh read of the DaemonJob, or the answer to a write to it.
    pub(super) subject: Option<Arc<Subject>>,
    /// The Job as the server has it now.
    pub(super) job: Option<PlacedJob>,
    /// A create was checked against a read that is not older than this.
    pub(super) verified: Option<Instant>,
    /// The server has no such Job any more, or it is no longer recognisable as ours.
    pub(super) lost: bool,
}

impl Done {
    pub(super) fn new(work: Arc<Work>, outcome: Outcome) -> Self {
        Self {
            work,
            outcome,
            subject: None,
            job: None,
            verified: None,
            lost: false,
        }
    }
}

/// The last fresh read of one DaemonJob, shared by all writes that need one.
#[derive(Default)]
pub(super) struct FreshReads {
    last: Mutex<Option<(Instant, Option<Arc<Subject>>)>>,
}

impl FreshReads {
    /// The DaemonJob as it was at `not_before` or later, and when. Callers that come together share one read.
    async fn since(
        &self,
        server: &Server,
        key: &Key,
        not_before: Instant,
    ) -> Result<(Instant, Option<Arc<Subject>>), Answer> {
        let mut last = self.last.lock().await;
        if let Some(known) = last.as_ref().filter(|(at, _)| *at >= not_before) {
            return Ok(known.clone());
        }
        let at = Instant::now();
        let daemon_job = server.daemon_job(&key.namespace, &key.name).await?;
        let subject = daemon_job.map(|daemon_job| Arc::new(Subject::new(daemon_job)));
        *last = Some((at, subject.clone()));
        Ok((at, subject))
    }
}

/// Carries out single writes.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) server: Server,
    pub(super) fence: Fence,
}

impl Executor {
    /// Sends one write. `creates_since` is set where a create needs a read that is not older.
    pub(super) async fn execute(&self, work: Arc<Work>, reads: &FreshReads, creates_since: Option<Instant>) -> Done {
        let mut done = Done::new(work, Outcome::Stale);
        match self.guarded(&mut done, reads, creates_since).await {
            Ok(true) if self.fence.holds() => self.send(&mut done).await,
            // Not the leader any more, or not true any more: whoever leads looks again.
            Ok(true | false) => {}
            Err(answer) => done.outcome = passing(&done.work.write, &answer),
        }
        done
    }

    async fn guarded(
        &self,
        done: &mut Done,
        reads: &FreshReads,
        creates_since: Option<Instant>,
    ) -> Result<bool, Answer> {
        let (Write::Create { guard, .. } | Write::Delete { guard, .. }) = &done.work.write else {
            return Ok(true);
        };
        let asked = Instant::now();
        let node = match guard.node.node() {
            Some(name) => self.server.node(name).await?,
            None => None,
        };
        let now = Instant::now();
        let oldest = now.checked_sub(FRESH_FOR).unwrap_or(now);
        let not_before = match (&done.work.write, creates_since) {
            (Write::Create { .. }, Some(since)) => since,
            // A read before the Job was seen may have found a DaemonJob that was deleted before its owner came.
            (
                Write::Delete {
                    why: Why::OwnerGone, ..
                },
                _,
            ) => done.work.planned.max(oldest),
            (Write::Delete { .. }, _) => oldest,
            (Write::Create { .. }, None) | (Write::RestoreHash { .. }, _) => return Ok(true),
        };
        let (at, subject) = reads.since(&self.server, &done.work.key, not_before).await?;
        done.subject = subject;
        // The read of a delete may be older than the suspicion: it does not answer it.
        done.verified = creates_since.filter(|since| at >= *since);
        let is_delete = matches!(done.work.write, Write::Delete { .. });
        if is_delete && asked.min(at).elapsed() > FRESH_FOR {
            return Err(too_slow());
        }
        Ok(permits(
            guard,
            &Fresh {
                subject: done.subject.as_deref(),
                node: node.as_ref(),
            },
        ))
    }

    async fn send(&self, done: &mut Done) {
        match &done.work.write {
            Write::Create { .. } => self.create(done).await,
            Write::Delete { .. } => self.delete(done).await,
            Write::RestoreHash { .. } => self.restore_hash(done).await,
        }
    }

    async fn create(&self, done: &mut Done) {
        let Write::Create { slot, .. } = &done.work.write else {
            return;
        };
        let Some(job) = build_job(&done.work.subject, slot) else {
            return;
        };
        match self.server.create_job(&done.work.key.namespace, &job).await {
            Ok(job) => {
                done.job = Some(place(job));
                done.outcome = Outcome::Done;
            }
            Err(answer) if answer.code == 409 && answer.reason == "AlreadyExists" => self.look_at_job(done).await,
            Err(answer) => done.outcome = classify_create(&answer),
        }
    }

    /// The name is taken: by our own Job, of which the answer or the event has not come, or by somebody else's.
    async fn look_at_job(&self, done: &mut Done) {
        let Write::Create { slot, .. } = &done.work.write else {
            return;
        };
        match self.server.job(&done.work.key.namespace, &slot.name).await {
            Ok(Some(job)) => {
                let (_, view) = done.job.insert(place(job));
                let (name, uid) = (done.work.subject.name(), done.work.subject.uid());
                done.outcome = match view.ownership(name, uid) {
                    Ownership::Foreign => Outcome::Taken {
                        detail: taken(&done.work.key.namespace, view),
                    },
                    Ownership::Older | Ownership::Own => Outcome::Done,
                };
            }
            Ok(None) => done.outcome = Outcome::Stale,
            Err(answer) => done.outcome = classify_create(&answer),
        }
    }

    async fn delete(&self, done: &mut Done) {
        let Write::Delete {
            name,
            uid,
            resource_version,
            ..
        } = &done.work.write
        else {
            return;
        };
        let namespace = &done.work.key.namespace;
        match self.server.delete_job(namespace, name, uid, resource_version).await {
            Ok(job) => {
                done.lost = job.is_none();
                done.job = job.map(place);
                done.outcome = Outcome::Done;
            }
            Err(answer) => {
                done.outcome = classify_delete(&answer);
                match answer.code {
                    404 => done.lost = true,
                    409 => self.look_at_what_changed(done).await,
                    _ => {}
                }
            }
        }
    }

    /// The Job is not the one that was examined: it changed, it may have finished, or another has its name.
    async fn look_at_what_changed(&self, done: &mut Done) {
        let Write::Delete { name, uid, .. } = &done.work.write else {
            return;
        };
        let key = &done.work.key;
        // Without an answer the watch tells, a little later.
        if let Ok(job) = self.server.job(&key.namespace, name).await {
            let is_it = |job: &JobView| job.uid == *uid && job.label.as_deref() == Some(&*key.name);
            done.job = job.map(place);
            done.lost = !done.job.as_ref().is_some_and(|(_, job)| is_it(job));
        }
    }

    async fn restore_hash(&self, done: &mut Done) {
        let Write::RestoreHash {
            hash, resource_version, ..
        } = &done.work.write
        else {
            return;
        };
        let key = &done.work.key;
        match self
            .server
            .restore_hash(&key.namespace, &key.name, hash, resource_version)
            .await
        {
            Ok(daemon_job) => {
                done.subject = Some(Arc::new(Subject::new(daemon_job)));
                done.outcome = Outcome::Done;
            }
            Err(answer) if answer.code == 409 => done.outcome = Outcome::Stale,
            Err(answer) => done.outcome = passing(&done.work.write, &answer),
        }
    }
}

/// What a guard found is too old for a delete by the time that it is known.
fn too_slow() -> Answer {
    Answer {
        message: format!("the API server took more than {FRESH_FOR:?} to say whether the Job may go"),
        ..Answer::default()
    }
}

/// A read that failed holds its write up as a failed write would.
fn passing(write: &Write, answer: &Answer) -> Outcome {
    let passing = Answer {
        code: 0,
        ..answer.clone()
    };
    match write {
        Write::Create { .. } | Write::RestoreHash { .. } => classify_create(&passing),
        Write::Delete { .. } => classify_delete(&passing),
    }
}
