//! Requests that an API server could send, each a change that is allowed.

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::names::{API_VERSION, GROUP, KIND, PLURAL, TEMPLATE_HASH, VERSION};
use daemonjob_webhook::Endpoint;
use serde_json::{Map, Value, json};

/// Bodies of three sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// 2 KB: a small DaemonJob is created.
    Small,
    /// 20 KB: one with four containers gets another image.
    Medium,
    /// 1.4 MB: the same, with annotations and managed fields as large as an API server stores.
    Large,
}

/// How an object of a sample is filled.
struct Filling {
    containers: usize,
    variables: usize,
    annotations: usize,
    managed: usize,
}

impl Sample {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// For a table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "2 KB",
            Self::Medium => "20 KB",
            Self::Large => "1.4 MB",
        }
    }

    fn filling(self) -> Filling {
        let (containers, variables, annotations, managed) = match self {
            Self::Small => (1, 2, 1, 1),
            Self::Medium => (4, 18, 3, 40),
            Self::Large => (4, 18, 250, 11_300),
        };
        Filling {
            containers,
            variables,
            annotations,
            managed,
        }
    }
}

/// The bytes of a request, head and body.
pub fn request(sample: Sample, endpoint: Endpoint) -> Vec<u8> {
    let body = review(sample, endpoint).to_string();
    let head = format!(
        "POST {}?timeout=5s HTTP/1.1\r\nHost: webhook.bench\r\nUser-Agent: kube-apiserver-admission\r\n\
         Content-Length: {}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\n\r\n",
        endpoint.path(),
        body.len()
    );
    (head + &body).into_bytes()
}

fn review(sample: Sample, endpoint: Endpoint) -> Value {
    let kind = json!({"group": GROUP, "version": VERSION, "kind": KIND});
    let resource = json!({"group": GROUP, "version": VERSION, "resource": PLURAL});
    let old = (sample != Sample::Small).then(|| stamped(object(sample, "1.0")));
    let new = object(sample, "1.1");
    let new = match (endpoint, &old) {
        // An update carries the old hash along.
        (Endpoint::Mutate, Some(old)) => with_hash(new, old["metadata"]["annotations"][TEMPLATE_HASH].clone()),
        (Endpoint::Mutate, None) => new,
        (Endpoint::Validate, _) => stamped(new),
    };
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": "prepull",
            "namespace": "node-maintenance",
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "userInfo": {"username": "kubernetes-admin", "groups": ["kubeadm:cluster-admins", "system:authenticated"]},
            "object": new,
            "oldObject": old,
            "dryRun": false,
            "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "kubectl"},
        },
    })
}

fn object(sample: Sample, tag: &str) -> Value {
    let filling = sample.filling();
    let note = "what somebody wants to remember of it; ".repeat(26);
    let annotations = (0..filling.annotations).map(|number| {
        let length = if sample == Sample::Small { 100 } else { note.len() };
        (format!("example.com/note-{number}"), json!(note[..length]))
    });
    let managed = (0..filling.managed).map(|number| (format!("f:example.com/field-{number}"), json!({"f:v": {}})));
    json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": "prepull",
            "namespace": "node-maintenance",
            "uid": "6b4ff1ab-1c1c-4a3b-8a51-5d0c5d3c2f11",
            "generation": 1,
            "annotations": annotations.collect::<Map<_, _>>(),
            "managedFields": [{
                "manager": "kubectl",
                "operation": "Apply",
                "apiVersion": API_VERSION,
                "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": managed.collect::<Map<_, _>>()}},
            }],
        },
        "spec": {
            "selector": {"kubernetes.io/os": "linux"},
            "jobTemplate": {"spec": {
                "backoffLimit": 3,
                "template": {"spec": {
                    "containers": (0..filling.containers).map(|number| container(number, &filling, tag)).collect::<Vec<_>>(),
                    "restartPolicy": "OnFailure",
                    "tolerations": [{"operator": "Exists"}],
                }},
            }},
        },
    })
}

fn container(number: usize, filling: &Filling, tag: &str) -> Value {
    let variables = (0..filling.variables)
        .map(|number| json!({"name": format!("SETTING_{number}"), "value": "a value of usual length"}));
    json!({
        "name": format!("step-{number}"),
        "image": format!("registry.example.com/tools/prepull:{tag}"),
        "command": ["/bin/sh", "-c"],
        "args": ["set -e; for image in $IMAGES; do fetch \"$image\"; done; echo done"],
        "env": variables.collect::<Vec<_>>(),
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    })
}

/// As `/mutate` leaves it.
fn stamped(mut object: Value) -> Value {
    let hash = TemplateHash::of(&object["spec"]["jobTemplate"]).expect("its numbers are exact");
    object["spec"]["replace"] = json!(false);
    with_hash(object, json!(hash.as_str()))
}

fn with_hash(mut object: Value, hash: Value) -> Value {
    object["metadata"]["annotations"][TEMPLATE_HASH] = hash;
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bodies_have_the_sizes_that_their_names_say() {
        let sizes = Sample::ALL.map(|sample| review(sample, Endpoint::Validate).to_string().len());
        for (size, wanted) in sizes.into_iter().zip([2_000, 20_000, 1_400_000]) {
            assert!(
                (wanted * 9 / 10..wanted * 11 / 10).contains(&size),
                "{size} instead of {wanted}"
            );
        }
    }
}
