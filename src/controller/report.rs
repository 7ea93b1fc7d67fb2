//! Writes statuses, and after them the Events that they bring.

use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::index::Key;
use daemonjob_core::names::{API_VERSION, JobName, KIND, MANAGER, Uid};
use daemonjob_core::plan::{About, Answer, EventDraft, Finished, Outcome, Subject};
use daemonjob_core::reason::Reason;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tracing::{debug, warn};

use super::api::{CALL_TIMEOUT, Server};
use super::execute::Done;
use crate::lease::Fence;

/// Status bytes a second that one DaemonJob may write: every write stores the whole object.
const BYTES_PER_SECOND: usize = 20_000;
/// Shortest time between two statuses of one DaemonJob, but for changes of a condition.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Longest note of an Event: the API takes 1,024 bytes.
const NOTE_MAX: usize = 1000;

/// A status to be written.
pub(super) struct Report {
    pub(super) key: Key,
    pub(super) subject: Arc<Subject>,
    pub(super) patch: Value,
    pub(super) events: Vec<EventDraft>,
    pub(super) finished: Vec<Finished>,
}

/// What a status met.
pub(super) struct Reported {
    pub(super) key: Key,
    /// How long to wait with the next.
    pub(super) pause: Duration,
    /// The DaemonJob as the server has it now.
    pub(super) answer: Result<Arc<Subject>, Answer>,
    /// Runs that it records for the first time.
    pub(super) finished: Vec<Finished>,
}

impl Reported {
    /// Nothing was sent, or nobody knows what became of it.
    pub(super) fn failed(key: Key, message: &str) -> Self {
        Self {
            key,
            pause: SHORTEST_PAUSE,
            answer: Err(Answer {
                message: message.to_owned(),
                ..Answer::default()
            }),
            finished: Vec::new(),
        }
    }
}

/// Writes statuses and Events.
#[derive(Clone)]
pub(super) struct Reporting {
    server: Server,
    fence: Fence,
    recorder: Recorder,
}

impl Reporting {
    pub(super) fn new(client: Client, server: Server, fence: Fence, identity: &str) -> Self {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            server,
            fence,
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Writes one status; its Events follow only if it was stored.
    pub(super) async fn report(&self, report: Report) -> Reported {
        let Report {
            key,
            subject,
            patch,
            events,
            finished,
        } = report;
        let pause = pause_after(patch.to_string().len());
        if !self.fence.holds() {
            return Reported::failed(key, "no longer the leader");
        }
        let written = self
            .server
            .write_status(&key.namespace, &key.name, subject.resource_version(), &patch)
            .await;
        let answer = match written {
            Ok(daemon_job) => {
                self.publish(&key, subject.uid(), &events).await;
                Ok(Arc::new(Subject::new(daemon_job)))
            }
            Err(answer) => Err(answer),
        };
        Reported {
            key,
            pause,
            answer,
            finished,
        }
    }

    /// Sends what a write that was done has for news.
    pub(super) async fn tell_of(&self, done: &Done) {
        if let (Outcome::Done, Some(news)) = (&done.outcome, done.work.write.news()) {
            let (key, uid) = (&done.work.key, done.work.subject.uid());
            self.publish(key, uid, std::slice::from_ref(news)).await;
        }
    }

    /// Sends a warning that belongs to no status.
    pub(super) async fn warn(&self, key: &Key, uid: &Uid, reason: Reason, note: String) {
        let draft = EventDraft {
            warning: true,
            reason,
            note,
            about: None,
        };
        self.publish(key, uid, &[draft]).await;
    }

    /// Sends Events about a DaemonJob, one after another.
    pub(super) async fn publish(&self, key: &Key, uid: &Uid, events: &[EventDraft]) {
        let regarding = ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(KIND.to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            uid: Some(uid.to_string()),
            ..ObjectReference::default()
        };
        for draft in events {
            let event = event_of(draft, key);
            match tokio::time::timeout(CALL_TIMEOUT, self.recorder.publish(&event, &regarding)).await {
                Ok(Ok(())) => debug!(reason = draft.reason.as_str(), "event"),
                // An Event is news, not state: what it says stands in the status.
                Ok(Err(error)) => warn!(%error, "an Event was not stored"),
                Err(_) => warn!("an Event was not stored in time"),
            }
        }
    }
}

fn event_of(draft: &EventDraft, key: &Key) -> Event {
    let job = |name: &JobName| ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(name.to_string()),
        ..ObjectReference::default()
    };
    Event {
        type_: if draft.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: draft.reason.as_str().to_owned(),
        note: Some(draft.note.chars().take(NOTE_MAX).collect()),
        action: "Reconcile".to_owned(),
        secondary: draft.about.as_ref().map(|About::Job(name)| job(name)),
    }
}

fn pause_after(bytes: usize) -> Duration {
    let millis = bytes.saturating_mul(1000) / BYTES_PER_SECOND;
    SHORTEST_PAUSE.max(Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_statuses_are_written_less_often() {
        assert_eq!(pause_after(100), Duration::from_secs(1));
        assert_eq!(pause_after(55_000), Duration::from_millis(2750));
    }
}
