//! The Job of a node, built from the raw template: what the template says stays as it is written.

use serde_json::{Map, Value, json};

use super::{Slot, Subject};
use crate::names::{self, API_VERSION, KIND, MANAGER, node_label};
use crate::observed::NodeView;
use crate::validation::Spec;

/// The Job for this slot, ready to be sent; nothing if the slot has no node or the spec may not run.
pub fn build_job(subject: &Subject, slot: &Slot) -> Option<Value> {
    let node = slot.node.as_deref()?;
    let spec = subject.reading().runnable().ok()?;
    let template = spec.template.raw();
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": slot.name.as_str(),
            "namespace": subject.namespace(),
            "labels": job_labels(template, subject, node),
            "annotations": job_annotations(template, subject, spec, node),
            "ownerReferences": [{
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": subject.name(),
                "uid": subject.uid().as_str(),
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
        "spec": job_spec(template, subject, node),
    }))
}

fn job_labels(template: &Value, subject: &Subject, node: &NodeView) -> Map<String, Value> {
    let mut labels = object(template, "/metadata/labels");
    labels.entry(names::MANAGED_BY_LABEL).or_insert_with(|| MANAGER.into());
    add_our_labels(&mut labels, subject, node);
    labels
}

fn add_our_labels(labels: &mut Map<String, Value>, subject: &Subject, node: &NodeView) {
    labels.insert(names::DAEMONJOB_LABEL.to_owned(), subject.name().into());
    labels.insert(names::NODE_LABEL.to_owned(), node_label(&node.name).into());
}

fn job_annotations(template: &Value, subject: &Subject, spec: &Spec, node: &NodeView) -> Map<String, Value> {
    let mut annotations = object(template, "/metadata/annotations");
    annotations.insert(names::TEMPLATE_HASH.to_owned(), spec.template.hash().as_str().into());
    annotations.insert(names::GENERATION.to_owned(), subject.generation().to_string().into());
    annotations.insert(names::NODE_NAME.to_owned(), node.name.as_str().into());
    annotations.insert(names::NODE_UID.to_owned(), node.uid.as_str().into());
    if let Some(token) = subject.retry().pending(&node.uid) {
        annotations.insert(names::RETRY.to_owned(), token.into());
    }
    annotations
}

fn job_spec(template: &Value, subject: &Subject, node: &NodeView) -> Map<String, Value> {
    let mut spec = object(template, "/spec");
    // Kept by the controller, once the outcome is recorded: the API server would delete it before that.
    spec.remove("ttlSecondsAfterFinished");
    let pod_template = member(&mut spec, "template");
    add_our_labels(member(member(pod_template, "metadata"), "labels"), subject, node);
    pin(member(pod_template, "spec"), node);
    spec
}

/// Pins the Pods to the node by its name, AND-ed into every term that the template has.
///
/// Terms are ORed, so a term of its own would let Pods out to wherever another term matches.
/// Empty terms match nothing and are dropped.
fn pin(pod: &mut Map<String, Value>, node: &NodeView) {
    let here = json!({"key": "metadata.name", "operator": "In", "values": [node.name.as_str()]});
    let affinity = member(member(pod, "affinity"), "nodeAffinity");
    let required = member(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    let terms = required.get("nodeSelectorTerms").and_then(Value::as_array);
    let mut pinned: Vec<Value> = terms
        .into_iter()
        .flatten()
        .filter_map(|term| pin_term(term, &here))
        .collect();
    if pinned.is_empty() {
        pinned.push(json!({"matchFields": [here]}));
    }
    required.insert("nodeSelectorTerms".to_owned(), pinned.into());
}

fn pin_term(term: &Value, here: &Value) -> Option<Value> {
    let mut term = term.as_object()?.clone();
    let has = |key: &str| {
        term.get(key)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    };
    if !has("matchExpressions") && !has("matchFields") {
        return None;
    }
    let mut fields = term
        .get("matchFields")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    fields.push(here.clone());
    term.insert("matchFields".to_owned(), fields.into());
    Some(term.into())
}

fn object(value: &Value, pointer: &str) -> Map<String, Value> {
    value
        .pointer(pointer)
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

/// The object under this key, made if it is missing or null.
fn member<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("made an object above")
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use super::*;

    fn job_of(template: &Value) -> Value {
        let world = World::parse("template A\nnode n1 zone=a\n").with_template(template.clone());
        let slots = world.slots();
        build_job(&world.subject(), &slots[0]).unwrap()
    }

    fn template(pod: &Value) -> Value {
        let mut spec = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
        spec.as_object_mut()
            .unwrap()
            .append(&mut pod.as_object().unwrap().clone());
        json!({"spec": {"template": {"spec": spec}}})
    }

    fn terms(job: &Value) -> Value {
        job.pointer(
            "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
        )
        .unwrap()
        .clone()
    }

    const HERE: &str = r#"{"key": "metadata.name", "operator": "In", "values": ["n1"]}"#;

    fn here() -> Value {
        serde_json::from_str(HERE).unwrap()
    }

    #[test]
    fn a_whole_job() {
        let mut template = template(&json!({"nodeName2": "kept"}));
        template["metadata"] = json!({"labels": {"team": "a"}, "creationTimestamp": null});
        template["spec"]["ttlSecondsAfterFinished"] = json!(7);
        insta::assert_json_snapshot!(job_of(&template));
    }

    #[test]
    fn e15_a_template_without_affinity_gets_one_term() {
        assert_eq!(
            terms(&job_of(&template(&json!({})))),
            json!([{"matchFields": [here()]}])
        );
    }

    #[test]
    fn e14_the_pin_is_anded_into_every_non_empty_term() {
        let zone = json!({"key": "zone", "operator": "Exists"});
        let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {"matchExpressions": [zone]}, {}, {"matchExpressions": [zone], "matchFields": [here()]}]}}}});
        assert_eq!(
            terms(&job_of(&template(&affinity))),
            json!([
                {"matchExpressions": [zone], "matchFields": [here()]},
                {"matchExpressions": [zone], "matchFields": [here(), here()]},
            ])
        );
    }

    #[test]
    fn e20_the_time_to_live_is_not_handed_to_the_job() {
        let mut template = template(&json!({}));
        template["spec"]["ttlSecondsAfterFinished"] = json!(0);
        assert_eq!(job_of(&template).pointer("/spec/ttlSecondsAfterFinished"), None);
    }

    #[test]
    fn a_label_of_the_template_that_says_who_manages_it_stays() {
        let mut template = template(&json!({}));
        template["metadata"] = json!({"labels": {names::MANAGED_BY_LABEL: "me"}});
        assert_eq!(job_of(&template)["metadata"]["labels"][names::MANAGED_BY_LABEL], "me");
    }
}
