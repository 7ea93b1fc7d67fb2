//! Creating and changing objects.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::request::Request;
use super::server::ApiServer;
use super::status::Status;
use super::store::Key;

/// Fields of metadata that are the server's own.
const KEPT: [&str; 7] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "name",
    "namespace",
    "uid",
];

/// A time as objects hold it, in whole seconds.
pub(crate) fn second(now: Timestamp) -> Value {
    json!(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The metadata of an object, made if there is none.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]
        .as_object_mut()
        .expect("it has just been made an object")
}

impl ApiServer {
    pub(crate) fn create(&mut self, request: &Request, now: Timestamp) -> Result<Value, Status> {
        let kind = request.kind;
        let mut object = request.body.clone();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Status::invalid(
                kind,
                "",
                "metadata.name: Required value: name or generateName is required",
            ));
        }
        let key = Key::new(kind, request.namespace.as_deref().unwrap_or_default(), &name);
        self.admit_to_namespace(&key)?;
        if self.store.get(&key).is_some() {
            return Err(Status::exists(kind, &name));
        }
        if kind.has_status()
            && kind != Kind::Node
            && kind != Kind::Pod
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind());
        let uid = self.store.new_uid();
        let metadata = metadata(&mut object);
        for field in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
        ] {
            metadata.remove(field);
        }
        metadata.insert("uid".into(), json!(uid));
        metadata.insert("creationTimestamp".into(), second(now));
        if kind.is_namespaced() {
            metadata.insert("namespace".into(), json!(key.namespace));
        }
        if kind.has_generation() {
            metadata.insert("generation".into(), json!(1));
        }
        default(kind, &mut object);
        Ok(Value::clone(&self.store.put(key, object)))
    }

    fn admit_to_namespace(&self, key: &Key) -> Result<(), Status> {
        if !key.kind.is_namespaced() {
            return Ok(());
        }
        let namespace = self.store.get(&Key::new(Kind::Namespace, "", &key.namespace));
        let namespace = namespace.ok_or_else(|| Status::not_found(Kind::Namespace, &key.namespace))?;
        if namespace["metadata"]["deletionTimestamp"].is_string() {
            return Err(Status::terminating(key.kind, &key.name, &key.namespace));
        }
        Ok(())
    }

    pub(crate) fn patch(&mut self, request: &Request) -> Result<Value, Status> {
        let found = self.store.get(&request.key());
        let found = found.ok_or_else(|| Status::not_found(request.kind, &request.name))?;
        let mut object = Value::clone(found);
        json_patch::merge(&mut object, &request.body);
        self.store_changed(request, object)
    }

    pub(crate) fn update(&mut self, request: &Request, now: Timestamp) -> Result<(u16, Value), Status> {
        let (kind, name) = (request.kind, &request.name);
        if request.body["metadata"]["name"] != **name {
            let why = "the name of the object does not match the name on the URL";
            return Err(Status::new(400, "BadRequest", why));
        }
        let uid = &request.body["metadata"]["uid"];
        let conflict = || Status::conflict(kind, name, "Precondition failed: UID");
        let Some(found) = self.store.get(&request.key()) else {
            return match (kind, uid.is_string()) {
                (_, true) => Err(conflict()),
                // Leases are among the few that an update makes.
                (Kind::Lease, false) => self.create(request, now).map(|lease| (201, lease)),
                (_, false) => Err(Status::not_found(kind, name)),
            };
        };
        if !request.body["metadata"]["resourceVersion"].is_string() {
            let why = "metadata.resourceVersion: Invalid value: 0: must be specified for an update";
            return Err(Status::invalid(kind, name, why));
        }
        if uid.is_string() && *uid != found["metadata"]["uid"] {
            return Err(conflict());
        }
        let updated = self.store_changed(request, request.body.clone())?;
        Ok((200, updated))
    }

    /// Stores an object that somebody changed, if it is the version that he changed, and if there is a change at all.
    fn store_changed(&mut self, request: &Request, mut object: Value) -> Result<Value, Status> {
        let (kind, key) = (request.kind, request.key());
        let before = self.store.get(&key).cloned();
        let before = before.ok_or_else(|| Status::not_found(kind, &request.name))?;
        let version = &object["metadata"]["resourceVersion"];
        if version.is_string() && *version != before["metadata"]["resourceVersion"] {
            return Err(Status::modified(kind, &request.name));
        }
        object["apiVersion"] = before["apiVersion"].clone();
        object["kind"] = before["kind"].clone();
        if request.subresource == "status" {
            let status = object["status"].take();
            object = Value::clone(&before);
            object["status"] = status;
        } else if kind.has_status()
            && let Some(fields) = object.as_object_mut()
        {
            match before.get("status") {
                Some(status) => drop(fields.insert("status".into(), status.clone())),
                None => drop(fields.remove("status")),
            }
        }
        let metadata = metadata(&mut object);
        for field in KEPT {
            match before["metadata"].get(field) {
                Some(value) => drop(metadata.insert(field.into(), value.clone())),
                None => drop(metadata.remove(field)),
            }
        }
        metadata.insert("resourceVersion".into(), before["metadata"]["resourceVersion"].clone());
        metadata.retain(|_, value| !is_empty(value));
        if object == *before {
            return Ok(object);
        }
        let finalizers = |object: &Value| object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        let (held, wanted) = (finalizers(&before), finalizers(&object));
        if before["metadata"]["deletionTimestamp"].is_string() && wanted.iter().any(|wanted| !held.contains(wanted)) {
            let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(Status::invalid(kind, &request.name, why));
        }
        if kind.has_generation() && object["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or_default();
            object["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(self.store_or_end(&key, object))
    }

    /// Stores an object; one that was told to go and that nothing holds any more is gone instead.
    fn store_or_end(&mut self, key: &Key, object: Value) -> Value {
        let metadata = &object["metadata"];
        let is_held = metadata["finalizers"].as_array().is_some_and(|held| !held.is_empty())
            || metadata["deletionGracePeriodSeconds"]
                .as_i64()
                .is_some_and(|seconds| seconds > 0);
        if metadata["deletionTimestamp"].is_string() && !is_held {
            self.store.remove(key);
            return object;
        }
        Value::clone(&self.store.put(key.clone(), object))
    }
}

/// Empty maps and lists of metadata are left out, as Go's `omitempty` does.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Defaults that a controller of Jobs meets.
fn default(kind: Kind, object: &mut Value) {
    match kind {
        Kind::DaemonJob => {
            object["status"] = json!({"observedGeneration": -1});
            if object["spec"].is_object() && object["spec"].get("replace").is_none() {
                object["spec"]["replace"] = json!(false);
            }
        }
        Kind::Job => {
            object["status"] = json!({});
            let spec = &mut object["spec"];
            for (field, value) in [
                ("backoffLimit", json!(6)),
                ("completionMode", json!("NonIndexed")),
                ("completions", json!(1)),
                ("parallelism", json!(1)),
                ("suspend", json!(false)),
            ] {
                if spec.get(field).is_none() {
                    spec[field] = value;
                }
            }
        }
        Kind::CoreEvent | Kind::Event | Kind::Lease | Kind::Namespace | Kind::Node | Kind::Pod => {}
    }
}
