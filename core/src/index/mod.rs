//! Everything that was seen of the cluster, kept as the planner wants it, one event at a time.
//!
//! Watch events and the answers to our own writes come in here and say what must be planned again. An event touches
//! only what it concerns: a Job's one slot, a Node's one slot in those DaemonJobs whose decisions look at what changed.
//! Nothing here decides anything, and all of it may be stale: the guards of the planner say why that is safe.

mod family;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use self::family::Family;
use self::texts::Texts;
use crate::names::{JobName, NodeName, NodeUid, Uid};
use crate::observed::{JobView, Listed, Listing, NodeView, Scope};
use crate::plan::{Slot, Subject};

/// Namespace and name of a DaemonJob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// Where this DaemonJob stands.
    pub fn of(subject: &Subject) -> Self {
        Self {
            namespace: subject.namespace().to_owned(),
            name: subject.name().to_owned(),
        }
    }
}

/// What a watch tells of one kind.
#[derive(Clone, Debug)]
pub enum Told<T> {
    /// The object is there, new or changed.
    Applied(T),
    /// The object is gone; this is the last of it.
    Gone(T),
    /// A list begins: the truth of its time.
    ListBegins,
    /// The object is on the list.
    Listed(T),
    /// The list ends; what was not on it is gone.
    ListEnds,
}

impl<T> Told<T> {
    /// The same of something made from the object.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Told<U> {
        match self.transpose(|object| Ok::<U, std::convert::Infallible>(make(object))) {
            Ok(told) => told,
            Err(never) => match never {},
        }
    }

    /// The same of something that may not be made from the object.
    ///
    /// # Errors
    /// What `make` says.
    pub fn transpose<U, E>(self, make: impl FnOnce(T) -> Result<U, E>) -> Result<Told<U>, E> {
        Ok(match self {
            Self::Applied(object) => Told::Applied(make(object)?),
            Self::Gone(object) => Told::Gone(make(object)?),
            Self::ListBegins => Told::ListBegins,
            Self::Listed(object) => Told::Listed(make(object)?),
            Self::ListEnds => Told::ListEnds,
        })
    }
}

/// What an event changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// DaemonJobs to plan again.
    pub dirty: BTreeSet<Key>,
    /// DaemonJobs that lost a Job, or that were listed anew: their creates need a fresh read first.
    pub suspect: BTreeSet<Key>,
    /// DaemonJobs that are gone.
    pub gone: BTreeSet<Key>,
}

/// A Job with the namespace that it is in.
pub type PlacedJob = (String, JobView);

/// The controller's view of the cluster.
#[derive(Debug, Default)]
pub struct Index {
    listing: Listing,
    nodes: BTreeMap<NodeName, Arc<NodeView>>,
    families: BTreeMap<Key, Family>,
    /// The DaemonJobs whose decisions look at a label, by its key.
    readers: BTreeMap<String, BTreeSet<Key>>,
    listed_nodes: BTreeSet<NodeName>,
    // Lists of several namespaces may be under way at once.
    listed_jobs: BTreeMap<Scope, BTreeMap<Key, BTreeSet<JobName>>>,
    listed_daemon_jobs: BTreeMap<Scope, BTreeSet<Key>>,
    /// Nodes that the last list lacked, though nobody said that they went.
    missing_nodes: BTreeSet<NodeName>,
    texts: Texts,
}

impl Index {
    /// Proof that all three kinds have been listed as far as they concern a namespace, once they have.
    pub fn listed(&self, namespace: &str) -> Option<Listed> {
        self.listing.complete(namespace)
    }

    /// A DaemonJob, as it was seen last.
    pub fn subject(&self, key: &Key) -> Option<&Arc<Subject>> {
        self.families.get(key)?.subject()
    }

    /// All DaemonJobs.
    pub fn subjects(&self) -> impl Iterator<Item = &Arc<Subject>> {
        self.families.values().filter_map(Family::subject)
    }

    fn keys(&self, scope: &Scope) -> impl Iterator<Item = &Key> {
        let families = self.families.iter().filter(|(key, _)| scope.covers(&key.namespace));
        let held = families.filter(|(_, family)| family.subject().is_some());
        held.map(|(key, _)| key)
    }

    fn families_in(&mut self, scope: &Scope) -> impl Iterator<Item = &mut Family> {
        let families = self.families.iter_mut().filter(|(key, _)| scope.covers(&key.namespace));
        families.map(|(_, family)| family)
    }

    /// All nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeName, Arc<NodeView>> {
        &self.nodes
    }

    /// The slots of a DaemonJob, in the order of their nodes.
    pub fn slots(&mut self, key: &Key) -> Vec<&Slot> {
        let nodes = &self.nodes;
        let family = self.families.get_mut(key);
        family.map(|family| family.slots(nodes).collect()).unwrap_or_default()
    }

    // DaemonJobs.

    /// Takes in what a watch of DaemonJobs tells.
    pub fn take_daemon_job(&mut self, scope: &Scope, told: Told<Arc<Subject>>) -> Changes {
        let mut changes = Changes::default();
        match told {
            Told::Applied(subject) => drop(self.upsert_daemon_job(&subject, &mut changes)),
            Told::Gone(subject) => self.remove_daemon_job(&Key::of(&subject), &mut changes),
            Told::ListBegins => {
                self.listed_daemon_jobs.insert(scope.clone(), BTreeSet::new());
                // Versions go back where a store was restored from a backup.
                self.families_in(scope).for_each(Family::distrust_subject);
            }
            Told::Listed(subject) => {
                let key = self.upsert_daemon_job(&subject, &mut changes);
                changes.suspect.insert(key.clone());
                self.listed_daemon_jobs.entry(scope.clone()).or_default().insert(key);
            }
            Told::ListEnds => {
                let listed = self.listed_daemon_jobs.remove(scope).unwrap_or_default();
                let unlisted = self.keys(scope).filter(|key| !listed.contains(*key));
                let swept: Vec<Key> = unlisted.cloned().collect();
                swept.iter().for_each(|key| self.remove_daemon_job(key, &mut changes));
                self.listing.daemon_jobs.add(scope);
                self.all_dirty(scope, &mut changes);
            }
        }
        changes
    }

    /// Takes in a DaemonJob that cannot be read: nothing is planned for it until it can.
    pub fn take_unreadable(&mut self, key: &Key) -> Changes {
        let mut changes = Changes::default();
        if self.subject(key).is_some() {
            self.remove_daemon_job(key, &mut changes);
        }
        changes
    }

    /// Takes in a fresh read of a DaemonJob, or the answer to a write to it. It may come after the watch said that the
    /// object is gone, so it only ever renews what is held.
    pub fn renew_daemon_job(&mut self, subject: &Arc<Subject>) -> Changes {
        let mut changes = Changes::default();
        let held = self.subject(&Key::of(subject));
        if held.is_some_and(|held| held.uid() == subject.uid()) {
            self.upsert_daemon_job(subject, &mut changes);
        }
        changes
    }

    fn upsert_daemon_job(&mut self, subject: &Arc<Subject>, changes: &mut Changes) -> Key {
        let key = Key::of(subject);
        let family = self.families.entry(key.clone()).or_default();
        let before = family.subject().cloned();
        if !family.renew_subject(Arc::clone(subject)) {
            return key;
        }
        changes.dirty.insert(key.clone());
        let same_spec = before
            .as_ref()
            .is_some_and(|before| before.uid() == subject.uid() && before.generation() == subject.generation());
        if !same_spec {
            self.set_readers(&key, before.as_deref(), Some(subject));
        }
        key
    }

    fn remove_daemon_job(&mut self, key: &Key, changes: &mut Changes) {
        if let Some(family) = self.families.get_mut(key) {
            let gone = family.remove_subject();
            if family.is_empty() {
                self.families.remove(key);
            }
            self.set_readers(key, gone.as_deref(), None);
        }
        changes.gone.insert(key.clone());
    }

    fn set_readers(&mut self, key: &Key, before: Option<&Subject>, now: Option<&Subject>) {
        for label in before.into_iter().flat_map(Subject::label_keys) {
            if let Some(readers) = self.readers.get_mut(label) {
                readers.remove(key);
                if readers.is_empty() {
                    self.readers.remove(label);
                }
            }
        }
        for label in now.into_iter().flat_map(Subject::label_keys) {
            self.readers.entry(label.to_owned()).or_default().insert(key.clone());
        }
    }

    // Jobs.

    /// Takes in what a watch of Jobs tells.
    pub fn take_job(&mut self, scope: &Scope, told: Told<PlacedJob>, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        match told {
            Told::Applied((namespace, job)) => drop(self.upsert_job(&namespace, job, now, &mut changes)),
            Told::Gone((namespace, job)) => self.remove_job(namespace, job, &mut changes),
            Told::ListBegins => {
                self.listed_jobs.insert(scope.clone(), BTreeMap::new());
                self.families_in(scope).for_each(Family::distrust_jobs);
            }
            Told::Listed((namespace, job)) => {
                if let Some((key, name)) = self.upsert_job(&namespace, job, now, &mut changes) {
                    let listed = self.listed_jobs.entry(scope.clone()).or_default();
                    listed.entry(key).or_default().insert(name);
                }
            }
            Told::ListEnds => {
                self.sweep_jobs(scope, &mut changes);
                self.listing.jobs.add(scope);
                self.all_dirty(scope, &mut changes);
            }
        }
        changes
    }

    /// Takes in a fresh read of a Job, or the answer to a write.
    pub fn renew_job(&mut self, job: PlacedJob, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.upsert_job(&job.0, job.1, now, &mut changes);
        changes
    }

    fn upsert_job(
        &mut self,
        namespace: &str,
        mut job: JobView,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Option<(Key, JobName)> {
        let key = Key {
            namespace: namespace.to_owned(),
            name: job.label.as_deref()?.to_owned(),
        };
        job.common_texts().for_each(|text| self.texts.share(text));
        if let Some(owner) = job.owner.as_ref().filter(|owner| *owner.name != *key.name) {
            // Somebody gave it the label of another DaemonJob.
            let left = Key {
                namespace: namespace.to_owned(),
                name: owner.name.to_string(),
            };
            let forgotten = self.forget_job(&left, &job.name, &job.uid);
            changes.dirty.extend(forgotten.dirty);
        }
        let family = self.families.entry(key.clone()).or_default();
        family.share(&mut job);
        let name = job.name.clone();
        if family.upsert_job(job, now, &self.nodes) {
            changes.dirty.insert(key.clone());
        }
        Some((key, name))
    }

    /// A Job is gone. The label names its DaemonJob; one of another UID that took the name meanwhile stays.
    fn remove_job(&mut self, namespace: String, job: JobView, changes: &mut Changes) {
        let Some(name) = &job.label else { return };
        let key = Key {
            namespace,
            name: name.to_string(),
        };
        let Some(family) = self.families.get_mut(&key) else {
            return;
        };
        family.mark_removed(&job);
        self.forget(&key, job, changes);
    }

    /// Forgets a Job that a fresh read did not find, or found to be another.
    pub fn forget_job(&mut self, key: &Key, name: &JobName, uid: &Uid) -> Changes {
        let mut changes = Changes::default();
        let held = self.families.get(key).and_then(|family| family.job(name));
        if let Some(job) = held.filter(|job| job.uid == *uid).map(|job| JobView::clone(job)) {
            self.forget(key, job, &mut changes);
        }
        changes
    }

    fn forget(&mut self, key: &Key, job: JobView, changes: &mut Changes) {
        let Some(family) = self.families.get_mut(key) else {
            return;
        };
        if family.forget_job(job, &self.nodes) {
            changes.dirty.insert(key.clone());
            changes.suspect.insert(key.clone());
        }
        if family.is_empty() {
            self.families.remove(key);
        }
    }

    fn sweep_jobs(&mut self, scope: &Scope, changes: &mut Changes) {
        let listed = self.listed_jobs.remove(scope).unwrap_or_default();
        let held = self
            .families
            .iter()
            .filter(|(key, _)| scope.covers(&key.namespace))
            .flat_map(|(key, family)| family.jobs().map(move |job| (key, job)));
        let unlisted = held.filter(|(key, job)| listed.get(key).is_none_or(|names| !names.contains(&job.name)));
        let swept: Vec<(Key, JobView)> = unlisted.map(|(key, job)| (key.clone(), JobView::clone(job))).collect();
        for (key, job) in swept {
            self.forget(&key, job, changes);
        }
        changes.suspect.extend(self.keys(scope).cloned());
    }

    // Nodes.

    /// Takes in what the watch of Nodes tells.
    pub fn take_node(&mut self, told: Told<NodeView>) -> Changes {
        let mut changes = Changes::default();
        match told {
            Told::Applied(node) => drop(self.upsert_node(node, &mut changes)),
            Told::Gone(node) => {
                if self.nodes.get(&node.name).is_some_and(|held| held.uid == node.uid) {
                    self.remove_node(&node.name, &mut changes);
                }
            }
            Told::ListBegins => self.listed_nodes.clear(),
            Told::Listed(node) => {
                let name = self.upsert_node(node, &mut changes);
                self.listed_nodes.insert(name);
            }
            Told::ListEnds => {
                let listed = std::mem::take(&mut self.listed_nodes);
                let missing = self.nodes.keys().filter(|name| !listed.contains(*name));
                self.missing_nodes = missing.cloned().collect();
                self.listing.nodes = true;
                self.all_dirty(&Scope::All, &mut changes);
            }
        }
        changes
    }

    /// Whether a list lacked nodes that nobody said went. One list may be wrong: they stay until a second one,
    /// made for this question, lacks them too ([`Self::confirm_missing`]).
    pub fn is_missing_nodes(&self) -> bool {
        !self.missing_nodes.is_empty()
    }

    /// Takes in the nodes that there are: the missing ones that are not among them are gone.
    pub fn confirm_missing(&mut self, live: &BTreeSet<NodeUid>) -> Changes {
        let mut changes = Changes::default();
        for name in std::mem::take(&mut self.missing_nodes) {
            if self.nodes.get(&name).is_some_and(|held| !live.contains(&held.uid)) {
                self.remove_node(&name, &mut changes);
            }
        }
        changes
    }

    /// A node's report changes nothing but its heartbeat most of the time: then nothing is planned.
    fn upsert_node(&mut self, mut node: NodeView, changes: &mut Changes) -> NodeName {
        let names = [&mut node.name.0, &mut node.uid.0];
        names.into_iter().for_each(|text| self.texts.share(text));
        let name = node.name.clone();
        self.missing_nodes.remove(&name);
        let before = self.nodes.get(&name).cloned();
        if before.as_deref() != Some(&node) {
            let concerned = self.concerned(before.as_deref(), &node);
            self.nodes.insert(name.clone(), Arc::new(node));
            self.look_again(&name, concerned, changes);
        }
        name
    }

    fn remove_node(&mut self, name: &NodeName, changes: &mut Changes) {
        self.nodes.remove(name);
        self.look_again(name, self.families.keys().cloned().collect(), changes);
    }

    /// The DaemonJobs that a change of a node can concern.
    fn concerned(&self, before: Option<&NodeView>, now: &NodeView) -> BTreeSet<Key> {
        let only_labels =
            |before: &&NodeView| before.uid == now.uid && before.created == now.created && before.spec == now.spec;
        let Some(before) = before.filter(only_labels) else {
            return self.families.keys().cloned().collect();
        };
        let labels: BTreeSet<&String> = before.labels.keys().chain(now.labels.keys()).collect();
        let changed = labels
            .into_iter()
            .filter(|key| before.labels.get(*key) != now.labels.get(*key));
        let readers = changed.filter_map(|key| self.readers.get(key));
        readers.flatten().cloned().collect()
    }

    fn look_again(&mut self, node: &NodeName, concerned: BTreeSet<Key>, changes: &mut Changes) {
        for key in concerned {
            let family = self.families.get_mut(&key);
            if family.is_some_and(|family| family.look_at(node, &self.nodes)) {
                changes.dirty.insert(key);
            }
        }
    }

    fn all_dirty(&self, scope: &Scope, changes: &mut Changes) {
        changes.dirty.extend(self.keys(scope).cloned());
    }
}
