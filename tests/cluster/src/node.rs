//! Nodes that kwok plays.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Marks a node for kwok; it leaves other nodes alone.
pub(crate) const FAKE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

/// A node to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    name: String,
    labels: BTreeMap<String, String>,
    taints: Vec<String>,
    is_cordoned: bool,
    is_played: bool,
}

impl Node {
    /// A node with the labels that every kubelet sets.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            is_cordoned: false,
            is_played: true,
        }
        .label("kubernetes.io/hostname", name)
        .label("kubernetes.io/os", "linux")
        .label("kubernetes.io/arch", "amd64")
    }

    /// `node-1` to `node-COUNT`.
    pub fn several(count: usize) -> Vec<Self> {
        (1..=count).map(|number| Self::new(&format!("node-{number}"))).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a label, or changes one.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a taint in kubectl's notation: `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
    #[must_use]
    pub fn taint(mut self, taint: &str) -> Self {
        self.taints.push(taint.to_owned());
        self
    }

    /// Nothing new may be scheduled to it.
    #[must_use]
    pub const fn cordoned(mut self) -> Self {
        self.is_cordoned = true;
        self
    }

    /// Nobody plays its kubelet: it never becomes ready, and its Pods never start.
    #[must_use]
    pub const fn lifeless(mut self) -> Self {
        self.is_played = false;
        self
    }

    pub(crate) const fn is_played(&self) -> bool {
        self.is_played
    }

    fn manifest(&self) -> Result<Value> {
        let taints: Vec<Value> = self
            .taints
            .iter()
            .map(|taint| parse_taint(taint))
            .collect::<Result<_>>()?;
        let (key, value) = FAKE;
        let annotations = if self.is_played {
            json!({ key: value })
        } else {
            json!({})
        };
        let room = json!({"cpu": "32", "memory": "256Gi", "pods": "110"});
        Ok(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels, "annotations": annotations},
            "spec": {"taints": taints, "unschedulable": self.is_cordoned},
            "status": {
                "allocatable": room,
                "capacity": room,
                // As a kubelet registers itself; without a condition the not-ready taint would not stay.
                "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}],
                "nodeInfo": {
                    "architecture": "amd64",
                    "bootID": "",
                    "containerRuntimeVersion": "fake",
                    "kernelVersion": "fake",
                    "kubeProxyVersion": "fake",
                    "kubeletVersion": "fake",
                    "machineID": "",
                    "operatingSystem": "linux",
                    "osImage": "fake",
                    "systemUUID": "",
                },
            },
        }))
    }
}

/// One document for `kubectl create`.
pub(crate) fn manifests(nodes: &[Node]) -> Result<String> {
    let items: Vec<Value> = nodes.iter().map(Node::manifest).collect::<Result<_>>()?;
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn parse_taint(text: &str) -> Result<Value> {
    let (key, effect) = text
        .rsplit_once(':')
        .with_context(|| format!("taint `{text}` is not KEY=VALUE:EFFECT or KEY:EFFECT"))?;
    let (key, value) = key.split_once('=').unwrap_or((key, ""));
    Ok(json!({"key": key, "value": value, "effect": effect}))
}

/// Name, ready and taints of each node, a line each.
pub(crate) const READINESS: &str = "jsonpath={range .items[*]}{.metadata.name} \
     {.status.conditions[?(@.type==\"Ready\")].status} {.spec.taints[*].key}{\"\\n\"}{end}";

/// Which of the nodes are not usable yet: not ready, or still carrying the taint that a new node is born with.
pub(crate) fn unready<'a>(nodes: &'a [Node], readiness: &str) -> Vec<&'a str> {
    let is_ready = |node: &Node| {
        readiness.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(node.name())
                && words.next() == Some("True")
                && words.all(|taint| taint != "node.kubernetes.io/not-ready")
        })
    };
    nodes
        .iter()
        .filter(|node| node.is_played() && !is_ready(node))
        .map(Node::name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_carries_labels_taints_and_room_for_pods() {
        let node = Node::new("n1")
            .label("ingress", "true")
            .taint("a/b=c:NoSchedule")
            .taint("d:NoExecute")
            .cordoned();
        let text = manifests(&[node]).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let node = &value["items"][0];
        assert_eq!(node["metadata"]["labels"]["ingress"], "true");
        assert_eq!(node["metadata"]["annotations"][FAKE.0], FAKE.1);
        assert_eq!(
            node["spec"]["taints"][0],
            json!({"key": "a/b", "value": "c", "effect": "NoSchedule"})
        );
        assert_eq!(
            node["spec"]["taints"][1],
            json!({"key": "d", "value": "", "effect": "NoExecute"})
        );
        assert_eq!(node["spec"]["unschedulable"], true);
        assert_eq!(node["status"]["allocatable"]["pods"], "110");
    }

    #[test]
    fn a_taint_without_effect_is_refused() {
        let error = manifests(&[Node::new("n1").taint("a=b")]).unwrap_err().to_string();
        assert!(error.contains("a=b"), "{error}");
    }

    #[test]
    fn unready_are_those_not_ready_not_there_or_still_tainted() {
        let nodes = ["a", "b", "c", "d"].map(Node::new);
        let seen = "a True\nb True node.kubernetes.io/not-ready\nc False\n";
        assert_eq!(unready(&nodes, seen), ["b", "c", "d"]);
    }

    #[test]
    fn a_cordoned_node_is_usable_and_a_lifeless_one_is_not_waited_for() {
        let nodes = [Node::new("a").cordoned(), Node::new("b").lifeless()];
        assert!(unready(&nodes, "a True node.kubernetes.io/unschedulable\n").is_empty());
    }
}
