//! What the process may send (O4), for the monitor of a real API server and for the simulation.

use std::fmt;

use daemonjob_cluster::Call;
use daemonjob_core::names::{NODE_NAME, NodeName, TEMPLATE_HASH, job_name};
use serde_json::Value;

/// Where the chart is installed.
pub(crate) const SYSTEM: &str = "daemonjob-system";

/// What is wrong with a call, if something is.
pub(crate) fn complaint(call: &Call) -> Option<String> {
    let wrong = fault(call)?;
    Some(format!(
        "{wrong}: {} {}/{} {} (answered by {})",
        Kind(call),
        call.namespace,
        call.name,
        call.body,
        call.code
    ))
}

/// What a call asks for, in the words of RBAC: `patch daemonjobs/status`.
pub(crate) struct Kind<'a>(pub(crate) &'a Call);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call {
            verb,
            resource,
            subresource,
            ..
        } = self.0;
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(f, "{verb} {resource}{slash}{subresource}")
    }
}

/// Whether it changes nothing.
pub(crate) fn is_read(call: &Call) -> bool {
    matches!(call.verb.as_str(), "get" | "list" | "watch")
}

/// That the UID and the version of a delete are those of the Job with its name, the API server checks.
fn fault(call: &Call) -> Option<&'static str> {
    let body = &call.body;
    let says = |what: bool| what || is_unread(call);
    let is_system = call.namespace == SYSTEM;
    let (is_right, otherwise) = match Kind(call).to_string().as_str() {
        "create jobs" => (
            says(is_of_its_owner(call)),
            "a Job that does not belong to one DaemonJob and one node",
        ),
        "delete jobs" => (
            says(is_of_what_was_examined(body)),
            "a delete that may leave Pods, or may take another Job",
        ),
        "patch daemonjobs" => (says(is_of_the_hash(body)), "a change of more than the hash"),
        "patch daemonjobs/status" => (says(is_of_the_status(body)), "a status that may overwrite another one"),
        "create events" | "patch events" => (true, ""),
        "create leases" => (is_system, "a Lease elsewhere"),
        "update leases" => (
            is_system && says(is_conditional(body)),
            "a Lease that may be taken from its holder",
        ),
        "create secrets" | "patch secrets" => (is_system, "a Secret elsewhere"),
        "patch mutatingwebhookconfigurations" | "patch validatingwebhookconfigurations" => {
            (call.name == "daemonjob", "a webhook configuration of somebody else")
        }
        _ => (is_read(call), "no write of ours"),
    };
    (!is_right).then_some(otherwise)
}

fn keys(object: &Value) -> Vec<&str> {
    let keys = object.as_object().into_iter().flat_map(|map| map.keys());
    keys.map(String::as_str).collect()
}

fn is_of_its_owner(call: &Call) -> bool {
    let metadata = &call.body["metadata"];
    let owners = metadata["ownerReferences"].as_array().map(Vec::as_slice);
    let (Some([owner]), Some(node)) = (owners, metadata["annotations"][NODE_NAME].as_str()) else {
        return false;
    };
    let is_controller = owner["kind"] == "DaemonJob" && owner["controller"] == true && owner["uid"].is_string();
    let name = job_name(owner["name"].as_str().unwrap_or_default(), &NodeName::new(node));
    is_controller && metadata["annotations"][TEMPLATE_HASH].is_string() && call.name == name.to_string()
}

fn is_of_what_was_examined(body: &Value) -> bool {
    body["propagationPolicy"] == "Foreground" && keys(&body["preconditions"]) == ["resourceVersion", "uid"]
}

fn is_of_the_status(body: &Value) -> bool {
    keys(body) == ["metadata", "status"] && keys(&body["metadata"]) == ["resourceVersion"] && is_conditional(body)
}

fn is_of_the_hash(body: &Value) -> bool {
    let metadata = &body["metadata"];
    keys(body) == ["metadata"]
        && keys(metadata) == ["annotations", "resourceVersion"]
        && keys(&metadata["annotations"]) == [TEMPLATE_HASH]
        && is_conditional(body)
}

/// The API server does not read, and so does not write down, what it refuses for want of a right (an uninstallation
/// takes the rights of a process that still runs), what it has no time for, and what its sender had no time to finish
/// before it was killed. It did nothing of it. An object that has changed or is gone is found out after reading.
fn is_unread(call: &Call) -> bool {
    let is_before_reading = matches!(call.code, 400 | 401 | 403 | 429 | 500..);
    is_before_reading && call.body.is_null()
}

/// Whether the API server refuses it if the object has changed meanwhile.
fn is_conditional(body: &Value) -> bool {
    body["metadata"]["resourceVersion"].is_string()
}
