//! What the controller reads of Nodes and Jobs: lean forms of the API's objects, decoded without their bulk,
//! and the views that the planner works on.

mod lite;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub use self::lite::{JobLite, JobLiteCondition, JobLiteSpec, JobLiteStatus, NodeLite, NodeLiteSpec, Taint};
use crate::hash::TemplateHash;
use crate::names::{self, JobName, NodeName, NodeUid, Uid};
use crate::record::Finish;

/// A node as the planner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// Its identity.
    pub uid: NodeUid,
    /// When it joined the cluster.
    pub created: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Cordon and taints.
    pub spec: NodeLiteSpec,
}

impl From<NodeLite> for NodeView {
    fn from(node: NodeLite) -> Self {
        Self {
            name: NodeName::new(node.metadata.name.unwrap_or_default()),
            uid: NodeUid::new(node.metadata.uid.unwrap_or_default()),
            created: node.metadata.creation_timestamp.map(|time| time.0),
            labels: node.metadata.labels.unwrap_or_default(),
            spec: node.spec,
        }
    }
}

/// A Job as the planner sees it. There are as many as nodes times DaemonJobs, so they share their texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// Its name.
    pub name: JobName,
    /// Its identity: every delete carries it.
    pub uid: Uid,
    /// The version of it that was seen: every delete carries that too. What changed since was not examined.
    pub resource_version: Arc<str>,
    /// The DaemonJob that controls it, if one does.
    pub owner: Option<Owner>,
    /// Value of our label, the DaemonJob's name.
    pub label: Option<Arc<str>>,
    /// Hash of the template that it was made from; none if the annotation is missing or is no hash.
    pub hash: Option<TemplateHash>,
    /// The node that it was made for.
    pub node: Option<NodeName>,
    /// That node's identity.
    pub node_uid: Option<NodeUid>,
    /// The retry that started it.
    pub retry: Option<Arc<str>>,
    /// The generation of its DaemonJob that it was made from, as it says; 0 if it does not say.
    pub generation: i64,
    /// When it was told to go.
    pub deleted: Option<Timestamp>,
    /// How far it is.
    pub run: Run,
    /// It runs without a ready Pod, at least since then.
    pub unready_since: Option<Timestamp>,
    /// It should run and has never had a Pod, since it was created.
    pub podless_since: Option<Timestamp>,
}

/// The DaemonJob in a Job's controller reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: Arc<str>,
    /// Its UID.
    pub uid: Uid,
}

/// How far a Job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// It failed for good.
    Failed {
        /// When.
        at: Option<Timestamp>,
        /// Reason of its condition.
        reason: Arc<str>,
        /// Message of its condition.
        message: Arc<str>,
    },
    /// It was started and has not finished.
    Running,
    /// It completed.
    Succeeded {
        /// When.
        at: Option<Timestamp>,
    },
    /// It is suspended.
    Suspended,
}

/// Whose Job it is, seen from one DaemonJob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Somebody else's, or no longer recognisable as ours: never touched, never counted.
    Foreign,
    /// Of an older DaemonJob of the same name.
    Older,
    /// Ours.
    Own,
}

impl JobView {
    /// This view of a Job, after what was known of it before.
    /// A Job says whether Pods are ready, not since when: that is remembered here.
    #[must_use]
    pub fn after(mut self, before: Option<&Self>, now: Timestamp) -> Self {
        let before = before.filter(|before| before.uid == self.uid && before.run == Run::Running);
        if let (Some(started), Some(before)) = (self.unready_since, before) {
            self.unready_since = Some(before.unready_since.unwrap_or(now).max(started));
        }
        self
    }

    /// Whether this says the same of a Job as an earlier view: most of what changes in a Job is not seen here.
    pub fn says_the_same_as(&self, before: &Self) -> bool {
        let resource_version = before.resource_version.clone();
        let same_version = Self {
            resource_version,
            ..self.clone()
        };
        same_version == *before
    }

    /// Its texts that other Jobs have as well.
    pub(crate) fn common_texts(&mut self) -> impl Iterator<Item = &mut Arc<str>> {
        let owner = self.owner.iter_mut();
        let owner = owner.flat_map(|owner| [&mut owner.name, &mut owner.uid.0]);
        let failure = match &mut self.run {
            Run::Failed { reason, message, .. } => Some([reason, message]),
            Run::Running | Run::Succeeded { .. } | Run::Suspended => None,
        };
        let own = [&mut self.label, &mut self.retry];
        let hash = self.hash.as_mut().map(|hash| &mut hash.0);
        let node = self.node.as_mut().map(|name| &mut name.0);
        let node_uid = self.node_uid.as_mut().map(|uid| &mut uid.0);
        owner
            .chain(failure.into_iter().flatten())
            .chain(own.into_iter().flatten())
            .chain([hash, node, node_uid].into_iter().flatten())
    }

    /// How it finished, if it has.
    pub fn finish(&self) -> Option<Finish> {
        match self.run {
            Run::Failed { .. } => Some(Finish::Failed),
            Run::Running | Run::Suspended => None,
            Run::Succeeded { .. } => Some(Finish::Succeeded),
        }
    }

    /// Whether it finished by itself. One that finishes after it was told to go was stopped.
    /// Both times have whole seconds; in the same second it counts as stopped.
    pub fn is_result(&self) -> bool {
        match (&self.run, self.deleted) {
            (Run::Running | Run::Suspended, _) => false,
            (Run::Failed { .. } | Run::Succeeded { .. }, None) => true,
            (Run::Failed { at, .. } | Run::Succeeded { at }, Some(deleted)) => at.is_some_and(|at| at < deleted),
        }
    }

    /// Whose Job this is, for the DaemonJob with this name and UID.
    ///
    /// Ours needs all four marks: the controller reference with our UID, our label, a hash and a node.
    /// Where one was removed by hand we cannot tell what it ran, so it counts as somebody else's.
    pub fn ownership(&self, daemon_job: &str, uid: &Uid) -> Ownership {
        let Some(owner) = self.owner.as_ref().filter(|owner| *owner.name == *daemon_job) else {
            return Ownership::Foreign;
        };
        if self.label.as_deref() != Some(daemon_job) {
            return Ownership::Foreign;
        }
        if owner.uid != *uid {
            return Ownership::Older;
        }
        if self.hash.is_some() && self.node.is_some() && self.node_uid.is_some() {
            Ownership::Own
        } else {
            Ownership::Foreign
        }
    }
}

impl From<JobLite> for JobView {
    fn from(job: JobLite) -> Self {
        let run = run(&job);
        let status = &job.status;
        let pods = [status.active, status.ready, status.failed, status.succeeded];
        let podless = run == Run::Running && pods.into_iter().flatten().all(|pods| pods == 0);
        let unready = run == Run::Running && job.status.ready.unwrap_or_default() == 0;
        let metadata = job.metadata;
        let mut labels = metadata.labels.unwrap_or_default();
        let mut annotations = metadata.annotations.unwrap_or_default();
        Self {
            name: JobName::new(metadata.name.unwrap_or_default()),
            uid: Uid::new(metadata.uid.unwrap_or_default()),
            resource_version: metadata.resource_version.unwrap_or_default().into(),
            owner: metadata.owner_references.and_then(daemon_job_controller),
            label: labels.remove(names::DAEMONJOB_LABEL).map(Into::into),
            hash: annotations
                .get(names::TEMPLATE_HASH)
                .and_then(|hash| TemplateHash::parse(hash)),
            node: annotations.remove(names::NODE_NAME).map(NodeName::new),
            node_uid: annotations.remove(names::NODE_UID).map(NodeUid::new),
            retry: annotations.remove(names::RETRY).map(Into::into),
            generation: annotations
                .get(names::GENERATION)
                .and_then(|generation| generation.parse().ok())
                .unwrap_or_default(),
            podless_since: metadata.creation_timestamp.filter(|_| podless).map(|time| time.0),
            deleted: metadata.deletion_timestamp.map(|time| time.0),
            run,
            unready_since: if unready { job.status.start_time } else { None },
        }
    }
}

fn daemon_job_controller(references: Vec<OwnerReference>) -> Option<Owner> {
    let ours = |reference: &OwnerReference| {
        reference.controller == Some(true)
            && reference.kind == names::KIND
            && reference.api_version.split('/').next() == Some(names::GROUP)
    };
    let reference = references.into_iter().find(ours)?;
    Some(Owner {
        name: reference.name.into(),
        uid: Uid::new(reference.uid),
    })
}

fn run(job: &JobLite) -> Run {
    let is_true = |type_: &str| {
        job.status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    if let Some(complete) = is_true("Complete") {
        return Run::Succeeded {
            at: job.status.completion_time.or(complete.last_transition_time),
        };
    }
    if let Some(failed) = is_true("Failed") {
        return Run::Failed {
            at: failed.last_transition_time,
            reason: failed.reason.as_str().into(),
            message: failed.message.as_str().into(),
        };
    }
    if job.spec.suspend == Some(true) {
        Run::Suspended
    } else {
        Run::Running
    }
}

/// What has been listed since the process started to lead.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Where the DaemonJobs have.
    pub daemon_jobs: Extent,
    /// Where the Jobs have.
    pub jobs: Extent,
    /// The Nodes have.
    pub nodes: bool,
}

impl Listing {
    /// Proof that all three kinds have been listed as far as they concern a namespace, once they have.
    /// No namespace waits for another: one of those that are watched may be gone, and its rights with it.
    pub fn complete(&self, namespace: &str) -> Option<Listed> {
        let is_complete = self.nodes && self.daemon_jobs.covers(namespace) && self.jobs.covers(namespace);
        is_complete.then_some(Listed(()))
    }
}

/// Proof that the DaemonJobs and Jobs of a namespace, and all Nodes, have been listed.
/// A plan needs it: an empty cache read as an empty cluster would delete everything (cases.md M6).
#[derive(Clone, Copy, Debug)]
pub struct Listed(());

/// Where something is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In all namespaces at once.
    All,
    /// In one.
    Namespace(Arc<str>),
}

impl Scope {
    /// Whether what is in this namespace is watched.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => **name == *namespace,
        }
    }
}

/// Several scopes together.
#[derive(Clone, Debug, Default)]
pub struct Extent {
    is_all: bool,
    namespaces: BTreeSet<Arc<str>>,
}

impl Extent {
    /// Adds a scope.
    pub fn add(&mut self, scope: &Scope) {
        match scope {
            Scope::All => self.is_all = true,
            Scope::Namespace(name) => drop(self.namespaces.insert(Arc::clone(name))),
        }
    }

    /// Whether one of them covers this namespace.
    pub fn covers(&self, namespace: &str) -> bool {
        self.is_all || self.namespaces.contains(namespace)
    }
}

#[cfg(test)]
impl Listed {
    pub(crate) fn for_tests() -> Self {
        Self(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job(value: serde_json::Value) -> JobView {
        serde_json::from_value::<JobLite>(value).unwrap().into()
    }

    fn owned() -> serde_json::Value {
        json!({
            "metadata": {
                "name": "j", "uid": "ju",
                "labels": {names::DAEMONJOB_LABEL: "dj"},
                "annotations": {
                    names::TEMPLATE_HASH: "a".repeat(64), names::NODE_NAME: "n1", names::NODE_UID: "nu",
                },
                "ownerReferences": [
                    {"apiVersion": names::API_VERSION, "kind": names::KIND, "name": "dj", "uid": "u", "controller": true},
                ],
            },
        })
    }

    fn ownership(value: serde_json::Value) -> Ownership {
        job(value).ownership("dj", &Uid::new("u"))
    }

    #[test]
    fn own_needs_reference_label_hash_and_node() {
        assert_eq!(ownership(owned()), Ownership::Own);
        for path in [
            "/metadata/labels/daemon.justk8s.com~1daemonjob",
            "/metadata/annotations/daemon.justk8s.com~1template-hash",
            "/metadata/annotations/daemon.justk8s.com~1node-uid",
            "/metadata/ownerReferences/0/controller",
            "/metadata/ownerReferences/0/kind",
        ] {
            let mut value = owned();
            *value.pointer_mut(path).unwrap() = if path.ends_with("controller") {
                json!(false)
            } else {
                json!("x.y")
            };
            let expected = if path.ends_with("node-uid") {
                Ownership::Own
            } else {
                Ownership::Foreign
            };
            assert_eq!(ownership(value), expected, "{path}");
        }
    }

    #[test]
    fn e08_a_rebooted_node_is_the_same_node() {
        let node = |uid: &str, boot: &str| -> NodeView {
            let node = json!({
                "metadata": {"name": "n1", "uid": uid, "resourceVersion": boot},
                "status": {
                    "nodeInfo": {"bootID": boot},
                    "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "1970-01-01T00:00:10Z"}],
                },
            });
            serde_json::from_value::<NodeLite>(node).unwrap().into()
        };
        assert_eq!(node("u", "1"), node("u", "2"));
        assert_ne!(node("u", "1"), node("v", "1"));
    }

    #[test]
    fn e38_another_uid_of_the_same_name_is_older() {
        assert_eq!(job(owned()).ownership("dj", &Uid::new("new")), Ownership::Older);
        assert_eq!(job(owned()).ownership("other", &Uid::new("u")), Ownership::Foreign);
    }

    #[test]
    fn outcome_comes_from_the_conditions_alone() {
        let with =
            |spec: serde_json::Value, status: serde_json::Value| job(json!({"spec": spec, "status": status})).run;
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(with(json!({}), json!({"active": 1})), Run::Running);
        assert_eq!(with(json!({"suspend": true}), json!({})), Run::Suspended);
        assert_eq!(
            with(
                json!({}),
                json!({"completionTime": at, "conditions": [{"type": "Complete", "status": "True"}]})
            ),
            Run::Succeeded { at: Some(at) }
        );
        assert_eq!(
            with(
                json!({}),
                json!({"conditions": [{"type": "Failed", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": at}]})
            ),
            Run::Failed {
                at: Some(at),
                reason: "R".into(),
                message: "m".into()
            }
        );
    }

    #[test]
    fn e49_a_job_without_a_ready_pod_is_unready_since_it_was_first_seen_so() {
        let seen = |ready: i32, before: Option<&JobView>, now: i64| {
            let job =
                json!({"metadata": {"uid": "u"}, "status": {"ready": ready, "startTime": "1970-01-01T00:00:10Z"}});
            let view = JobView::from(serde_json::from_value::<JobLite>(job).unwrap());
            view.after(before, Timestamp::from_second(now).unwrap())
        };
        let since = |view: &JobView| view.unready_since.map(Timestamp::as_second);
        let first = seen(0, None, 20);
        assert_eq!(since(&first), Some(10), "found unready: since it started");
        let ready = seen(1, Some(&first), 30);
        assert_eq!(since(&ready), None);
        let again = seen(0, Some(&ready), 40);
        assert_eq!(since(&again), Some(40));
        assert_eq!(since(&seen(0, Some(&again), 50)), Some(40));
    }

    #[test]
    fn managed_fields_are_not_kept() {
        let node: NodeLite = serde_json::from_value(json!({
            "metadata": {"name": "n", "managedFields": [{"manager": "kubelet"}]}, "status": {"images": []},
        }))
        .unwrap();
        assert_eq!(node.metadata.managed_fields, None);
    }
}
