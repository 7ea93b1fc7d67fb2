//! Lean forms of the API's objects, decoded without their bulk.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

/// A Node, decoded only as far as it decides where a Job may run. Nodes are large and report often.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeLite {
    /// Metadata without managed fields.
    #[serde(default, deserialize_with = "lean_metadata")]
    pub metadata: ObjectMeta,
    /// Cordon and taints.
    #[serde(default)]
    pub spec: NodeLiteSpec,
}

/// The part of a Node's spec that decides where a Job may run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NodeLiteSpec {
    /// The node is cordoned.
    #[serde(default)]
    pub unschedulable: bool,
    /// Its taints.
    #[serde(default)]
    pub taints: Vec<Taint>,
}

/// A taint of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Taint {
    /// Its key.
    pub key: String,
    /// Its value, empty if it has none.
    #[serde(default)]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    #[serde(default)]
    pub effect: String,
}

/// A Job, decoded only as far as its owner and its outcome.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct JobLite {
    /// Metadata without managed fields.
    #[serde(default, deserialize_with = "lean_metadata")]
    pub metadata: ObjectMeta,
    /// Whether it is suspended.
    #[serde(default)]
    pub spec: JobLiteSpec,
    /// Its outcome.
    #[serde(default)]
    pub status: JobLiteStatus,
}

/// The part of a Job's spec that the controller reads.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct JobLiteSpec {
    /// Suspended by hand or by a queueing system.
    #[serde(default)]
    pub suspend: Option<bool>,
}

/// The part of a Job's status that the controller reads.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobLiteStatus {
    /// When it completed.
    #[serde(default)]
    pub completion_time: Option<Timestamp>,
    /// How many of its Pods run or wait to run.
    #[serde(default)]
    pub active: Option<i32>,
    /// How many of its Pods failed.
    #[serde(default)]
    pub failed: Option<i32>,
    /// How many of its Pods succeeded.
    #[serde(default)]
    pub succeeded: Option<i32>,
    /// How many of its Pods are ready.
    #[serde(default)]
    pub ready: Option<i32>,
    /// When the Job controller took it up.
    #[serde(default)]
    pub start_time: Option<Timestamp>,
    /// Complete, Failed, Suspended and others.
    #[serde(default)]
    pub conditions: Vec<JobLiteCondition>,
}

/// A condition of a Job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobLiteCondition {
    /// `Complete`, `Failed`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word why.
    #[serde(default)]
    pub reason: String,
    /// A sentence why.
    #[serde(default)]
    pub message: String,
    /// When its status last changed.
    #[serde(default)]
    pub last_transition_time: Option<Timestamp>,
}

/// Metadata without managed fields: they are most of its bytes, and nothing here reads them.
fn lean_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Lean {
        annotations: Option<BTreeMap<String, String>>,
        creation_timestamp: Option<Time>,
        deletion_timestamp: Option<Time>,
        labels: Option<BTreeMap<String, String>>,
        name: Option<String>,
        namespace: Option<String>,
        owner_references: Option<Vec<OwnerReference>>,
        resource_version: Option<String>,
        uid: Option<String>,
    }
    let lean = Lean::deserialize(deserializer)?;
    Ok(ObjectMeta {
        annotations: lean.annotations,
        creation_timestamp: lean.creation_timestamp,
        deletion_timestamp: lean.deletion_timestamp,
        labels: lean.labels,
        name: lean.name,
        namespace: lean.namespace,
        owner_references: lean.owner_references,
        resource_version: lean.resource_version,
        uid: lean.uid,
        ..ObjectMeta::default()
    })
}

macro_rules! resource {
    ($type:ty, $scope:ty, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }
            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(NodeLite, ClusterResourceScope, "", "v1", "Node", "nodes");
resource!(JobLite, NamespaceResourceScope, "batch", "v1", "Job", "jobs");
