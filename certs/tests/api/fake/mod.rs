//! An API server's HTTP boundary for three objects, in memory: `resourceVersion`s, both kinds of merge, and faults.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::service_fn;

pub(crate) const SECRET: &str = "/api/v1/namespaces/jobs/secrets/ca";
pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/daemonjob";
pub(crate) const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/daemonjob";

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    requests: Vec<String>,
    writes: Vec<String>,
    failing: Option<u16>,
    forbidden: BTreeSet<String>,
    hanging: BTreeSet<String>,
    held: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    arrived: Arc<Notify>,
    released: Arc<Notify>,
}

fn webhook(name: &str, client: &Value) -> Value {
    json!({
        "name": name, "clientConfig": client, "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "rules": [{"apiGroups": ["daemon.justk8s.com"], "resources": ["daemonjobs"]}],
    })
}

impl Fake {
    /// What the chart leaves behind: an empty Secret, two configurations without `caBundle`.
    pub(crate) fn installed() -> Self {
        let service = |path: &str| json!({"service": {"namespace": "jobs", "name": "hook", "path": path}});
        let url = json!({"url": "https://127.0.0.1:9443/validate"});
        let fake = Self::default();
        fake.insert(SECRET, json!({"metadata": {"name": "ca", "namespace": "jobs"}}));
        let mutating = [webhook("mutate.daemon.justk8s.com", &service("/mutate"))];
        fake.insert(
            MUTATING,
            json!({"metadata": {"name": "daemonjob"}, "webhooks": mutating}),
        );
        let validating = [
            webhook("validate.daemon.justk8s.com", &service("/validate")),
            webhook("by-url", &url),
        ];
        fake.insert(
            VALIDATING,
            json!({"metadata": {"name": "daemonjob"}, "webhooks": validating}),
        );
        fake
    }

    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = service_fn(move |request| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the lock")
    }

    pub(crate) fn insert(&self, path: &str, mut object: Value) {
        let mut state = self.state();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn edit(&self, path: &str, edit: impl Fn(&mut Value)) {
        let mut object = self.object(path);
        edit(&mut object);
        self.insert(path, object);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.state().objects.remove(path);
    }

    pub(crate) fn object(&self, path: &str) -> Value {
        self.state().objects.get(path).cloned().unwrap_or_default()
    }

    pub(crate) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state().writes)
    }

    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    pub(crate) fn fail_with(&self, code: Option<u16>) {
        self.state().failing = code;
    }

    pub(crate) fn forbid(&self, path: &str) {
        self.state().forbidden.insert(path.to_owned());
    }

    pub(crate) fn hang(&self, path: &str) {
        self.state().hanging.insert(path.to_owned());
    }

    /// The next write of this object arrives, and is answered only after [`Self::release`].
    pub(crate) fn hold_next_write_of(&self, path: &str) {
        self.state().held = Some(path.to_owned());
    }

    pub(crate) async fn write_is_held(&self) {
        self.arrived.notified().await;
    }

    pub(crate) fn release(&self) {
        self.released.notify_one();
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect_bytes().await.expect("a body in memory");
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let path = match parts.method {
            Method::POST => format!(
                "{}/{}",
                parts.uri.path(),
                body["metadata"]["name"].as_str().unwrap_or_default()
            ),
            _ => parts.uri.path().to_owned(),
        };
        let hangs = self.state().hanging.contains(&path);
        if hangs {
            std::future::pending::<()>().await;
        }
        if parts.method != Method::GET {
            self.hold(&path).await;
        }
        let kind = parts
            .headers
            .get("content-type")
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let (code, answer) = self.handle(&parts.method, &path, kind, body);
        let bytes = serde_json::to_vec(&answer).expect("JSON");
        Response::builder()
            .status(code)
            .body(Body::from(bytes))
            .expect("a response")
    }

    async fn hold(&self, path: &str) {
        let held = self.state().held.take_if(|held| held == path).is_some();
        if held {
            self.arrived.notify_one();
            self.released.notified().await;
        }
    }

    fn handle(&self, method: &Method, path: &str, kind: &str, body: Value) -> (u16, Value) {
        let (known, code) = {
            let mut state = self.state();
            state.requests.push(format!("{method} {path}"));
            let code = state.failing.or_else(|| state.forbidden.contains(path).then_some(403));
            (state.objects.get(path).cloned(), code)
        };
        match (method.as_str(), known, code) {
            (_, _, Some(code)) => failure(code, "Failing"),
            ("GET", Some(object), None) => (200, object),
            ("GET" | "PATCH", None, None) => failure(404, "NotFound"),
            ("POST", Some(_), None) => failure(409, "AlreadyExists"),
            ("POST", None, None) => self.store(path, body),
            ("PATCH", Some(object), None) => self.patch(path, kind, object, body),
            _ => failure(405, "MethodNotAllowed"),
        }
    }

    fn patch(&self, path: &str, kind: &str, mut object: Value, patch: Value) -> (u16, Value) {
        if patch["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return failure(409, "Conflict");
        }
        match kind {
            "application/merge-patch+json" => merge(&mut object, patch),
            "application/strategic-merge-patch+json" => merge_webhooks(&mut object, patch),
            _ => return failure(415, "UnsupportedMediaType"),
        }
        self.store(path, object)
    }

    fn store(&self, path: &str, object: Value) -> (u16, Value) {
        self.state().writes.push(path.to_owned());
        self.insert(path, object);
        (200, self.object(path))
    }
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let mut status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "as the test wishes"});
    status["code"] = code.into();
    status["reason"] = reason.into();
    (code, status)
}

/// RFC 7386.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(fields) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().map(|object| object.remove(&key));
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

/// A strategic merge patch of a webhook configuration: the list is merged by name.
fn merge_webhooks(target: &mut Value, mut patch: Value) {
    let entries = patch
        .as_object_mut()
        .and_then(|patch| patch.remove("webhooks"))
        .unwrap_or_default();
    merge(target, patch);
    for entry in entries.as_array().into_iter().flatten() {
        let live = target["webhooks"].as_array_mut().into_iter().flatten();
        match live.into_iter().find(|webhook| webhook["name"] == entry["name"]) {
            Some(webhook) => merge(webhook, entry.clone()),
            None => target["unexpected"] = entry.clone(),
        }
    }
}
