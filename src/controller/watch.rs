//! The watches: DaemonJobs and their Jobs in each scope, and Nodes, each a stream of its own into one channel.

use std::fmt::Debug;
use std::sync::Arc;

use daemonjob_core::index::{Key, PlacedJob, Told};
use daemonjob_core::names::DAEMONJOB_LABEL;
use daemonjob_core::observed::{JobLite, NodeLite, NodeView, Scope};
use daemonjob_core::plan::Subject;
use daemonjob_core::types::DaemonJob;
use futures::StreamExt;
use kube::api::Api;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, watcher::DefaultBackoff};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tracing::warn;

use super::error::ControllerError;

/// A watch that says nothing for so long is opened anew: a connection may die without a word.
const WATCH_TIMEOUT_SECONDS: u32 = 60;
/// Objects a page of a list: a Node is some 13 KB, and a page is held whole.
const PAGE: u32 = 100;

/// What one of the watches tells.
#[derive(Debug)]
pub(super) enum Seen {
    DaemonJob(Scope, Told<Arc<Subject>>),
    Job(Scope, Box<Told<PlacedJob>>),
    Node(Told<NodeView>),
    /// A DaemonJob that cannot be decoded, and why not.
    Unreadable(Unreadable),
}

impl Seen {
    /// The kind, as metrics name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::DaemonJob(..) | Self::Unreadable(_) => "DaemonJob",
            Self::Job(..) => "Job",
            Self::Node(_) => "Node",
        }
    }
}

/// A DaemonJob that cannot be decoded.
#[derive(Clone, Debug)]
pub(super) struct Unreadable {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) error: String,
}

/// Starts the watches. Each task ends only when the receiver is gone or its stream ends.
pub(super) fn spawn(
    client: &Client,
    scopes: &[Scope],
    events: &Sender<Seen>,
    tasks: &mut JoinSet<Result<(), ControllerError>>,
) {
    let all = || {
        watcher::Config::default()
            .timeout(WATCH_TIMEOUT_SECONDS)
            .page_size(PAGE)
    };
    let ours = all().labels(DAEMONJOB_LABEL);
    for scope in scopes {
        let (daemon_jobs, jobs) = (api(client, scope), api(client, scope));
        let seen = scope.clone();
        tasks.spawn(follow("DaemonJobs", daemon_jobs, all(), events.clone(), move |event| {
            daemon_job_seen(&seen, event)
        }));
        let seen = scope.clone();
        tasks.spawn(follow("Jobs", jobs, ours.clone(), events.clone(), move |event| {
            Seen::Job(seen.clone(), Box::new(told(event).map(place)))
        }));
    }
    let nodes = Api::all(client.clone());
    tasks.spawn(follow(
        "Nodes",
        nodes,
        all(),
        events.clone(),
        |event: Event<NodeLite>| Seen::Node(told(event).map(NodeView::from)),
    ));
}

/// What is asked for the objects of a scope.
pub(super) fn api<K>(client: &Client, scope: &Scope) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match scope {
        Scope::All => Api::all(client.clone()),
        Scope::Namespace(name) => Api::namespaced(client.clone(), name),
    }
}

/// One that cannot be decoded must not take the others along: a watch that fails on it would start anew for ever.
fn daemon_job_seen(scope: &Scope, event: Event<DeserializeGuard<DaemonJob>>) -> Seen {
    let told = match told(event).transpose(|guard| guard.0.map_err(Box::new)) {
        Ok(told) => told,
        Err(invalid) => {
            return Seen::Unreadable(Unreadable {
                key: Key {
                    namespace: invalid.metadata.namespace.unwrap_or_default(),
                    name: invalid.metadata.name.unwrap_or_default(),
                },
                uid: invalid.metadata.uid.unwrap_or_default(),
                error: invalid.error,
            });
        }
    };
    Seen::DaemonJob(scope.clone(), told.map(|daemon_job| Arc::new(Subject::new(daemon_job))))
}

/// A Job as the index takes it.
pub(super) fn place(job: JobLite) -> PlacedJob {
    (job.metadata.namespace.clone().unwrap_or_default(), job.into())
}

fn told<K>(event: Event<K>) -> Told<K> {
    match event {
        Event::Apply(object) => Told::Applied(object),
        Event::Delete(object) => Told::Gone(object),
        Event::Init => Told::ListBegins,
        Event::InitApply(object) => Told::Listed(object),
        Event::InitDone => Told::ListEnds,
    }
}

async fn follow<K>(
    kind: &'static str,
    api: Api<K>,
    config: watcher::Config,
    events: Sender<Seen>,
    seen: impl Fn(Event<K>) -> Seen,
) -> Result<(), ControllerError>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut stream = std::pin::pin!(watcher(api, config).backoff(DefaultBackoff::default()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => {
                if events.send(seen(event)).await.is_err() {
                    return Ok(());
                }
            }
            // The stream goes on by itself, after a pause that grows.
            Err(error) => warn!(%kind, %error, "the watch was interrupted"),
        }
    }
    Err(ControllerError::WatchEnded { kind })
}
