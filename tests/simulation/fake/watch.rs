//! Watches: what happened since a version, as far as it concerns what is wanted.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::list::Selection;
use super::request::Request;
use super::server::ApiServer;
use super::status::Status;
use super::store::{Change, Store};

/// A watch, and how far it has been told.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What is watched.
    pub kind: Kind,
    /// How long it was asked to go on.
    pub timeout_seconds: u64,
    /// Up to which version it has been told.
    pub position: u64,
    bookmarks: bool,
    selection: Selection,
    /// What is told before anything that happens.
    first: Vec<Value>,
}

impl Watch {
    pub(crate) fn start(request: &Request, store: &Store) -> Result<Self, Status> {
        let asked = request.asked("resourceVersion");
        let selection = Selection::of(request);
        let mut first = Vec::new();
        let position = match asked {
            "" | "0" => {
                let all = store.all(request.kind, request.namespace.as_deref());
                let wanted = all.filter(|(key, object)| selection.takes(key, object));
                first.extend(wanted.map(|(_, object)| event("ADDED", object)));
                store.version()
            }
            version => {
                let unread = |_| Status::new(400, "BadRequest", format!("Invalid value: \"{version}\""));
                version.parse::<u64>().map_err(unread)?
            }
        };
        Ok(Self {
            kind: request.kind,
            timeout_seconds: request.asked("timeoutSeconds").parse().unwrap_or(1800),
            position,
            bookmarks: request.asked("allowWatchBookmarks") == "true",
            selection,
            first,
        })
    }

    fn told(&self, change: &Change) -> Option<Value> {
        let wanted = |object: &&std::sync::Arc<Value>| self.selection.takes(&change.key, object);
        let (before, after) = (
            change.before.as_ref().filter(wanted),
            change.after.as_ref().filter(wanted),
        );
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(event("ADDED", after)),
            (Some(_), Some(after)) => Some(event("MODIFIED", after)),
            // The last of it, with the version of its end.
            (Some(before), None) => {
                let mut last = Value::clone(change.after.as_ref().unwrap_or(before));
                if change.after.is_some() {
                    // It is there, but no longer wanted: the watch tells what it was.
                    last = Value::clone(before);
                }
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                Some(event("DELETED", &last))
            }
        }
    }
}

fn event(type_: &str, object: &Value) -> Value {
    json!({"type": type_, "object": object})
}

impl ApiServer {
    /// What a watch has not been told yet, up to a version. One that is too far behind is told that and nothing else:
    /// it has ended.
    pub fn news(&self, watch: &mut Watch, until: u64) -> Vec<Value> {
        if watch.position < self.store.compacted {
            watch.position = u64::MAX;
            return vec![event("ERROR", &Status::expired().body())];
        }
        let mut news = std::mem::take(&mut watch.first);
        let changes = self
            .store
            .since(watch.position)
            .iter()
            .take_while(|change| change.version <= until);
        for change in changes {
            news.extend(watch.told(change));
            watch.position = change.version;
        }
        news
    }

    /// Tells a watch up to which version it has been told, if it asked for that.
    pub fn bookmark(&self, watch: &Watch) -> Option<Value> {
        let object = json!({
            "kind": watch.kind.kind(), "apiVersion": watch.kind.api_version(),
            "metadata": {"resourceVersion": watch.position.to_string(), "creationTimestamp": null},
        });
        (watch.bookmarks && watch.position != u64::MAX).then(|| event("BOOKMARK", &object))
    }
}
