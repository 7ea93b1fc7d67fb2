//! Every request that the controller sends to the API server, each bounded in time and never repeated by the client:
//! what failed is planned again, from what is there by then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use daemonjob_core::hash::TemplateHash;
use daemonjob_core::names::{JobName, MANAGER, NodeName, NodeUid, TEMPLATE_HASH, Uid};
use daemonjob_core::observed::{JobLite, NodeLite, NodeView};
use daemonjob_core::plan::Answer;
use daemonjob_core::types::DaemonJob;
use http::Request;
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::Status;
use serde_json::{Value, json};

/// Longest time that one call may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Nodes a page of a metadata list: some 3 KB each.
const NODES_PAGE: u32 = 500;
/// Most Events that one look reads.
const EVENTS_MAX: u32 = 500;

/// The API server, as the controller uses it.
#[derive(Clone)]
pub(super) struct Server {
    client: Client,
}

impl Server {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    pub(super) async fn daemon_job(&self, namespace: &str, name: &str) -> Result<Option<DaemonJob>, Answer> {
        let api: Api<DaemonJob> = Api::namespaced(self.client.clone(), namespace);
        bounded(api.get_opt(name)).await
    }

    pub(super) async fn node(&self, name: &NodeName) -> Result<Option<NodeView>, Answer> {
        let api: Api<NodeLite> = Api::all(self.client.clone());
        Ok(bounded(api.get_opt(name.as_str())).await?.map(NodeView::from))
    }

    pub(super) async fn job(&self, namespace: &str, name: &JobName) -> Result<Option<JobLite>, Answer> {
        let api: Api<JobLite> = Api::namespaced(self.client.clone(), namespace);
        bounded(api.get_opt(name.as_str())).await
    }

    /// Creates a Job. Strict: a server that does not know a field refuses instead of dropping it.
    pub(super) async fn create_job(&self, namespace: &str, job: &Value) -> Result<JobLite, Answer> {
        let url = format!("/apis/batch/v1/namespaces/{namespace}/jobs?fieldManager={MANAGER}&fieldValidation=Strict");
        let request = Request::post(url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(job.to_string().into_bytes())
            .map_err(|error| transport(&error))?;
        bounded(self.client.request(request)).await
    }

    /// Deletes exactly the Job that was examined, and only after its Pods.
    /// Returns it as it is now, or nothing if it is gone already.
    pub(super) async fn delete_job(
        &self,
        namespace: &str,
        name: &JobName,
        uid: &Uid,
    ) -> Result<Option<JobLite>, Answer> {
        let api: Api<JobLite> = Api::namespaced(self.client.clone(), namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions {
                resource_version: None,
                uid: Some(uid.as_str().to_owned()),
            }),
            ..DeleteParams::default()
        };
        Ok(bounded(api.delete(name.as_str(), &params)).await?.left())
    }

    /// The UIDs of all nodes, from a complete list of its own that no cache serves.
    pub(super) async fn node_uids(&self) -> Result<BTreeSet<NodeUid>, Answer> {
        let api: Api<NodeLite> = Api::all(self.client.clone());
        let mut page = ListParams::default().limit(NODES_PAGE);
        let mut uids = BTreeSet::new();
        loop {
            let list = bounded(api.list_metadata(&page)).await?;
            uids.extend(
                list.items
                    .into_iter()
                    .filter_map(|node| node.metadata.uid)
                    .map(NodeUid::new),
            );
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(uids),
            }
        }
    }

    /// What the Events of Jobs in a namespace say of Pods that could not be created, the latest of each Job.
    pub(super) async fn refused_pods(&self, namespace: &str) -> Result<BTreeMap<Uid, String>, Answer> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let refused = ListParams::default()
            .fields("involvedObject.kind=Job,reason=FailedCreate")
            .limit(EVENTS_MAX);
        let mut events = bounded(api.list(&refused)).await?.items;
        events.sort_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
        let told = |event: Event| Some((Uid::new(event.involved_object.uid?), event.message?));
        Ok(events.into_iter().filter_map(told).collect())
    }

    /// Puts the right hash into the annotation, unless the object has changed since it was examined.
    pub(super) async fn restore_hash(
        &self,
        namespace: &str,
        name: &str,
        hash: &TemplateHash,
        resource_version: &str,
    ) -> Result<DaemonJob, Answer> {
        let api: Api<DaemonJob> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {
            "resourceVersion": resource_version,
            "annotations": {TEMPLATE_HASH: hash.as_str()},
        }});
        bounded(api.patch(name, &params(), &Patch::Merge(&patch))).await
    }

    /// Writes changed fields of a status, unless the object has changed since it was examined.
    pub(super) async fn write_status(
        &self,
        namespace: &str,
        name: &str,
        resource_version: &str,
        status: &Value,
    ) -> Result<DaemonJob, Answer> {
        let api: Api<DaemonJob> = Api::namespaced(self.client.clone(), namespace);
        let patch = json!({"metadata": {"resourceVersion": resource_version}, "status": status});
        bounded(api.patch_status(name, &params(), &Patch::Merge(&patch))).await
    }
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Answer> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(answer_of),
        Err(_) => Err(Answer {
            message: format!("the API server did not answer within {} s", CALL_TIMEOUT.as_secs()),
            ..Answer::default()
        }),
    }
}

fn answer_of(error: kube::Error) -> Answer {
    if let kube::Error::Api(status) = error {
        return answer_of_status(*status);
    }
    transport(&error)
}

fn answer_of_status(status: Status) -> Answer {
    let details = status
        .details
        .unwrap_or_else(|| serde_json::from_value(json!({})).expect("all fields have defaults"));
    let seconds = details.retry_after_seconds;
    Answer {
        code: status.code,
        reason: status.reason,
        message: status.message,
        namespace_terminating: details
            .causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating"),
        retry_after: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
    }
}

fn transport(error: &(dyn std::error::Error + 'static)) -> Answer {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = chain.map(ToString::to_string).collect();
    Answer {
        message: texts.join(": "),
        ..Answer::default()
    }
}

/// A resourceVersion as the number that it is on every API server since Kubernetes 1.33;
/// 0, older than everything, for one that is not.
pub(super) fn version(resource_version: Option<&str>) -> u64 {
    resource_version
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}
