//! Events about the certificate authority, on its Secret: what a person should know who looks after the cluster.

use std::time::Duration;

use daemonjob_certs::Outcome;
use daemonjob_certs::rotation::RotationStep;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::warn;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const ACTION: &str = "Rotate";

/// What one outcome is worth telling.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    is_warning: bool,
    reason: &'static str,
    note: String,
}

/// The news in an outcome, if there is any.
pub(super) fn news(outcome: &Outcome) -> Option<News> {
    let told = |is_warning, reason, note: &str| {
        Some(News {
            is_warning,
            reason,
            note: note.to_owned(),
        })
    };
    match outcome {
        Outcome::SecretCreated => told(
            true,
            "SecretRecreated",
            "The Secret was missing and has been made again",
        ),
        Outcome::Rotated { step } => match step {
            RotationStep::Discard { slot, fault, .. } => told(
                true,
                "AuthorityDiscarded",
                &format!("The content under {slot:?} was of no use: {fault}"),
            ),
            RotationStep::Generate { keep, .. } if keep.is_empty() => {
                told(false, "AuthorityCreated", "The certificate authority was made")
            }
            RotationStep::Generate { why, .. } => told(
                true,
                "AuthorityReplaced",
                &format!(
                    "The certificate authority could not be used and was replaced: {why}. The old one stays trusted"
                ),
            ),
            RotationStep::Promote { why: None, .. } => told(
                false,
                "AuthorityRotated",
                "The next certificate authority signs now; the old one stays trusted",
            ),
            RotationStep::Promote { why: Some(why), .. } => told(
                true,
                "AuthorityReplaced",
                &format!("The certificate authority could not be used, and the next one signs now: {why}"),
            ),
            RotationStep::Publish => told(
                false,
                "AuthorityPublished",
                "The next certificate authority was made; it signs once it has been trusted for a while",
            ),
            RotationStep::Retain { .. } => told(
                true,
                "AuthorityExchanged",
                "Somebody put another certificate authority here; the one of the served certificates stays trusted",
            ),
            RotationStep::DropPrevious | RotationStep::Keep => None,
        },
        Outcome::BundleConflict { .. }
        | Outcome::BundlePatched { .. }
        | Outcome::ConfigurationEmpty { .. }
        | Outcome::ConfigurationMissing { .. }
        | Outcome::LeafIssued { .. }
        | Outcome::LeafRefused { .. }
        | Outcome::SecretConflict => None,
    }
}

/// What an outcome changed, as a label of a metric.
pub(super) fn change(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::BundlePatched { .. } => Some("bundle_written"),
        Outcome::LeafIssued { .. } => Some("leaf_issued"),
        Outcome::SecretCreated => Some("secret_created"),
        Outcome::Rotated { step } => match step {
            RotationStep::Discard { .. } => Some("authority_discarded"),
            RotationStep::DropPrevious => Some("authority_dropped"),
            RotationStep::Generate { .. } => Some("authority_generated"),
            RotationStep::Keep => None,
            RotationStep::Promote { .. } => Some("authority_promoted"),
            RotationStep::Publish => Some("authority_published"),
            RotationStep::Retain { .. } => Some("authority_retained"),
        },
        Outcome::BundleConflict { .. }
        | Outcome::ConfigurationEmpty { .. }
        | Outcome::ConfigurationMissing { .. }
        | Outcome::LeafRefused { .. }
        | Outcome::SecretConflict => None,
    }
}

/// Sends Events about the Secret.
#[derive(Clone)]
pub(super) struct Herald {
    recorder: Recorder,
    regarding: ObjectReference,
}

impl Herald {
    pub(super) fn new(client: Client, identity: &str, namespace: &str, secret: &str) -> Self {
        let reporter = Reporter {
            controller: "daemonjob".to_owned(),
            instance: Some(identity.to_owned()),
        };
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(namespace.to_owned()),
            name: Some(secret.to_owned()),
            ..ObjectReference::default()
        };
        Self {
            recorder: Recorder::new(client, reporter),
            regarding,
        }
    }

    /// Sends one; that it was not stored is logged, no more: what it says is in the log as well.
    pub(super) async fn tell(self, news: News) {
        let event = Event {
            type_: if news.is_warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: news.reason.to_owned(),
            note: Some(news.note),
            action: ACTION.to_owned(),
            secondary: None,
        };
        match tokio::time::timeout(CALL_TIMEOUT, self.recorder.publish(&event, &self.regarding)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "an Event was not stored"),
            Err(_) => warn!("an Event was not stored in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use daemonjob_certs::{Authority, Fault};

    use super::*;
    use crate::clock;

    fn of(step: RotationStep) -> Option<(bool, &'static str)> {
        news(&Outcome::Rotated { step }).map(|news| (news.is_warning, news.reason))
    }

    #[test]
    fn f29_what_was_destroyed_is_a_warning_and_what_goes_its_course_is_not() {
        let anchor = Authority::generate(clock::now()).unwrap().anchor().clone();
        let in_use = BTreeSet::from([anchor]);
        let generate = |keep| RotationStep::Generate {
            why: Fault::Absent,
            keep,
        };
        assert_eq!(
            of(generate(BTreeSet::new())),
            Some((false, "AuthorityCreated")),
            "the first start"
        );
        assert_eq!(of(generate(in_use.clone())), Some((true, "AuthorityReplaced")));
        let promote = |why| RotationStep::Promote {
            why,
            keep: in_use.clone(),
        };
        assert_eq!(of(promote(None)), Some((false, "AuthorityRotated")));
        assert_eq!(of(promote(Some(Fault::KeyMismatch))), Some((true, "AuthorityReplaced")));
        assert_eq!(of(RotationStep::Publish), Some((false, "AuthorityPublished")));
        assert_eq!(of(RotationStep::DropPrevious), None);
    }
}
