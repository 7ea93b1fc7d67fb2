//! What a server says where it does not give an object.

use serde_json::{Value, json};

use super::kinds::Kind;

/// A refusal, as a `Status` object tells it.
#[derive(Clone, Debug)]
pub struct Status {
    /// The HTTP status.
    pub code: u16,
    /// One word why.
    pub reason: &'static str,
    /// A sentence why.
    pub message: String,
    /// What else there is to say.
    pub details: Value,
}

impl Status {
    /// A refusal that is about no object.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: json!({}),
        }
    }

    fn about(kind: Kind, name: &str, code: u16, reason: &'static str, message: &str) -> Self {
        let mut details = json!({"name": name, "kind": kind.plural()});
        if !kind.group().is_empty() {
            details["group"] = json!(kind.group());
        }
        Self {
            details,
            ..Self::new(code, reason, message)
        }
    }

    pub(crate) fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::about(kind, name, 404, "NotFound", &message)
    }

    pub(crate) fn exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::about(kind, name, 409, "AlreadyExists", &message)
    }

    pub(crate) fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::about(kind, name, 409, "Conflict", &message)
    }

    /// A conflict as a delete tells it, which names the kind as objects do.
    pub(crate) fn precondition(kind: Kind, name: &str, why: &str) -> Self {
        let mut status = Self::conflict(kind, name, why);
        status.details["kind"] = json!(kind.kind());
        status
    }

    pub(crate) fn modified(kind: Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    pub(crate) fn invalid(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is invalid: {why}", kind.kind());
        let mut status = Self::about(kind, name, 422, "Invalid", &message);
        status.details["kind"] = json!(kind.kind());
        status
    }

    pub(crate) fn terminating(kind: Kind, name: &str, namespace: &str) -> Self {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being \
             terminated",
            kind.resource()
        );
        let mut status = Self::about(kind, name, 403, "Forbidden", &message);
        status.details["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        }]);
        status
    }

    pub(crate) fn expired() -> Self {
        Self::new(
            410,
            "Expired",
            "The resourceVersion is too old: the history before it was compacted.",
        )
    }

    /// The object that is sent.
    pub fn body(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "details": self.details, "code": self.code,
        })
    }

    /// What is sent for an object that is gone at once.
    pub(crate) fn deleted(kind: Kind, object: &Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut details = Self::about(kind, name, 200, "", "").details;
        details["uid"] = object["metadata"]["uid"].clone();
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    }
}
