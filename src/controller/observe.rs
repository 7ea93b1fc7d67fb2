//! Everything that the controller knows of the cluster, held as the planner wants it.
//! Watch events and the answers to our own writes come in here, and mark what must be planned again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use daemonjob_core::names::{self, JobName, NodeName};
use daemonjob_core::observed::{JobLite, JobView, Listed, Listing, NodeLite, NodeView};
use daemonjob_core::plan::Subject;
use daemonjob_core::types::DaemonJob;
use jiff::Timestamp;
use kube::runtime::watcher::Event;

use super::api::version;
use super::watch::Seen;

/// Namespace and name of a DaemonJob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A Job and the version that it was read at: what is seen never goes back to an older one of the same UID.
struct HeldJob {
    version: u64,
    view: Arc<JobView>,
}

struct HeldDaemonJob {
    version: u64,
    subject: Arc<Subject>,
}

/// What changed with a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// DaemonJobs to plan again.
    pub(super) dirty: BTreeSet<Key>,
    /// DaemonJobs that lost a Job, or that were listed anew: their creates need a fresh read first.
    pub(super) suspect: BTreeSet<Key>,
    /// DaemonJobs that are gone.
    pub(super) gone: BTreeSet<Key>,
}

/// The controller's view of the cluster.
#[derive(Default)]
pub(super) struct Index {
    listing: Listing,
    nodes: BTreeMap<NodeName, Arc<NodeView>>,
    jobs: BTreeMap<Key, BTreeMap<JobName, HeldJob>>,
    daemon_jobs: BTreeMap<Key, HeldDaemonJob>,
    /// The versions at which Jobs were removed: an answer that comes late must not bring one back.
    removed_jobs: BTreeMap<(Key, JobName), u64>,
    listed_nodes: BTreeSet<NodeName>,
    listed_jobs: BTreeSet<(Key, JobName)>,
    listed_daemon_jobs: BTreeSet<Key>,
}

impl Index {
    /// Proof that all three kinds have been listed, once they have.
    pub(super) fn listed(&self) -> Option<Listed> {
        self.listing.complete()
    }

    pub(super) fn subject(&self, key: &Key) -> Option<&Arc<Subject>> {
        self.daemon_jobs.get(key).map(|held| &held.subject)
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &Arc<Subject>> {
        self.daemon_jobs.values().map(|held| &held.subject)
    }

    pub(super) fn nodes(&self) -> &BTreeMap<NodeName, Arc<NodeView>> {
        &self.nodes
    }

    pub(super) fn jobs(&self, key: &Key) -> BTreeMap<JobName, Arc<JobView>> {
        let jobs = self.jobs.get(key).into_iter().flatten();
        jobs.map(|(name, held)| (name.clone(), Arc::clone(&held.view)))
            .collect()
    }

    /// Takes in one watch event.
    pub(super) fn take(&mut self, seen: Seen, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        match seen {
            Seen::DaemonJob(event) => self.take_daemon_job(*event, &mut changes),
            Seen::Job(event) => self.take_job(*event, now, &mut changes),
            Seen::Node(event) => self.take_node(*event, &mut changes),
        }
        changes
    }

    fn take_daemon_job(&mut self, event: Event<DaemonJob>, changes: &mut Changes) {
        match event {
            Event::Apply(daemon_job) => {
                self.upsert_daemon_job(Arc::new(Subject::new(daemon_job)), changes);
            }
            Event::Delete(daemon_job) => self.remove_daemon_job(&key_of(&daemon_job), changes),
            Event::Init => {
                self.listed_daemon_jobs.clear();
                // A list is the truth of its time. Versions go back where a store was restored from a backup.
                self.daemon_jobs.values_mut().for_each(|held| held.version = 0);
            }
            Event::InitApply(daemon_job) => {
                let key = self.upsert_daemon_job(Arc::new(Subject::new(daemon_job)), changes);
                changes.suspect.insert(key.clone());
                self.listed_daemon_jobs.insert(key);
            }
            Event::InitDone => {
                let unlisted = |key: &&Key| !self.listed_daemon_jobs.contains(*key);
                let swept: Vec<Key> = self.daemon_jobs.keys().filter(unlisted).cloned().collect();
                for key in swept {
                    self.remove_daemon_job(&key, changes);
                }
                self.listing.daemon_jobs = true;
                self.all_dirty(changes);
            }
        }
    }

    fn remove_daemon_job(&mut self, key: &Key, changes: &mut Changes) {
        self.daemon_jobs.remove(key);
        self.removed_jobs.retain(|(of, _), _| of != key);
        changes.gone.insert(key.clone());
    }

    /// Takes in a fresh read of a DaemonJob, or the answer to a write to it. It may come after the watch said that the
    /// object is gone, so it only ever renews what is held.
    pub(super) fn renew_daemon_job(&mut self, subject: Arc<Subject>, changes: &mut Changes) {
        if self.subjects().any(|held| held.uid() == subject.uid()) {
            self.upsert_daemon_job(subject, changes);
        }
    }

    fn upsert_daemon_job(&mut self, subject: Arc<Subject>, changes: &mut Changes) -> Key {
        let key = Key {
            namespace: subject.namespace().to_owned(),
            name: subject.name().to_owned(),
        };
        let version = version(Some(subject.resource_version()));
        let held = self.daemon_jobs.get(&key);
        // A re-created DaemonJob is newer too: versions are of the whole store.
        if held.is_none_or(|held| held.version < version) {
            self.daemon_jobs.insert(key.clone(), HeldDaemonJob { version, subject });
            changes.dirty.insert(key.clone());
        }
        key
    }

    fn take_job(&mut self, event: Event<JobLite>, now: Timestamp, changes: &mut Changes) {
        match event {
            Event::Apply(job) => {
                self.upsert_job(job, now, changes);
            }
            Event::Delete(job) => {
                let namespace = job.metadata.namespace.clone().unwrap_or_default();
                let version = version(job.metadata.resource_version.as_deref());
                self.remove_job(&namespace, &JobView::from(job), version, changes);
            }
            Event::Init => {
                self.listed_jobs.clear();
                self.removed_jobs.clear();
                self.jobs
                    .values_mut()
                    .flat_map(BTreeMap::values_mut)
                    .for_each(|held| held.version = 0);
            }
            Event::InitApply(job) => {
                if let Some(listed) = self.upsert_job(job, now, changes) {
                    self.listed_jobs.insert(listed);
                }
            }
            Event::InitDone => {
                self.sweep_jobs(changes);
                self.listing.jobs = true;
                self.all_dirty(changes);
            }
        }
    }

    /// Takes in a Job from a watch, a fresh read, or the answer to a write.
    pub(super) fn upsert_job(&mut self, job: JobLite, now: Timestamp, changes: &mut Changes) -> Option<(Key, JobName)> {
        let metadata = &job.metadata;
        let label = metadata.labels.as_ref()?.get(names::DAEMONJOB_LABEL)?.clone();
        let key = Key {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: label,
        };
        let name = JobName::new(metadata.name.clone().unwrap_or_default());
        let version = version(metadata.resource_version.as_deref());
        let jobs = self.jobs.entry(key.clone()).or_default();
        let held = jobs.get(&name);
        let view = JobView::after(job, held.map(|held| &*held.view), now);
        // Versions are of the whole store: whatever is older than what is held, or than its removal, is over.
        let removed = self.removed_jobs.get(&(key.clone(), name.clone()));
        let is_stale = version != 0
            && (held.is_some_and(|held| held.version > version) || removed.is_some_and(|removed| *removed >= version));
        if !is_stale {
            if held.is_none_or(|held| *held.view != view) {
                changes.dirty.insert(key.clone());
            }
            jobs.insert(
                name.clone(),
                HeldJob {
                    version,
                    view: Arc::new(view),
                },
            );
        }
        Some((key, name))
    }

    /// A Job is gone. The label names its DaemonJob; one of another UID that took the name meanwhile stays.
    fn remove_job(&mut self, namespace: &str, view: &JobView, version: u64, changes: &mut Changes) {
        let Some(label) = &view.label else { return };
        let key = Key {
            namespace: namespace.to_owned(),
            name: label.clone(),
        };
        if self.daemon_jobs.contains_key(&key) {
            self.removed_jobs.insert((key.clone(), view.name.clone()), version);
        }
        self.forget_job(&key, &view.name, |held| held.uid == view.uid, changes);
    }

    /// Forgets a Job that a fresh read did not find, or that was found to be somebody else's.
    pub(super) fn forget_job(
        &mut self,
        key: &Key,
        name: &JobName,
        is_it: impl Fn(&JobView) -> bool,
        changes: &mut Changes,
    ) {
        let Some(jobs) = self.jobs.get_mut(key) else { return };
        if !jobs.get(name).is_some_and(|held| is_it(&held.view)) {
            return;
        }
        jobs.remove(name);
        if jobs.is_empty() {
            self.jobs.remove(key);
        }
        changes.dirty.insert(key.clone());
        changes.suspect.insert(key.clone());
    }

    fn sweep_jobs(&mut self, changes: &mut Changes) {
        let held = self
            .jobs
            .iter()
            .flat_map(|(key, jobs)| jobs.keys().map(move |name| (key.clone(), name.clone())));
        let swept: Vec<(Key, JobName)> = held.filter(|job| !self.listed_jobs.contains(job)).collect();
        for (key, name) in swept {
            self.forget_job(&key, &name, |_| true, changes);
        }
        changes.suspect.extend(self.daemon_jobs.keys().cloned());
    }

    fn take_node(&mut self, event: Event<NodeLite>, changes: &mut Changes) {
        match event {
            Event::Apply(node) => {
                self.upsert_node(node.into(), changes);
            }
            Event::Delete(node) => {
                let view = NodeView::from(node);
                if self.nodes.get(&view.name).is_some_and(|held| held.uid == view.uid) {
                    self.nodes.remove(&view.name);
                    self.all_dirty(changes);
                }
            }
            Event::Init => self.listed_nodes.clear(),
            Event::InitApply(node) => {
                let name = self.upsert_node(node.into(), changes);
                self.listed_nodes.insert(name);
            }
            Event::InitDone => {
                let listed = &self.listed_nodes;
                self.nodes.retain(|name, _| listed.contains(name));
                self.listing.nodes = true;
                self.all_dirty(changes);
            }
        }
    }

    /// A node's report changes nothing but its heartbeat most of the time: then nothing is planned.
    fn upsert_node(&mut self, view: NodeView, changes: &mut Changes) -> NodeName {
        let name = view.name.clone();
        if self.nodes.get(&name).is_none_or(|held| **held != view) {
            self.nodes.insert(name.clone(), Arc::new(view));
            self.all_dirty(changes);
        }
        name
    }

    fn all_dirty(&self, changes: &mut Changes) {
        changes.dirty.extend(self.daemon_jobs.keys().cloned());
    }
}

fn key_of(daemon_job: &DaemonJob) -> Key {
    let metadata = &daemon_job.metadata;
    Key {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn daemon_job(version: u64) -> DaemonJob {
        serde_json::from_value(json!({
            "metadata": {"name": "dj", "namespace": "ns", "uid": "u", "resourceVersion": version.to_string()},
        }))
        .unwrap()
    }

    fn job(uid: &str, version: u64, status: &Value) -> JobLite {
        serde_json::from_value(json!({
            "metadata": {
                "name": "j", "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
                "labels": {names::DAEMONJOB_LABEL: "dj"},
            },
            "status": status,
        }))
        .unwrap()
    }

    fn node(labels: &Value) -> NodeLite {
        serde_json::from_value(json!({"metadata": {"name": "n", "uid": "nu", "labels": labels}})).unwrap()
    }

    fn key() -> Key {
        Key {
            namespace: "ns".into(),
            name: "dj".into(),
        }
    }

    fn take_job(index: &mut Index, event: Event<JobLite>) -> Changes {
        index.take(Seen::Job(Box::new(event)), Timestamp::UNIX_EPOCH)
    }

    fn with_daemon_job() -> Index {
        let mut index = Index::default();
        index.take(
            Seen::DaemonJob(Box::new(Event::Apply(daemon_job(5)))),
            Timestamp::UNIX_EPOCH,
        );
        index
    }

    #[test]
    fn f08_nothing_is_planned_before_all_three_kinds_have_been_listed() {
        let mut index = Index::default();
        index.take(Seen::DaemonJob(Box::new(Event::InitDone)), Timestamp::UNIX_EPOCH);
        index.take(Seen::Job(Box::new(Event::InitDone)), Timestamp::UNIX_EPOCH);
        assert!(index.listed().is_none());
        index.take(Seen::Node(Box::new(Event::InitDone)), Timestamp::UNIX_EPOCH);
        assert!(index.listed().is_some());
    }

    #[test]
    fn e24_an_older_version_of_the_same_job_is_not_taken() {
        let mut index = with_daemon_job();
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        take_job(&mut index, Event::Apply(job("a", 9, &done)));
        assert_eq!(
            take_job(&mut index, Event::Apply(job("a", 8, &json!({})))),
            Changes::default()
        );
        assert!(
            take_job(&mut index, Event::Apply(job("b", 30, &json!({}))))
                .dirty
                .contains(&key())
        );
    }

    #[test]
    fn f07_a_repeated_event_plans_nothing() {
        let mut index = with_daemon_job();
        take_job(&mut index, Event::Apply(job("a", 9, &json!({}))));
        assert_eq!(
            take_job(&mut index, Event::Apply(job("a", 9, &json!({})))),
            Changes::default()
        );
        assert_eq!(
            index.take(
                Seen::DaemonJob(Box::new(Event::Apply(daemon_job(5)))),
                Timestamp::UNIX_EPOCH
            ),
            Changes::default()
        );
    }

    #[test]
    fn a_heartbeat_plans_nothing_and_a_label_does() {
        let mut index = with_daemon_job();
        index.take(
            Seen::Node(Box::new(Event::Apply(node(&json!({}))))),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(
            index.take(
                Seen::Node(Box::new(Event::Apply(node(&json!({}))))),
                Timestamp::UNIX_EPOCH
            ),
            Changes::default()
        );
        assert!(
            index
                .take(
                    Seen::Node(Box::new(Event::Apply(node(&json!({"a": "b"}))))),
                    Timestamp::UNIX_EPOCH
                )
                .dirty
                .contains(&key())
        );
    }

    #[test]
    fn a_job_that_a_new_list_lacks_is_forgotten_and_its_daemonjob_suspect() {
        let mut index = with_daemon_job();
        take_job(&mut index, Event::Apply(job("a", 9, &json!({}))));
        take_job(&mut index, Event::Init);
        let changes = take_job(&mut index, Event::InitDone);
        assert!(index.jobs(&key()).is_empty() && changes.suspect.contains(&key()));
    }

    #[test]
    fn a_new_list_is_taken_though_its_versions_went_back() {
        let mut index = with_daemon_job();
        take_job(&mut index, Event::Apply(job("a", 9, &json!({}))));
        take_job(&mut index, Event::Init);
        let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        assert!(
            take_job(&mut index, Event::InitApply(job("a", 2, &done)))
                .dirty
                .contains(&key())
        );
        index.take(Seen::DaemonJob(Box::new(Event::Init)), Timestamp::UNIX_EPOCH);
        index.take(
            Seen::DaemonJob(Box::new(Event::InitApply(daemon_job(1)))),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(index.subject(&key()).unwrap().resource_version(), "1");
    }

    #[test]
    fn e19_an_answer_that_comes_after_the_removal_does_not_bring_the_job_back() {
        let mut index = with_daemon_job();
        take_job(&mut index, Event::Apply(job("a", 9, &json!({}))));
        take_job(&mut index, Event::Delete(job("a", 12, &json!({}))));
        let mut changes = Changes::default();
        index.upsert_job(job("a", 11, &json!({})), Timestamp::UNIX_EPOCH, &mut changes);
        assert!(index.jobs(&key()).is_empty() && changes == Changes::default());
        take_job(&mut index, Event::Apply(job("b", 13, &json!({}))));
        assert_eq!(index.jobs(&key()).len(), 1);
        take_job(&mut index, Event::Apply(job("a", 10, &json!({}))));
        assert_eq!(index.jobs(&key()).values().next().unwrap().uid.as_str(), "b");
    }

    #[test]
    fn an_answer_that_comes_after_the_removal_does_not_bring_the_daemonjob_back() {
        let mut index = with_daemon_job();
        index.take(
            Seen::DaemonJob(Box::new(Event::Delete(daemon_job(6)))),
            Timestamp::UNIX_EPOCH,
        );
        index.renew_daemon_job(Arc::new(Subject::new(daemon_job(5))), &mut Changes::default());
        assert!(index.subject(&key()).is_none());
    }

    #[test]
    fn the_deletion_of_an_older_job_does_not_take_its_successor_away() {
        let mut index = with_daemon_job();
        take_job(&mut index, Event::Apply(job("b", 9, &json!({}))));
        take_job(&mut index, Event::Delete(job("a", 10, &json!({}))));
        assert_eq!(index.jobs(&key()).len(), 1);
    }
}
