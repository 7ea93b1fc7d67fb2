//! Deleting objects: at once, or once what holds them lets go.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::request::Request;
use super::server::ApiServer;
use super::status::Status;
use super::write::{metadata, second};

/// Holds an object until its dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until its dependents have been let go.
pub(crate) const ORPHAN: &str = "orphan";
/// How long a Pod may take to end, if nobody says otherwise.
const GRACE_SECONDS: i64 = 30;

impl ApiServer {
    pub(crate) fn delete(&mut self, request: &Request, now: Timestamp) -> Result<Value, Status> {
        let (kind, key, options) = (request.kind, request.key(), &request.body);
        let found = self.store.get(&key).cloned();
        let found = found.ok_or_else(|| Status::not_found(kind, &request.name))?;
        for (field, of) in [("uid", "UID"), ("resourceVersion", "ResourceVersion")] {
            let (wanted, held) = (&options["preconditions"][field], &found["metadata"][field]);
            if wanted.is_string() && wanted != held {
                let why = format!("Precondition failed: {of} in precondition: {wanted}, {of} in object meta: {held}");
                return Err(Status::precondition(kind, &request.name, &why));
            }
        }
        let policy = options["propagationPolicy"]
            .as_str()
            .unwrap_or(request.asked("propagationPolicy"));
        let mut object = Value::clone(&found);
        let held = held_by(&object, policy, kind);
        let grace = grace(kind, &object, options);
        let was_told = object["metadata"]["deletionTimestamp"].is_string();
        let metadata = metadata(&mut object);
        if held.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".into(), json!(held));
        }
        if held.is_empty() && grace == 0 {
            let gone = self.store.remove(&key).unwrap_or(found);
            return Ok(Status::deleted(kind, &gone));
        }
        let sooner = metadata
            .get("deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .is_none_or(|seconds| grace < seconds);
        if !was_told {
            metadata.insert("deletionTimestamp".into(), second(now));
            if kind.has_generation() {
                let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or_default();
                metadata.insert("generation".into(), json!(generation + 1));
            }
        }
        if !was_told || sooner {
            metadata.insert("deletionGracePeriodSeconds".into(), json!(grace));
        }
        if object == *found {
            return Ok(object);
        }
        Ok(Value::clone(&self.store.put(key, object)))
    }
}

/// The finalizers of an object that is to go: what the policy asks for, and all that are not about dependents.
fn held_by(object: &Value, policy: &str, kind: Kind) -> Vec<String> {
    let held = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    let held: Vec<String> = held.filter_map(Value::as_str).map(str::to_owned).collect();
    let has = |name: &str| held.iter().any(|held| held == name);
    let wanted = match policy {
        "Foreground" => Some(FOREGROUND),
        "Orphan" => Some(ORPHAN),
        "Background" => None,
        // Nobody says: what stands there already, else what the kind has always done.
        _ if has(FOREGROUND) => Some(FOREGROUND),
        _ if has(ORPHAN) || kind == Kind::Job => Some(ORPHAN),
        _ => None,
    };
    let others = held
        .iter()
        .filter(|held| *held != FOREGROUND && *held != ORPHAN)
        .cloned();
    others.chain(wanted.map(str::to_owned)).collect()
}

/// How long the object may take to end: only a Pod that is on a node and has not finished has anything to end.
fn grace(kind: Kind, object: &Value, options: &Value) -> i64 {
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let runs = kind == Kind::Pod && object["spec"]["nodeName"].is_string() && !matches!(phase, "Succeeded" | "Failed");
    if !runs {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64();
    options["gracePeriodSeconds"].as_i64().or(own).unwrap_or(GRACE_SECONDS)
}
