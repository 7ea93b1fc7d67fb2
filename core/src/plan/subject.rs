//! The DaemonJob under the planner: its spec read once, its record decoded once.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;

use super::{Action, EventDraft};
use crate::eligibility::Requirements;
use crate::hash::TemplateHash;
use crate::names::{MANAGER, RETRY, TEMPLATE_HASH, Uid};
use crate::observed::{JobView, NodeView};
use crate::reason::Reason;
use crate::record::{LastRun, Record};
use crate::retry::{Request, Retry};
use crate::types::{DaemonJob, DaemonJobStatus};
use crate::validation::{self, Reading};

/// A DaemonJob, taken apart once per version of the object.
#[derive(Clone, Debug)]
pub struct Subject {
    namespace: String,
    name: String,
    uid: Uid,
    generation: i64,
    resource_version: String,
    deleting: bool,
    annotated_hash: Option<String>,
    hash_manager: Option<String>,
    reading: Reading,
    requirements: Requirements,
    status: DaemonJobStatus,
    record: Record,
    retry_request: Option<Request>,
    retry: Retry,
}

impl Subject {
    /// Reads a DaemonJob. Total: a spec that breaks a rule is data, see [`Reading`].
    pub fn new(daemon_job: DaemonJob) -> Self {
        let DaemonJob {
            metadata, spec, status, ..
        } = daemon_job;
        let name = metadata.name.unwrap_or_default();
        let reading = validation::read(&name, &spec);
        let status = status.unwrap_or_default();
        let hash_manager = metadata.managed_fields.as_deref().and_then(hash_manager);
        let mut annotations = metadata.annotations.unwrap_or_default();
        Self {
            requirements: reading
                .runnable()
                .map(|spec| Requirements::of(spec.template.typed()))
                .unwrap_or_default(),
            reading,
            name,
            namespace: metadata.namespace.unwrap_or_default(),
            uid: Uid::new(metadata.uid.unwrap_or_default()),
            generation: metadata.generation.unwrap_or_default(),
            resource_version: metadata.resource_version.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            hash_manager,
            annotated_hash: annotations.remove(TEMPLATE_HASH),
            retry_request: annotations.remove(RETRY).and_then(|text| Request::parse(&text)),
            retry: Retry::read(status.retry.as_ref()),
            record: Record::read(&status.finished_nodes, metadata.generation.unwrap_or_default()),
            status,
        }
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its identity.
    pub fn uid(&self) -> &Uid {
        &self.uid
    }

    /// Counts the changes of its spec.
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// The version of the object that this was read from.
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// It has been told to go: garbage collection does the rest.
    pub fn is_deleting(&self) -> bool {
        self.deleting
    }

    /// The hash in its annotation, whatever it says.
    pub fn annotated_hash(&self) -> Option<&str> {
        self.annotated_hash.as_deref()
    }

    /// Who else wrote that annotation last.
    pub(super) fn hash_manager(&self) -> Option<&str> {
        self.hash_manager.as_deref()
    }

    /// Its spec, with everything that is wrong with it.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What its template asks of a node; asks nothing if the spec cannot run.
    pub fn requirements(&self) -> &Requirements {
        &self.requirements
    }

    /// The status that was last seen in the store.
    pub fn status(&self) -> &DaemonJobStatus {
        &self.status
    }

    /// The record in that status.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What the record has to say of this Job, which must be of this DaemonJob, once it has finished.
    pub(super) fn result(&self, job: &JobView) -> Option<LastRun> {
        Some(LastRun {
            template_hash: job.hash.as_ref()?.as_str().to_owned(),
            generation: self.made_at(job),
            finish: job.finish()?,
        })
    }

    /// Whether the store holds the outcome of this Job, which must be of this DaemonJob, or that of a later one.
    /// While the retry that started it is pending there, what is on record is the run before, though it may read the
    /// same.
    pub fn has_recorded(&self, job: &JobView) -> bool {
        let (Some(node), Some(result)) = (&job.node_uid, self.result(job)) else {
            return false;
        };
        let is_older = job.retry.is_some() && self.retry.pending(node) == job.retry.as_deref();
        !is_older && (self.record.of(node) == Some(&result) || self.is_past(job))
    }

    /// Whether the store holds the result of a Job that was made from a later generation than this one. Then this one
    /// was seen too late, on an old list or by a controller that lags behind another one, or it was created too late,
    /// by a leader that had stood still: it must not make the node run again.
    pub(super) fn is_past(&self, job: &JobView) -> bool {
        let recorded = job.node_uid.as_ref().and_then(|node| self.record.of(node));
        recorded.is_some_and(|run| self.made_at(job) < run.generation)
    }

    /// The generation that a Job was made from: not from one that is still to come, whatever it says.
    fn made_at(&self, job: &JobView) -> i64 {
        job.generation.min(self.generation)
    }

    /// Whether the selectors select this node. A spec that may not run selects none.
    pub fn selects(&self, node: &NodeView) -> bool {
        let spec = self.reading.runnable();
        spec.is_ok_and(|spec| spec.selection.matches(&node.labels))
    }

    /// The keys of all node labels that a decision about this DaemonJob looks at.
    pub fn label_keys(&self) -> BTreeSet<&str> {
        let selected = self.reading.runnable().ok().map(|spec| spec.selection.keys());
        selected
            .into_iter()
            .flatten()
            .chain(self.requirements.label_keys())
            .collect()
    }

    /// What the retry annotation asks for.
    pub fn retry_request(&self) -> Option<&Request> {
        self.retry_request.as_ref()
    }

    /// The retry that the status remembers.
    pub fn retry(&self) -> &Retry {
        &self.retry
    }

    /// Whether that status is of an earlier run.
    pub(super) fn is_new_run(&self) -> bool {
        self.status.observed_generation != self.generation || self.status.start_time.is_none()
    }

    pub(super) fn restore_hash(&self, hash: &TemplateHash) -> Action {
        let note = format!(
            "the annotation {TEMPLATE_HASH} was missing or wrong and has been restored; \
             was the object written past the webhook?"
        );
        Action::RestoreHash {
            hash: hash.clone(),
            resource_version: self.resource_version.clone(),
            news: EventDraft {
                warning: true,
                reason: Reason::TemplateHashRestored,
                note,
                about: None,
            },
        }
    }
}

/// The field manager that wrote the hash annotation last, if it is not us.
fn hash_manager(entries: &[ManagedFieldsEntry]) -> Option<String> {
    let annotation = format!("f:{TEMPLATE_HASH}");
    let wrote = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let annotations = fields.and_then(|fields| fields.get("f:metadata")?.get("f:annotations"));
        annotations.is_some_and(|annotations| annotations.get(&annotation).is_some())
    };
    let others = entries.iter().filter(|entry| entry.manager.as_deref() != Some(MANAGER));
    let last = others
        .filter(wrote)
        .max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    last.manager.clone()
}
