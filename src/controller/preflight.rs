//! Before the controller starts: is there a cluster, does it know DaemonJobs, may we read them?

use std::time::Duration;

use daemonjob_core::observed::Scope;
use daemonjob_core::types::DaemonJob;
use kube::Client;
use kube::api::{Api, ListParams};
use thiserror::Error;
use tokio::time::Instant;
use tracing::warn;

use super::api::CALL_TIMEOUT;
use super::watch;

/// How long a cluster may take to become usable. An API server may be starting, a CRD not yet established.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(2);

/// Why the controller cannot start.
#[derive(Debug, Error)]
pub(crate) enum PreflightError {
    /// The CRD is not there.
    #[error(
        "this cluster does not know DaemonJobs: install the chart, or run `daemonjob crd | kubectl apply --server-side -f -`"
    )]
    MissingCrd,
    /// We may not read DaemonJobs.
    #[error("no permission to read DaemonJobs: {message}")]
    NoPermission {
        /// The server's words.
        message: String,
    },
    /// There is no answer.
    #[error("the API server at {url} cannot be reached: {cause}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What went wrong.
        cause: String,
    },
}

/// Waits until DaemonJobs can be read, for a while.
///
/// # Errors
/// The last failure, after half a minute; a missing permission at once, since waiting gives none.
pub(crate) async fn preflight(client: &Client, scopes: &[Scope], url: &str) -> Result<(), PreflightError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look_everywhere(client, scopes, url).await {
            Ok(()) => return Ok(()),
            Err(error @ PreflightError::NoPermission { .. }) => return Err(error),
            Err(error) if Instant::now() + PAUSE > deadline => return Err(error),
            Err(error) => warn!(%error, "waiting for the cluster, {} s at most", PATIENCE.as_secs()),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One namespace must not keep the others waiting: it may be gone, and our rights with it. Only if we may read none of
/// them, somebody has to act.
async fn look_everywhere(client: &Client, scopes: &[Scope], url: &str) -> Result<(), PreflightError> {
    let (mut refused, mut readable) = (None, false);
    for scope in scopes {
        match look(client, scope, url).await {
            Ok(()) => readable = true,
            Err(error @ PreflightError::NoPermission { .. }) => {
                if let Scope::Namespace(name) = scope {
                    warn!(%error, "namespace {name} is left alone");
                }
                refused = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    refused.filter(|_| !readable).map_or(Ok(()), Err)
}

async fn look(client: &Client, scope: &Scope, url: &str) -> Result<(), PreflightError> {
    let api: Api<DaemonJob> = watch::api(client, scope);
    let unreachable = |cause: String| PreflightError::Unreachable {
        url: url.to_owned(),
        cause,
    };
    let listed = tokio::time::timeout(CALL_TIMEOUT, api.list_metadata(&ListParams::default().limit(1))).await;
    match listed {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => match status.code {
            401 | 403 => Err(PreflightError::NoPermission {
                message: status.message,
            }),
            404 => Err(PreflightError::MissingCrd),
            _ => Err(unreachable(status.message)),
        },
        Ok(Err(error)) => Err(unreachable(root_cause(&error))),
        Err(_) => Err(unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()))),
    }
}

/// The innermost error says what happened; those around it say where, which the sentence does already.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let innermost = std::iter::successors(Some(error), |error| error.source()).last();
    innermost.map(ToString::to_string).unwrap_or_default()
}
