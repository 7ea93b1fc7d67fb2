//! What kube-controller-manager's garbage collector would ask for next. It is no part of an API server, but what happens
//! to the dependents of an object is what deletion in the foreground is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::delete::{FOREGROUND, ORPHAN};
use super::kinds::Kind;
use super::request::{Request, Verb};
use super::server::ApiServer;
use super::store::Key;

/// The kinds that have owners, or dependents.
const KINDS: [Kind; 3] = [Kind::DaemonJob, Kind::Job, Kind::Pod];

/// An object, and the reference that makes it a dependent.
type Dependent<'a> = (&'a Key, &'a Value);

impl ApiServer {
    /// What the garbage collector would ask for now, in any order: dependents of what is gone go, dependents of what
    /// waits for them go first, and what waits for nobody any more is let go.
    pub fn garbage(&self) -> Vec<Request> {
        let objects: Vec<(&Key, &Arc<Value>)> = KINDS.into_iter().flat_map(|kind| self.all(kind)).collect();
        let by_uid: BTreeMap<&str, &Value> = objects.iter().map(|(_, object)| (uid(object), &***object)).collect();
        let mut dependents: BTreeMap<&str, Vec<Dependent<'_>>> = BTreeMap::new();
        for (key, object) in &objects {
            for owner in owners(object) {
                dependents.entry(uid_of(owner)).or_default().push((key, owner));
            }
        }
        let of = |object: &Value| dependents.get(uid(object)).map(Vec::as_slice).unwrap_or_default();
        let mut due = Vec::new();
        for (key, object) in objects {
            due.extend(collect(key, object, &by_uid, !of(object).is_empty()));
            due.extend(let_go(key, object, of(object)));
        }
        due
    }
}

/// An object that no living owner keeps is told to go.
fn collect(key: &Key, object: &Value, by_uid: &BTreeMap<&str, &Value>, has_dependents: bool) -> Option<Request> {
    let there: Vec<&&Value> = owners(object)
        .iter()
        .filter_map(|owner| by_uid.get(uid_of(owner)))
        .collect();
    let is_kept = owners(object).is_empty() || there.iter().any(|owner| !waits(owner, FOREGROUND));
    if is_kept || object["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    let held = object["metadata"]["finalizers"].as_array();
    let has = |finalizer: &str| held.is_some_and(|held| held.iter().any(|held| held == finalizer));
    let policy = match (there.is_empty(), has_dependents) {
        (false, true) => "Foreground",
        _ if has(ORPHAN) => "Orphan",
        _ if has(FOREGROUND) => "Foreground",
        _ => "Background",
    };
    let options = json!({"propagationPolicy": policy, "preconditions": {"uid": uid(object)}});
    Some(Request::new(Verb::Delete, key, "", options))
}

/// An object that is to go and has nobody to wait for any more, and dependents that are to be let go.
fn let_go(key: &Key, object: &Value, dependents: &[Dependent<'_>]) -> Vec<Request> {
    let without = |finalizer: &str| {
        let held = object["metadata"]["finalizers"].as_array().into_iter().flatten();
        let rest: Vec<&Value> = held.filter(|held| *held != finalizer).collect();
        let version = &object["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": version}});
        Request::new(Verb::Patch, key, "", patch)
    };
    if waits(object, FOREGROUND) {
        let is_blocked = dependents.iter().any(|(_, owner)| owner["blockOwnerDeletion"] == true);
        return if is_blocked {
            Vec::new()
        } else {
            vec![without(FOREGROUND)]
        };
    }
    if !waits(object, ORPHAN) {
        return Vec::new();
    }
    if dependents.is_empty() {
        return vec![without(ORPHAN)];
    }
    let released =
        |(key, _): &Dependent<'_>| Request::new(Verb::Patch, key, "", json!({"metadata": {"ownerReferences": null}}));
    dependents.iter().map(released).collect()
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

fn uid_of(reference: &Value) -> &str {
    reference["uid"].as_str().unwrap_or_default()
}

fn owners(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// Whether an object that is to go is held by this.
fn waits(object: &Value, finalizer: &str) -> bool {
    let held = object["metadata"]["finalizers"].as_array();
    object["metadata"]["deletionTimestamp"].is_string()
        && held.is_some_and(|held| held.iter().any(|held| held == finalizer))
}
