//! What a watch saw, in order: for claims about moments that a later look cannot prove.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use daemonjob_cluster::{Cluster, Program, Tools, until};
use serde_json::{Deserializer, Value};

use super::DEADLINE;
use super::trial::{Trial, text};
use super::world::tools;

/// A watch event: `ADDED`, `MODIFIED` or `DELETED`, and the object.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) type_: String,
    pub(crate) object: Value,
}

/// A `kubectl get --watch` that is recorded until it is stopped.
pub(crate) struct Watch {
    child: Child,
    reader: Option<JoinHandle<()>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Watch {
    /// Begins to record `what`, a kind and maybe a selector, and waits until the `count` objects that are there now have been seen.
    pub(crate) fn start(trial: &Trial, what: &str, count: usize) -> Self {
        Self::start_in(&trial.cluster, tools(), &trial.namespace, what, count)
    }

    /// The same in any cluster.
    pub(crate) fn start_in(cluster: &Cluster, tools: &Tools, namespace: &str, what: &str, count: usize) -> Self {
        let mut child = cluster
            .connect(tools.path(Program::Kubectl))
            .arg("get")
            .args(what.split(' '))
            .args(["--watch", "--output-watch-events", "-o", "json"])
            .args(["--namespace", namespace])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl runs");
        let output = child.stdout.take().expect("it is piped");
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = Arc::clone(&events);
        let reader = std::thread::spawn(move || {
            // The last event may be cut off when kubectl is stopped.
            for mut value in Deserializer::from_reader(output)
                .into_iter::<Value>()
                .map_while(Result::ok)
            {
                let event = Event {
                    type_: text(&value["type"]),
                    object: value["object"].take(),
                };
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        });
        let watch = Self {
            child,
            reader: Some(reader),
            events,
        };
        until("the watch to have seen what is there", DEADLINE, || {
            Ok((watch.seen().len() >= count).then_some(()))
        })
        .expect("it sees it in time");
        watch
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has seen so many events of this type, and stops it; everything that it saw.
    pub(crate) fn stop_after(self, trial: &Trial, type_: &str, count: usize) -> Vec<Event> {
        trial.eventually(&format!("{count} events {type_}"), || {
            let seen = self.seen().iter().filter(|event| event.type_ == type_).count();
            Ok((seen >= count).then_some(()))
        });
        self.seen()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself; either way the reader comes to its end.
        drop(self.child.kill().and_then(|()| self.child.wait()));
        drop(self.reader.take().map(JoinHandle::join));
    }
}

/// Asserts that no node ever had two of these objects at once that were not over.
pub(crate) fn assert_one_at_a_time(events: &[Event], is_over: impl Fn(&Value) -> bool) {
    let mut live: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in events {
        let metadata = &event.object["metadata"];
        let on_node = live
            .entry(text(&metadata["labels"]["daemon.justk8s.com/node"]))
            .or_default();
        if event.type_ == "DELETED" || is_over(&event.object) {
            on_node.remove(&text(&metadata["uid"]));
        } else {
            on_node.insert(text(&metadata["uid"]));
        }
        assert!(
            on_node.len() <= 1,
            "two at once: {on_node:?}, the second: {}",
            event.object
        );
    }
}

/// A Pod whose containers have ended.
pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}
