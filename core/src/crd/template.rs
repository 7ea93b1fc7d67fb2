//! `jobTemplate`: Kubernetes' schema of a Job template, with what the plain schema has lost or has too much of.

use serde_json::{Map, Value, json};

use super::text::first_sentence;
use super::{mark_list_map, subschemas};

/// Lists that server-side apply merges by key, as it does in a Job.
///
/// All others are atomic, some against Kubernetes' own marker: the key of `ports` would need a default,
/// and a default inside the template would change the template that the user's hash is made from;
/// in `env`, `imagePullSecrets` and `hostAliases` a Job may hold the same key twice, which a map list refuses.
pub(super) const LIST_MAPS: [(&str, &[&str]); 10] = [
    ("claims", &["name"]),
    ("containers", &["name"]),
    ("ephemeralContainers", &["name"]),
    ("initContainers", &["name"]),
    ("resourceClaims", &["name"]),
    ("schedulingGates", &["name"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("volumeDevices", &["devicePath"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
];

/// Types that server-side apply replaces whole, as Kubernetes marks them.
const ATOMIC_TYPES: [&str; 12] = [
    "io.k8s.api.core.v1.ConfigMapKeySelector",
    "io.k8s.api.core.v1.EvictionResponder",
    "io.k8s.api.core.v1.FileKeySelector",
    "io.k8s.api.core.v1.LocalObjectReference",
    "io.k8s.api.core.v1.NodeSelector",
    "io.k8s.api.core.v1.NodeSelectorTerm",
    "io.k8s.api.core.v1.ObjectFieldSelector",
    "io.k8s.api.core.v1.ResourceFieldSelector",
    "io.k8s.api.core.v1.SecretKeySelector",
    "io.k8s.api.core.v1.TypedLocalObjectReference",
    "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
];

/// Fields that mean something else here than in a Job, or that the webhook refuses: what `kubectl explain` says.
pub(super) const OWN_TEXTS: [(&str, &str); 11] = [
    (
        "metadata",
        "Labels and annotations of each Job; nothing else may stand here.",
    ),
    ("spec", "The whole spec of a batch/v1 Job."),
    (
        "spec.managedBy",
        "Not allowed here: the Jobs need Kubernetes' own Job controller.",
    ),
    (
        "spec.manualSelector",
        "Not allowed here: Kubernetes chooses each Job's selector.",
    ),
    (
        "spec.selector",
        "Not allowed here: Kubernetes chooses each Job's selector. Nodes are chosen by the DaemonJob's own selector.",
    ),
    (
        "spec.suspend",
        "May not be true here: the Jobs could never be resumed. Queueing systems suspend Jobs themselves.",
    ),
    (
        "spec.ttlSecondsAfterFinished",
        "Seconds for which a finished Job with its Pods and logs is kept; without it, as long as the DaemonJob. The outcome stays in the DaemonJob's status, and the node does not run again.",
    ),
    (
        "spec.template.metadata",
        "Labels and annotations of each Pod; nothing else may stand here.",
    ),
    (
        "spec.template.spec.affinity",
        "Constraints beyond the one that pins each Pod to its node; a node that a required node affinity excludes is skipped.",
    ),
    (
        "spec.template.spec.nodeName",
        "Not allowed here: each Pod is pinned to its node by affinity, so that the scheduler still decides whether it fits.",
    ),
    (
        "spec.template.spec.restartPolicy",
        "OnFailure or Never; needed. With OnFailure a failed container starts again in its Pod, with Never in a new Pod.",
    ),
];

/// Marks a Kubernetes type, before its place in the template is known.
pub(super) fn mark_type(name: &str, schema: &mut Map<String, Value>) {
    if ATOMIC_TYPES.contains(&name) {
        schema.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
    }
}

/// Turns the inlined schema of a Job template into the one of the CRD.
/// The template's own description, ours, stays whole.
pub(super) fn finish(template: &mut Value) {
    let description = template["description"].take();
    shorten(template);
    mark(template);
    template["description"] = description;
    remove_count_formats(field(template, "spec"));
    for (path, text) in OWN_TEXTS {
        field(template, path)["description"] = json!(text);
    }
}

/// A count of the Job that does not fit is refused by the webhook, with its path.
/// The API server's own message about a number that breaks its `format` begins with `<nil>: Invalid value: ""`.
fn remove_count_formats(job: &mut Value) {
    for count in job["properties"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(count) = count.as_object_mut() {
            count.remove("format");
        }
    }
}

/// Cuts descriptions, and defaults: the stored template is the one that the user wrote.
fn shorten(schema: &mut Value) {
    for child in subschemas(schema) {
        shorten(child);
    }
    if let Some(object) = schema.as_object_mut() {
        object.remove("default");
        if let Some(Value::String(description)) = object.get_mut("description") {
            *description = first_sentence(description);
        }
    }
}

/// Sets the markers that depend on a field's name.
fn mark(schema: &mut Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            if let Some((_, keys)) = LIST_MAPS.iter().find(|(list, _)| list == name) {
                mark_list_map(property, keys);
            }
            match name.as_str() {
                "metadata" => reduce_metadata(property),
                "nodeSelector" => property["x-kubernetes-map-type"] = json!("atomic"),
                _ => {}
            }
        }
    }
    for child in subschemas(schema) {
        mark(child);
    }
}

/// Embedded metadata has labels and annotations.
///
/// The API server would drop all other fields without a word where the client does not ask for strict validation,
/// so they stay, without a type: the webhook sees them and refuses them by path.
/// `creationTimestamp: null` is what older Go programs write into every template.
fn reduce_metadata(metadata: &mut Value) {
    let Some(properties) = metadata["properties"].as_object_mut() else {
        return;
    };
    for (name, property) in properties {
        match name.as_str() {
            "annotations" | "labels" => {}
            "creationTimestamp" => {
                *property =
                    json!({ "type": "string", "nullable": true, "description": "Not allowed here, but for null." });
            }
            _ => {
                *property = json!({ "x-kubernetes-preserve-unknown-fields": true, "description": "Not allowed here." })
            }
        }
    }
}

/// The schema of a field of the template, by its dotted path.
fn field<'a>(template: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.')
        .fold(template, |schema, name| &mut schema["properties"][name])
}
