//! Changes of the two webhook configurations, as they happen: an overwritten caBundle is restored at once.
//! Without them the timer finds it a few seconds later.

use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt};
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tracing::debug;

/// From a change to the look: both configurations change together, and who rewrites one without end is not followed
/// at that pace.
const TOGETHER: Duration = Duration::from_millis(100);

/// What watching the configurations of this name tells.
pub(super) struct Changes(BoxStream<'static, ()>);

impl Changes {
    pub(super) fn of(client: &Client, name: &str) -> Self {
        let mutating = told::<MutatingWebhookConfiguration>(client.clone(), name);
        let validating = told::<ValidatingWebhookConfiguration>(client.clone(), name);
        Self(stream::select(mutating, validating).boxed())
    }

    /// Waits for the next change, and for those that come with it.
    pub(super) async fn next(&mut self) {
        if self.0.next().await.is_none() {
            // Watches do not end; if one did, the timer remains.
            std::future::pending::<()>().await;
        }
        let more = async { while self.0.next().await.is_some() {} };
        // The time is the usual end of this, not a failure.
        drop(tokio::time::timeout(TOGETHER, more).await);
    }
}

fn told<K>(client: Client, name: &str) -> BoxStream<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    // Of the metadata alone: the look reads the rest, of the two configurations at once.
    watcher(Api::<PartialObjectMeta<K>>::all(client), config)
        .backoff(DefaultBackoff::default())
        .filter_map(async |event| match event {
            Ok(Event::Apply(_) | Event::Delete(_) | Event::InitApply(_)) => Some(()),
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => {
                debug!(%error, "the watch of a webhook configuration was interrupted");
                None
            }
        })
        .boxed()
}
