//! The API types. Their doc comments are what `kubectl explain dj` prints, so they are written for users.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::JobTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::NamespaceResourceScope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::names::{API_VERSION, GROUP, KIND, PLURAL, VERSION};

/// A DaemonJob as it is stored.
///
/// `spec` stays raw JSON: a spec that breaks a rule must be read and reported, not refused by a decoder,
/// and the template must reach the Jobs byte for byte in meaning.
/// [`crate::validation::read`] is the one way to look into it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonJob {
    /// `apiVersion` as sent, [`API_VERSION`].
    #[serde(default = "api_version")]
    pub api_version: String,
    /// `kind` as sent, [`KIND`].
    #[serde(default = "kind")]
    pub kind: String,
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The spec, raw.
    #[serde(default)]
    pub spec: Value,
    /// What the controller last wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<DaemonJobStatus>,
}

fn api_version() -> String {
    API_VERSION.to_owned()
}

fn kind() -> String {
    KIND.to_owned()
}

impl kube::Resource for DaemonJob {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        KIND.into()
    }
    fn group((): &()) -> std::borrow::Cow<'_, str> {
        GROUP.into()
    }
    fn version((): &()) -> std::borrow::Cow<'_, str> {
        VERSION.into()
    }
    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        PLURAL.into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

// The schema of `spec`; the spec itself is decoded by `crate::validation::read`.
/// What to run once on every selected node, and which nodes are selected.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "its fields are read by the schema generator alone")]
pub struct DaemonJobSpec {
    /// Whether a changed jobTemplate runs again on nodes that already have a Job or a result; defaults to false.
    /// When false, they keep it and only nodes that have none get the new template; status.outdated counts the others.
    /// When true, each node on another template has its Job deleted, running or not, and, once its Pods are gone, made anew.
    #[schemars(default)]
    replace: bool,
    /// Run only on nodes that carry all of these labels; without it (and without ingoreSelector), on all nodes.
    /// Values are strings: write `"1"` and `"true"` in quotes. At most 32 labels. Excludes ingoreSelector.
    #[schemars(extend("additionalProperties" = label_value()))]
    selector: Option<BTreeMap<String, Value>>,
    /// Run on all nodes except those that carry all of these labels; without it (and without selector), on all nodes.
    /// The spelling is the API's; ignoreSelector is accepted as another name of this field.
    /// Values are strings: write `"1"` in quotes. An unquoted true excludes true, yes, on and y alike, since YAML makes them one; so for false.
    /// At most 32 labels. Excludes selector.
    #[schemars(extend("additionalProperties" = label_value()))]
    ingore_selector: Option<BTreeMap<String, Value>>,
    /// Another name of ingoreSelector; set at most one of the two.
    #[schemars(extend("additionalProperties" = label_value()))]
    ignore_selector: Option<BTreeMap<String, Value>>,
    /// The Job to run on each node: labels, annotations and the whole spec of a batch/v1 Job.
    /// Its Pods need restartPolicy OnFailure or Never. Unlike in a Job it may be changed: see replace.
    #[schemars(with = "JobTemplateSpec")]
    job_template: Value,
}

/// Any value passes the schema, so that the webhook can say what is wrong with a number or a null.
fn label_value() -> Value {
    json!({ "x-kubernetes-preserve-unknown-fields": true, "nullable": true })
}

/// What the controller saw and did; written by the controller alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonJobStatus {
    /// The generation of the spec that this status describes; -1 until the controller has seen the object.
    pub observed_generation: i64,
    /// Hash of the jobTemplate that new Jobs are made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,
    /// Nodes that should have a result: selected, and not excluded by the template. The sum of active, succeeded, failed and waiting.
    pub desired: i64,
    /// Nodes whose Job is running or about to.
    pub active: i64,
    /// Nodes whose last Job succeeded.
    pub succeeded: i64,
    /// Nodes whose last Job failed.
    pub failed: i64,
    /// Nodes whose Job cannot start yet; waitingNodes says why.
    pub waiting: i64,
    /// Nodes whose Job or result comes from another template than the current one.
    pub outdated: i64,
    /// Selected nodes that the template itself excludes; skippedNodes says why. Not part of desired.
    pub skipped: i64,
    /// Progress in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Up to 20 failed nodes, with their Jobs and the reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Why nodes are waiting.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_nodes: Vec<NodeGroup>,
    /// Why nodes are skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped_nodes: Vec<NodeGroup>,
    /// Nodes whose Job has had no ready Pod for five minutes, and how to look at its Pods.
    /// They count as active: an image that cannot be pulled, no room on the node, a side-car that never ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stuck_nodes: Vec<NodeGroup>,
    /// When this generation was first planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub start_time: Option<Timestamp>,
    /// When the last node of this generation finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub completion_time: Option<Timestamp>,
    /// Which nodes finished, by template: the record that keeps finished work from running again.
    /// Nodes stand there as short tokens of their UIDs. Removing an entry makes its nodes run again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finished_nodes: Vec<FinishedNodes>,
    /// The last retry that was asked for with the annotation daemon.justk8s.com/retry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RetryStatus")]
    pub retry: Option<RetryStatus>,
    /// The state in a form that tools understand: Reconciling, Stalled, Ready, Complete, Failed, Finished.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A node whose Job failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Name of the node.
    pub node: String,
    /// Name of its Job; kubectl logs job/NAME shows what it printed, while the Job exists.
    pub job: String,
    /// Reason of the Job's Failed condition.
    pub reason: String,
    /// Message of the Job's Failed condition.
    pub message: String,
}

/// Nodes that share a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeGroup {
    /// Why, in one word.
    pub reason: String,
    /// How many nodes.
    pub count: i64,
    /// The names of up to five of them.
    pub nodes: Vec<String>,
    /// More about it, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Nodes that finished last with one template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FinishedNodes {
    /// Hash of the jobTemplate.
    pub template_hash: String,
    /// The generation of the DaemonJob that their Jobs were made from; 0 if it is not known.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub generation: i64,
    /// Tokens of the nodes where it succeeded, sorted, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub succeeded: String,
    /// Tokens of the nodes where it failed, sorted, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub failed: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_unknown(generation: &i64) -> bool {
    *generation == 0
}

/// A retry: nodes that run once more because the annotation daemon.justk8s.com/retry asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryStatus {
    /// The token of the annotation; each is handled once.
    pub token: String,
    /// Tokens of the nodes whose new Job has not been seen, sorted, separated by spaces.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pending: String,
}

/// A condition, as Kubernetes objects have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Reconciling, Stalled, Ready, Complete, Failed or Finished.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence for people.
    pub message: String,
    /// When status last changed.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_transition_time: Timestamp,
    /// The generation of the spec that the condition describes.
    #[serde(default)]
    pub observed_generation: i64,
}
