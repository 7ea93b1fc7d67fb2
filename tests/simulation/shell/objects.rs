//! Reading objects as JSON, with words of the domain.

use std::cmp::Ordering;
use std::sync::Arc;

use daemonjob_core::names::{
    DAEMONJOB_LABEL, GENERATION, NODE_NAME, NODE_UID, NodeUid, RETRY, TEMPLATE_HASH, node_token,
};
use daemonjob_simulation::{ApiServer, Key, Kind};
use jiff::Timestamp;
use serde_json::Value;

/// An object, or the text `""` of one that is not there.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["annotations"][key].as_str().unwrap_or_default()
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn time(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// The UID of the object that controls this one, if one of this kind does.
pub(crate) fn owner<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    let owner = owners.iter().find(|owner| owner["kind"] == kind)?;
    owner["uid"].as_str()
}

pub(crate) fn daemonjob_label(object: &Value) -> &str {
    object["metadata"]["labels"][DAEMONJOB_LABEL]
        .as_str()
        .unwrap_or_default()
}

pub(crate) fn hash(object: &Value) -> &str {
    annotation(object, TEMPLATE_HASH)
}

pub(crate) fn node_name(job: &Value) -> &str {
    annotation(job, NODE_NAME)
}

pub(crate) fn node_uid(job: &Value) -> &str {
    annotation(job, NODE_UID)
}

pub(crate) fn retry(object: &Value) -> &str {
    annotation(object, RETRY)
}

pub(crate) fn condition<'a>(object: &'a Value, type_: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == type_ && condition["status"] == "True")
}

/// When a Job finished, if it did.
pub(crate) fn finish(job: &Value) -> Option<(bool, Option<Timestamp>)> {
    if condition(job, "Complete").is_some() {
        return Some((true, time(job, "/status/completionTime")));
    }
    let failed = condition(job, "Failed")?;
    Some((false, time(failed, "/lastTransitionTime")))
}

/// Whether a Pod has neither succeeded nor failed.
pub(crate) fn is_unfinished(pod: &Value) -> bool {
    !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// The generation of the DaemonJob that a Job says it was made from.
pub(crate) fn generation(job: &Value) -> i64 {
    annotation(job, GENERATION).parse().unwrap_or_default()
}

/// What the status of a DaemonJob records of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded<'a> {
    pub(crate) hash: &'a str,
    pub(crate) generation: i64,
    pub(crate) succeeded: bool,
}

pub(crate) fn recorded<'a>(daemon_job: &'a Value, node: &str) -> Option<Recorded<'a>> {
    let token = node_token(&NodeUid::new(node));
    let groups = daemon_job["status"]["finishedNodes"].as_array()?;
    groups.iter().find_map(|group| {
        let has = |field: &str| {
            group[field]
                .as_str()
                .is_some_and(|tokens| tokens.split(' ').any(|held| held == token))
        };
        let succeeded = has("succeeded");
        (succeeded || has("failed")).then(|| Recorded {
            hash: text(group, "/templateHash"),
            generation: group["generation"].as_i64().unwrap_or_default(),
            succeeded,
        })
    })
}

/// Whether the outcome of this Job is on record, or that of a later one of its node.
pub(crate) fn is_on_record(daemon_job: &Value, job: &Value) -> bool {
    recorded(daemon_job, node_uid(job)).is_some_and(|recorded| match recorded.generation.cmp(&generation(job)) {
        Ordering::Less => false,
        Ordering::Equal => recorded.hash == hash(job),
        Ordering::Greater => true,
    })
}

/// Whether a retry is pending for a node: its token.
pub(crate) fn pending<'a>(daemon_job: &'a Value, node: &str) -> Option<&'a str> {
    let token = node_token(&NodeUid::new(node));
    let retry = &daemon_job["status"]["retry"];
    let is_pending = text(retry, "/pending").split(' ').any(|held| held == token);
    is_pending.then(|| text(retry, "/token"))
}

/// Whether the selectors of a DaemonJob select a node: strings alone, as the simulation writes them.
pub(crate) fn selects(daemon_job: &Value, node: &Value) -> bool {
    let carries = |selector: &Value| {
        let pairs = selector.as_object().filter(|pairs| !pairs.is_empty())?;
        Some(
            pairs
                .iter()
                .all(|(key, value)| node["metadata"]["labels"].get(key) == Some(value)),
        )
    };
    let spec = &daemon_job["spec"];
    match (carries(&spec["selector"]), carries(&spec["ingoreSelector"])) {
        (Some(selected), _) => selected,
        (None, Some(ignored)) => !ignored,
        (None, None) => true,
    }
}

/// Whether a node can take work now.
pub(crate) fn takes_work(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array();
    node["spec"]["unschedulable"] != true && taints.is_none_or(Vec::is_empty)
}

/// The key of an object of this kind beside another one.
pub(crate) fn key_of(kind: Kind, object: &Value) -> Key {
    Key::new(kind, text(object, "/metadata/namespace"), name(object))
}

/// All objects of a kind, for as long as they are changed meanwhile.
pub(crate) fn all(server: &ApiServer, kind: Kind) -> Vec<(Key, Arc<Value>)> {
    server
        .all(kind)
        .map(|(key, object)| (key.clone(), Arc::clone(object)))
        .collect()
}
