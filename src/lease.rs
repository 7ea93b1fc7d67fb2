//! Leader election on a Lease: one replica's controller works, the others stand by.
//!
//! The rules are those of client-go's leader election (15 s lease, 10 s renew deadline, 2 s retry), with expiry by
//! the time that *we* saw the Lease unchanged, so that no two clocks need to agree. Every write carries a
//! resourceVersion. The leader fences itself: [`Fence::holds`] is asked before every write, and it ends with the
//! renew deadline, five seconds before anybody else may take over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock;

/// Others may take over when the Lease has not changed for so long.
const LEASE: Duration = Duration::from_secs(15);
/// The leader stops writing when it has not renewed for so long.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks at the Lease.
const RETRY: Duration = Duration::from_secs(2);
/// Longest time for one call.
const CALL: Duration = Duration::from_secs(4);

const _: () = assert!(
    RENEW_DEADLINE.as_secs() < LEASE.as_secs(),
    "the leader must stop before others start"
);
const _: () = assert!(
    CALL.as_secs() + RETRY.as_secs() < RENEW_DEADLINE.as_secs(),
    "one lost call must not cost the lead"
);

/// Says whether this process may still write as the leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fence {
    until: Arc<Mutex<Option<Instant>>>,
}

impl Fence {
    /// Whether it may write now.
    pub(crate) fn holds(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// A Lease as one replica sees it.
#[derive(Clone, Copy, Debug)]
struct Sight<'a> {
    holder: Option<&'a str>,
    /// How long we have seen it unchanged.
    unchanged_for: Duration,
}

/// What to do about the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is free or has run out: take it.
    Acquire,
    /// Somebody else holds it.
    Follow,
    /// We hold it: renew.
    Renew,
}

fn next(sight: Sight<'_>, identity: &str) -> Step {
    match sight.holder.filter(|holder| !holder.is_empty()) {
        None => Step::Acquire,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) if sight.unchanged_for >= LEASE => Step::Acquire,
        Some(_) => Step::Follow,
    }
}

/// One replica's part in the election.
pub(crate) struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    fence: Fence,
    leading: watch::Sender<bool>,
    /// The Lease as last seen, and since when it has been the same.
    seen: Option<(Lease, Instant)>,
}

impl Elector {
    /// Takes part in the election under this identity. The receiver says who won.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
    ) -> (Self, Fence, watch::Receiver<bool>) {
        let (leading, is_leading) = watch::channel(false);
        let fence = Fence::default();
        let elector = Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            fence: fence.clone(),
            leading,
            seen: None,
        };
        (elector, fence, is_leading)
    }

    /// Takes part until told to stop, then gives the Lease back.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let asked = Instant::now();
            match self.round().await {
                Ok(true) => self.fence.set(Some(asked + RENEW_DEADLINE)),
                Ok(false) => self.fence.set(None),
                Err(error) => {
                    warn!(lease = self.name, error = %error_text(&error), "the Lease could not be read or written")
                }
            }
            self.tell();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
        self.release().await;
    }

    fn tell(&self) {
        let holds = self.fence.holds();
        let changed = self
            .leading
            .send_if_modified(|leading| std::mem::replace(leading, holds) != holds);
        if changed {
            info!(
                lease = self.name,
                identity = self.identity,
                "{}",
                if holds { "leading" } else { "following" }
            );
        }
    }

    /// One look at the Lease, and one write if it is ours to take or keep. Returns whether it is ours.
    async fn round(&mut self) -> Result<bool, LeaseError> {
        // What we hold we renew as we know it: if somebody took it, the version says so.
        if let Some((lease, _)) = self
            .seen
            .clone()
            .filter(|(lease, _)| holder(lease) == Some(&self.identity))
            && self.write(&lease).await?
        {
            return Ok(true);
        }
        let Some(lease) = bounded(self.api.get_opt(&self.name)).await? else {
            return self.create().await;
        };
        let since = match &self.seen {
            Some((seen, since)) if seen.metadata.resource_version == lease.metadata.resource_version => *since,
            Some(_) | None => Instant::now(),
        };
        self.seen = Some((lease.clone(), since));
        let sight = Sight {
            holder: holder(&lease),
            unchanged_for: since.elapsed(),
        };
        match next(sight, &self.identity) {
            Step::Acquire | Step::Renew => self.write(&lease).await,
            Step::Follow => Ok(false),
        }
    }

    async fn create(&mut self) -> Result<bool, LeaseError> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.spec(None)),
        };
        let created = bounded(self.api.create(&PostParams::default(), &lease)).await;
        self.learn(created)
    }

    /// Puts our name on the Lease as it was seen; `false` if it has changed since.
    async fn write(&mut self, seen: &Lease) -> Result<bool, LeaseError> {
        let lease = Lease {
            metadata: seen.metadata.clone(),
            spec: Some(self.spec(seen.spec.as_ref())),
        };
        let written = bounded(self.api.replace(&self.name, &PostParams::default(), &lease)).await;
        self.learn(written)
    }

    fn learn(&mut self, answer: Result<Lease, LeaseError>) -> Result<bool, LeaseError> {
        match answer {
            Ok(lease) => {
                self.seen = Some((lease, Instant::now()));
                Ok(true)
            }
            Err(LeaseError::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                self.seen = None;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(clock::now());
        let ours = old.filter(|old| old.holder_identity.as_deref() == Some(&self.identity));
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: ours
                .and_then(|old| old.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            lease_transitions: Some(if ours.is_some() {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Gives the Lease back, so that another replica need not wait for it to run out.
    async fn release(mut self) {
        self.fence.set(None);
        self.tell();
        let Some((lease, _)) = self
            .seen
            .take()
            .filter(|(lease, _)| holder(lease) == Some(&self.identity))
        else {
            return;
        };
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..self.spec(lease.spec.as_ref())
        };
        let lease = Lease {
            metadata: lease.metadata,
            spec: Some(spec),
        };
        match bounded(self.api.replace(&self.name, &PostParams::default(), &lease)).await {
            Ok(_) => info!(lease = self.name, "given back"),
            Err(error) => warn!(lease = self.name, error = %error_text(&error), "the Lease could not be given back"),
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("the API server did not answer within {} s", CALL.as_secs())]
    Timeout,
}

fn error_text(error: &LeaseError) -> String {
    match error {
        LeaseError::Api(kube::Error::Api(status)) => status.message.clone(),
        LeaseError::Api(_) | LeaseError::Timeout => error.to_string(),
    }
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, LeaseError> {
    Ok(tokio::time::timeout(CALL, call)
        .await
        .map_err(|_| LeaseError::Timeout)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(holder: Option<&str>, unchanged_for: u64) -> Step {
        next(
            Sight {
                holder,
                unchanged_for: Duration::from_secs(unchanged_for),
            },
            "me",
        )
    }

    #[test]
    fn e25_a_lease_is_taken_only_when_free_or_unchanged_for_its_whole_duration() {
        assert_eq!(step(None, 0), Step::Acquire);
        assert_eq!(step(Some(""), 0), Step::Acquire);
        assert_eq!(step(Some("me"), 60), Step::Renew);
        assert_eq!(step(Some("other"), 14), Step::Follow);
        assert_eq!(step(Some("other"), 15), Step::Acquire);
    }

    #[tokio::test(start_paused = true)]
    async fn f27_the_fence_falls_with_the_renew_deadline() {
        let fence = Fence::default();
        assert!(!fence.holds());
        fence.set(Some(Instant::now() + RENEW_DEADLINE));
        assert!(fence.holds());
        tokio::time::advance(RENEW_DEADLINE).await;
        assert!(!fence.holds());
    }
}
