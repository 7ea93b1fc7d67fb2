//! A cluster as a value: what is true, how its API server answers, and what its watches will say.
//!
//! Jobs are told to go in the foreground and stay until their Pods are gone. What a user or the garbage collector
//! deletes in the background takes its Pods along at once: such an overlap is theirs, not ours.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::world::{NAME, World, at};
use super::super::{Answer, Subject};
use super::ledger::Ledger;
use crate::hash::TemplateHash;
use crate::names::{self, JobName, NodeName, NodeUid, Uid, job_name};
use crate::observed::{JobLite, JobView, NodeView};
use crate::types::DaemonJob;

/// So old may a fresh read be when the write that it guards arrives, in milliseconds: served for five seconds,
/// and sent within five more ([`super::steps::Walk::pass`]).
const READ_AND_SENT: i64 = 10_500;

/// What a watch says of one object.
#[derive(Clone, Debug)]
pub(super) enum Event<T> {
    Applied(T),
    Gone(T),
}

/// One version of the DaemonJob.
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) uid: Uid,
    pub(super) generation: i64,
    pub(super) spec: Value,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) status: Value,
    pub(super) deleting: bool,
    read: OnceCell<Arc<Subject>>,
}

impl Version {
    /// The DaemonJob, read once however many readers it has.
    pub(super) fn subject(&self) -> Arc<Subject> {
        let read = || {
            let daemon_job: DaemonJob = serde_json::from_value(json!({
                "metadata": {
                    "name": NAME, "namespace": "ns", "uid": self.uid.as_str(), "generation": self.generation,
                    "resourceVersion": self.number.to_string(), "annotations": self.annotations,
                    "deletionTimestamp": self.deleting.then(|| at(0)),
                },
                "spec": self.spec,
                "status": self.status,
            }))
            .unwrap();
            Arc::new(Subject::new(daemon_job))
        };
        Arc::clone(self.read.get_or_init(read))
    }
}

/// A Job as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) view: Arc<JobView>,
}

impl Job {
    fn at(version: u64, mut view: JobView) -> Self {
        view.resource_version = version.to_string().into();
        Self { view: Arc::new(view) }
    }

    fn is_watched(&self) -> bool {
        self.view.label.as_deref() == Some(NAME)
    }
}

/// How a Job or DaemonJob is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Propagation {
    Background,
    Foreground,
}

pub(super) struct Cluster {
    /// Milliseconds since the run began.
    pub(super) clock: i64,
    count: u64,
    world: World,
    pub(super) daemon_job: Option<Rc<Version>>,
    pub(super) nodes: BTreeMap<NodeName, Arc<NodeView>>,
    pub(super) jobs: BTreeMap<JobName, Job>,
    pub(super) daemon_job_log: Vec<Event<Rc<Version>>>,
    pub(super) job_log: Vec<Event<Job>>,
    pub(super) node_log: Vec<Event<Arc<NodeView>>>,
    /// What is no longer true, and until when it was.
    past_daemon_jobs: Vec<(i64, Rc<Version>)>,
    past_nodes: Vec<(i64, Arc<NodeView>)>,
    /// The Jobs of the namespace are used up.
    pub(super) quota: bool,
    /// So many creates were refused for it.
    pub(super) refused: usize,
    pub(super) ledger: Ledger,
}

impl Cluster {
    /// The cluster of a text world: its nodes and its spec, and nothing done yet.
    pub(super) fn of(world: World) -> Self {
        let mut cluster = Self {
            clock: 0,
            count: 0,
            daemon_job: None,
            nodes: world.nodes.clone(),
            jobs: BTreeMap::new(),
            daemon_job_log: Vec::new(),
            job_log: Vec::new(),
            node_log: world.nodes.values().cloned().map(Event::Applied).collect(),
            past_daemon_jobs: Vec::new(),
            past_nodes: Vec::new(),
            quota: false,
            refused: 0,
            ledger: Ledger::default(),
            world,
        };
        cluster.apply_daemon_job();
        cluster
    }

    pub(super) fn now(&self) -> Timestamp {
        at(0) + jiff::SignedDuration::from_millis(self.clock)
    }

    /// As the API writes times.
    fn second(&self) -> Timestamp {
        at(self.clock.div_euclid(1000))
    }

    /// Every request takes a moment, so that each has a time of its own.
    fn next(&mut self) -> u64 {
        self.clock += 1;
        self.count += 1;
        self.count
    }

    // The DaemonJob and its users.

    /// The user applies the first spec, if there is no DaemonJob.
    pub(super) fn apply_daemon_job(&mut self) {
        if self.daemon_job.is_some() {
            return;
        }
        let number = self.next();
        let spec = self.world.spec();
        let stamp = TemplateHash::of(&spec["jobTemplate"]).unwrap().to_string();
        self.put_daemon_job(Version {
            number,
            uid: Uid::new(format!("dj-{number}")),
            generation: 1,
            spec,
            annotations: BTreeMap::from([(names::TEMPLATE_HASH.to_owned(), stamp)]),
            status: json!({"observedGeneration": -1}),
            deleting: false,
            read: OnceCell::new(),
        });
    }

    fn put_daemon_job(&mut self, version: Version) {
        let version = Rc::new(version);
        if let Some(past) = self.daemon_job.replace(Rc::clone(&version)) {
            self.past_daemon_jobs.push((self.clock, past));
        }
        self.daemon_job_log.push(Event::Applied(version));
    }

    /// Stores a new version, unless nothing is different.
    fn update_daemon_job(&mut self, change: impl FnOnce(&mut Version)) {
        let Some(old) = self.daemon_job.clone() else { return };
        let mut new = Version {
            number: old.number,
            uid: old.uid.clone(),
            generation: old.generation,
            spec: old.spec.clone(),
            annotations: old.annotations.clone(),
            status: old.status.clone(),
            deleting: old.deleting,
            read: OnceCell::new(),
        };
        change(&mut new);
        let same_spec = new.spec == old.spec;
        let same =
            same_spec && new.annotations == old.annotations && new.status == old.status && new.deleting == old.deleting;
        if same {
            return;
        }
        new.generation += i64::from(!same_spec);
        new.number = self.next();
        self.put_daemon_job(new);
    }

    /// A user edits the spec; the webhook stamps it, unless it is bypassed.
    pub(super) fn edit_spec(&mut self, is_stamped: bool, change: impl FnOnce(&mut Value)) {
        self.update_daemon_job(|daemon_job| {
            change(&mut daemon_job.spec);
            if is_stamped {
                let stamp = TemplateHash::of(&daemon_job.spec["jobTemplate"]).unwrap().to_string();
                daemon_job.annotations.insert(names::TEMPLATE_HASH.to_owned(), stamp);
            }
        });
    }

    pub(super) fn edit_template(&mut self, letter: &str, is_stamped: bool) {
        let template = self.world.full_template(letter);
        self.edit_spec(is_stamped, |spec| spec["jobTemplate"] = template);
    }

    /// Somebody writes or removes an annotation.
    pub(super) fn annotate(&mut self, key: &str, value: Option<String>) {
        self.update_daemon_job(|daemon_job| {
            match value {
                Some(value) => daemon_job.annotations.insert(key.to_owned(), value),
                None => daemon_job.annotations.remove(key),
            };
        });
    }

    pub(super) fn delete_daemon_job(&mut self, propagation: Propagation) {
        match propagation {
            Propagation::Background => {
                let Some(gone) = self.daemon_job.take() else { return };
                self.next();
                self.past_daemon_jobs.push((self.clock, Rc::clone(&gone)));
                self.daemon_job_log.push(Event::Gone(gone));
            }
            Propagation::Foreground => self.update_daemon_job(|daemon_job| daemon_job.deleting = true),
        }
    }

    /// The garbage collector ends the Jobs of owners that are gone or going.
    pub(super) fn collect_garbage(&mut self) {
        let live = self.daemon_job.clone();
        let is_left = |job: &Job| {
            let owner = job.view.owner.as_ref();
            owner.is_some_and(|owner| live.as_ref().is_none_or(|live| live.deleting || live.uid != owner.uid))
        };
        let left: Vec<JobName> = self
            .jobs
            .iter()
            .filter(|(_, job)| is_left(job))
            .map(|(name, _)| name.clone())
            .collect();
        left.iter().for_each(|name| self.drop_job(name));
        if live.is_some_and(|live| live.deleting) {
            self.delete_daemon_job(Propagation::Background);
        }
    }

    // What the API server answers to the controller.

    /// A merge patch of the status, as RFC 7396 has it, with a resourceVersion.
    pub(super) fn write_status(&mut self, version: &str, patch: &Value) -> Result<Rc<Version>, Answer> {
        self.examined(version)?;
        self.update_daemon_job(|daemon_job| json_patch::merge(&mut daemon_job.status, patch));
        let stored = self.daemon_job.clone().ok_or_else(not_found)?;
        self.ledger.stored(&stored.subject());
        Ok(stored)
    }

    pub(super) fn restore_hash(&mut self, version: &str, hash: &TemplateHash) -> Result<Rc<Version>, Answer> {
        self.examined(version)?;
        self.annotate(names::TEMPLATE_HASH, Some(hash.to_string()));
        self.daemon_job.clone().ok_or_else(not_found)
    }

    fn examined(&self, version: &str) -> Result<(), Answer> {
        let stored = self.daemon_job.as_ref().ok_or_else(not_found)?;
        if stored.number.to_string() == version {
            Ok(())
        } else {
            Err(answer(409, "Conflict"))
        }
    }

    pub(super) fn create_job(&mut self, job: Value) -> Result<Job, Answer> {
        let name = JobName::new(job["metadata"]["name"].as_str().unwrap());
        if self.jobs.contains_key(&name) {
            return Err(answer(409, "AlreadyExists"));
        }
        if self.quota {
            self.refused += 1;
            return Err(Answer {
                message: "exceeded quota: jobs".into(),
                ..answer(403, "Forbidden")
            });
        }
        let version = self.next();
        let mut lite: JobLite = serde_json::from_value(job.clone()).unwrap();
        lite.metadata.uid = Some(format!("job-{version}"));
        lite.metadata.creation_timestamp = Some(k8s_time(self.second()));
        let stored = Job::at(version, lite.into());
        self.ledger.started(&stored.view, &job);
        self.put_job(stored.clone());
        Ok(stored)
    }

    /// The DaemonJobs and the nodes of this name that a read of this moment or of a little before may have found.
    pub(super) fn recent(&self, node: &NodeName) -> (Vec<Rc<Version>>, Vec<Arc<NodeView>>) {
        let since = self.clock - READ_AND_SENT;
        let daemon_jobs = self.past_daemon_jobs.iter().filter(|(until, _)| *until >= since);
        let nodes = self
            .past_nodes
            .iter()
            .filter(|(until, past)| *until >= since && past.name == *node);
        (
            daemon_jobs
                .map(|(_, past)| past)
                .chain(&self.daemon_job)
                .cloned()
                .collect(),
            nodes
                .map(|(_, past)| past)
                .chain(self.nodes.get(node))
                .cloned()
                .collect(),
        )
    }

    /// Whether this very version of a Job is there.
    pub(super) fn has_job(&self, name: &JobName, uid: &Uid, version: &str) -> bool {
        let is_it = |job: &Job| job.view.uid == *uid && *job.view.resource_version == *version;
        self.jobs.get(name).is_some_and(is_it)
    }

    /// In the foreground, with UID and version as preconditions.
    pub(super) fn delete_job(&mut self, name: &JobName, uid: &Uid, version: &str) -> Result<Job, Answer> {
        if !self.jobs.contains_key(name) {
            return Err(not_found());
        }
        if !self.has_job(name, uid, version) {
            return Err(answer(409, "Conflict"));
        }
        self.tell_to_go(name);
        self.jobs.get(name).cloned().ok_or_else(not_found)
    }

    /// What Events say of Jobs whose Pods are refused.
    pub(super) fn refused_pods(&self) -> BTreeMap<Uid, String> {
        let podless = self.jobs.values().filter(|job| job.view.podless_since.is_some());
        podless
            .map(|job| (job.view.uid.clone(), "exceeded quota: pods".to_owned()))
            .collect()
    }

    // What happens to Jobs.

    pub(super) fn job_of(&self, node: &NodeName) -> Option<&Job> {
        self.jobs.get(&job_name(NAME, node))
    }

    fn put_job(&mut self, job: Job) {
        let name = job.view.name.clone();
        let old = self.jobs.insert(name, job.clone());
        if job.is_watched() {
            self.job_log.push(Event::Applied(job));
        } else if let Some(old) = old.filter(Job::is_watched) {
            // A watch of a label tells of an object that lost the label as of one that is gone.
            let mut old = JobView::clone(&old.view);
            old.resource_version.clone_from(&job.view.resource_version);
            self.job_log.push(Event::Gone(Job { view: Arc::new(old) }));
        }
    }

    pub(super) fn change_job(&mut self, name: &JobName, change: impl FnOnce(&mut JobView)) {
        let Some(old) = self.jobs.get(name) else { return };
        let mut view = JobView::clone(&old.view);
        change(&mut view);
        self.ledger.changed(&view);
        if *old.view == view {
            return;
        }
        let version = self.next();
        self.put_job(Job::at(version, view));
    }

    pub(super) fn tell_to_go(&mut self, name: &JobName) {
        let second = self.second();
        self.change_job(name, |job| job.deleted = job.deleted.or(Some(second)));
    }

    /// The Job is gone, and its Pods with it.
    pub(super) fn drop_job(&mut self, name: &JobName) {
        let Some(gone) = self.jobs.remove(name) else { return };
        let gone = Job::at(self.next(), JobView::clone(&gone.view));
        self.ledger.gone(&gone.view);
        if gone.is_watched() {
            self.job_log.push(Event::Gone(gone));
        }
    }

    /// Somebody else's Job takes the name of ours, with or without our label.
    pub(super) fn put_foreign_job(&mut self, node: &NodeName, is_labelled: bool) {
        let name = job_name(NAME, node);
        if self.jobs.contains_key(&name) {
            return;
        }
        let version = self.next();
        let mut lite = JobLite::default();
        lite.metadata.name = Some(name.to_string());
        lite.metadata.uid = Some(format!("foreign-{version}"));
        lite.metadata.labels =
            is_labelled.then(|| BTreeMap::from([(names::DAEMONJOB_LABEL.to_owned(), NAME.to_owned())]));
        self.put_job(Job::at(version, lite.into()));
    }

    // What happens to nodes.

    /// A node joins under this name, unless one is there.
    pub(super) fn add_node(&mut self, name: &NodeName) {
        if self.nodes.contains_key(name) {
            return;
        }
        let number = self.next();
        let node = NodeView {
            uid: NodeUid::new(format!("{name}-{number}")),
            name: name.clone(),
            created: Some(self.second()),
            labels: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
            spec: crate::observed::NodeLiteSpec::default(),
        };
        self.put_node(node);
    }

    pub(super) fn delete_node(&mut self, name: &NodeName) {
        let Some(gone) = self.nodes.remove(name) else { return };
        self.next();
        self.past_nodes.push((self.clock, Arc::clone(&gone)));
        self.node_log.push(Event::Gone(gone));
    }

    pub(super) fn change_node(&mut self, name: &NodeName, change: impl FnOnce(&mut NodeView)) {
        let Some(mut node) = self.nodes.get(name).map(|node| NodeView::clone(node)) else {
            return;
        };
        change(&mut node);
        self.next();
        self.put_node(node);
    }

    fn put_node(&mut self, node: NodeView) {
        let node = Arc::new(node);
        if let Some(past) = self.nodes.insert(node.name.clone(), Arc::clone(&node)) {
            self.past_nodes.push((self.clock, past));
        }
        self.node_log.push(Event::Applied(node));
    }
}

fn k8s_time(at: Timestamp) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at)
}

fn answer(code: u16, reason: &str) -> Answer {
    Answer {
        code,
        reason: reason.into(),
        ..Answer::default()
    }
}

fn not_found() -> Answer {
    answer(404, "NotFound")
}
