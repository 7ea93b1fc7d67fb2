//! The three watches: DaemonJobs, their Jobs, and Nodes, each a stream of its own into one channel.

use std::fmt::Debug;

use daemonjob_core::names::DAEMONJOB_LABEL;
use daemonjob_core::observed::{JobLite, NodeLite};
use daemonjob_core::types::DaemonJob;
use futures::StreamExt;
use kube::api::Api;
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

/// A watch event of one of the three kinds.
#[derive(Debug)]
pub(super) enum Seen {
    DaemonJob(Box<Event<DaemonJob>>),
    Job(Box<Event<JobLite>>),
    Node(Box<Event<NodeLite>>),
}

/// Starts the three watches. Each task ends only when the receiver is gone or its stream ends.
pub(super) fn spawn(client: &Client, events: &Sender<Seen>, tasks: &mut JoinSet<Result<(), ControllerError>>) {
    let all = || {
        watcher::Config::default()
            .timeout(WATCH_TIMEOUT_SECONDS)
            .page_size(PAGE)
    };
    let ours = all().labels(DAEMONJOB_LABEL);
    tasks.spawn(follow(
        "DaemonJobs",
        Api::all(client.clone()),
        all(),
        events.clone(),
        |event| Seen::DaemonJob(Box::new(event)),
    ));
    tasks.spawn(follow(
        "Jobs",
        Api::all(client.clone()),
        ours,
        events.clone(),
        |event| Seen::Job(Box::new(event)),
    ));
    tasks.spawn(follow(
        "Nodes",
        Api::all(client.clone()),
        all(),
        events.clone(),
        |event| Seen::Node(Box::new(event)),
    ));
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
