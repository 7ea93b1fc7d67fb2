//! What the log says of single writes.

use daemonjob_core::index::Key;
use daemonjob_core::plan::Outcome;
use tracing::{debug, error, info, warn};

use super::execute::Write;

/// One line for one answer.
pub(super) fn log_outcome(key: &Key, write: &Write, outcome: &Outcome) {
    let (verb, why) = match write {
        Write::Create { .. } => ("create", "Starting"),
        Write::Delete { why, .. } => ("delete", why.reason().as_str()),
        Write::RestoreHash { .. } => ("restore", "TemplateHashRestored"),
    };
    let job = write.job().map(tracing::field::display);
    let (namespace, name) = (&key.namespace, &key.name);
    match outcome {
        Outcome::Done => {
            info!(
                daemonjob.namespace = namespace,
                daemonjob.name = name,
                job,
                verb,
                reason = why,
                "done"
            );
        }
        Outcome::Stale => {
            debug!(
                daemonjob.namespace = namespace,
                daemonjob.name = name,
                job,
                verb,
                reason = why,
                "looking again"
            );
        }
        Outcome::Failed { because, .. } => warn!(
            daemonjob.namespace = namespace,
            daemonjob.name = name,
            job,
            verb,
            reason = because.reason.as_str(),
            error = because.detail,
            "failed"
        ),
        Outcome::Refused { reason, message } => error!(
            daemonjob.namespace = namespace,
            daemonjob.name = name,
            job,
            verb,
            reason = reason.as_str(),
            error = message,
            "refused"
        ),
        Outcome::Taken { detail } => warn!(
            daemonjob.namespace = namespace,
            daemonjob.name = name,
            job,
            verb,
            reason = "NameConflict",
            error = detail,
            "the name is taken"
        ),
    }
}
