//! One DaemonJob with its Jobs and its slots.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::names::{JobName, NodeName, job_name};
use crate::observed::{JobView, NodeView, Ownership};
use crate::plan::{Slot, Subject};

type Nodes = BTreeMap<NodeName, Arc<NodeView>>;

/// A DaemonJob, or Jobs that carry the name of one.
#[derive(Debug, Default)]
pub(super) struct Family {
    subject: Option<Arc<Subject>>,
    /// The version of the subject; 0 where the next list is to be believed whatever it says.
    subject_version: u64,
    jobs: BTreeMap<JobName, HeldJob>,
    /// The versions at which Jobs were removed: an answer that comes late must not bring one back.
    removed: BTreeMap<JobName, u64>,
    /// Jobs that finished and are gone, until the store holds their outcome or another Job has started.
    ended: BTreeMap<JobName, Arc<JobView>>,
    slots: BTreeMap<NodeName, Slot>,
    /// Whether the slots are those of the subject; if not, they are made anew when they are asked for.
    is_current: bool,
}

/// A Job and the version that it was read at: what is seen never goes back to an older one.
#[derive(Debug)]
struct HeldJob {
    version: u64,
    view: Arc<JobView>,
}

impl Family {
    pub(super) fn subject(&self) -> Option<&Arc<Subject>> {
        self.subject.as_ref()
    }

    pub(super) fn job(&self, name: &JobName) -> Option<&Arc<JobView>> {
        self.jobs.get(name).map(|held| &held.view)
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Arc<JobView>> {
        self.jobs.values().map(|held| &held.view)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subject.is_none() && self.jobs.is_empty()
    }

    // The DaemonJob.

    /// Takes in a version of the DaemonJob, unless a newer one is held. A re-created DaemonJob is newer too:
    /// versions are of the whole store.
    pub(super) fn renew_subject(&mut self, subject: Arc<Subject>) -> bool {
        let version = version(subject.resource_version());
        if self.subject.is_some() && self.subject_version >= version {
            return false;
        }
        let is_same = |held: &Arc<Subject>| held.uid() == subject.uid() && held.generation() == subject.generation();
        self.is_current &= self.subject.as_ref().is_some_and(is_same);
        self.subject_version = version;
        self.subject = Some(subject);
        self.drop_recorded();
        true
    }

    pub(super) fn remove_subject(&mut self) -> Option<Arc<Subject>> {
        self.removed.clear();
        self.ended.clear();
        self.slots.clear();
        self.is_current = false;
        self.subject.take()
    }

    pub(super) fn distrust_subject(&mut self) {
        self.subject_version = 0;
    }

    /// What the store holds need not be remembered here.
    fn drop_recorded(&mut self) {
        let Some(subject) = &self.subject else { return };
        let (slots, is_current) = (&mut self.slots, self.is_current);
        self.ended.retain(|_, job| {
            let is_wanted = is_unrecorded(job, subject);
            let slot = job.node.as_ref().and_then(|place| slots.get_mut(place));
            if let Some(slot) = slot.filter(|_| is_current && !is_wanted) {
                slot.ended = None;
            }
            is_wanted
        });
    }

    // Its Jobs.

    pub(super) fn distrust_jobs(&mut self) {
        self.removed.clear();
        self.jobs.values_mut().for_each(|held| held.version = 0);
    }

    /// Exchanges the texts that a Job keeps for those that are held of it.
    pub(super) fn share(&self, job: &mut JobView) {
        if let Some((name, held)) = self.jobs.get_key_value(&job.name) {
            job.name.clone_from(name);
            if held.view.uid == job.uid {
                job.uid.clone_from(&held.view.uid);
            }
        }
    }

    /// Takes in a Job, unless a newer version is held or was removed. Says whether there is something to plan.
    pub(super) fn upsert_job(&mut self, job: JobView, now: Timestamp, nodes: &Nodes) -> bool {
        let version = version(&job.resource_version);
        let held = self.jobs.get(&job.name);
        let removed = self.removed.get(&job.name);
        let is_stale = version != 0
            && (held.is_some_and(|held| held.version > version) || removed.is_some_and(|removed| *removed >= version));
        if is_stale {
            return false;
        }
        let job = job.after(held.map(|held| &*held.view), now);
        let is_news = held.is_none_or(|held| !job.says_the_same_as(&held.view));
        let view = Arc::new(job);
        self.jobs.insert(
            view.name.clone(),
            HeldJob {
                version,
                view: Arc::clone(&view),
            },
        );
        if self.subject.as_ref().is_some_and(|subject| is_own(&view, subject)) {
            // It started after the one that ended, whose outcome counts no longer.
            self.ended.remove(&view.name);
        }
        self.look_at_job(&view, nodes);
        is_news
    }

    pub(super) fn mark_removed(&mut self, job: &JobView) {
        if self.subject.is_some() {
            self.removed.insert(job.name.clone(), version(&job.resource_version));
        }
    }

    /// Forgets a Job, if it is the one that is held, but not its outcome.
    pub(super) fn forget_job(&mut self, job: JobView, nodes: &Nodes) -> bool {
        if self.job(&job.name).is_none_or(|held| held.uid != job.uid) {
            return false;
        }
        self.jobs.remove(&job.name);
        let job = Arc::new(job);
        if self
            .subject
            .as_ref()
            .is_some_and(|subject| is_unrecorded(&job, subject))
        {
            self.ended.insert(job.name.clone(), Arc::clone(&job));
        }
        self.look_at_job(&job, nodes);
        true
    }

    // Its slots.

    #[cfg(test)]
    pub(super) fn make_anew(&mut self) {
        self.is_current = false;
    }

    /// Its slots, made anew if the DaemonJob has changed.
    pub(super) fn slots(&mut self, nodes: &Nodes) -> impl Iterator<Item = &Slot> {
        if !self.is_current && self.subject.is_some() {
            self.slots.clear();
            self.is_current = true;
            let node_of = |job: &JobView| job.node.as_ref().and_then(|place| nodes.get(place));
            self.ended.retain(|_, job| is_of(job, node_of(job)));
            for place in nodes.keys() {
                self.look_at(place, nodes);
            }
            let jobs: Vec<Arc<JobView>> = self.jobs().cloned().collect();
            let strays = jobs.iter().filter_map(|job| self.place_of(job));
            let strays: Vec<NodeName> = strays.filter(|place| !nodes.contains_key(place)).collect();
            for place in &strays {
                self.look_at(place, nodes);
            }
        }
        self.slots.values()
    }

    /// Brings the slot of one node up to date. Says whether there may be something to plan.
    pub(super) fn look_at(&mut self, place: &NodeName, nodes: &Nodes) -> bool {
        let Some(subject) = &self.subject else { return false };
        if !self.is_current {
            return true;
        }
        let name = job_name(subject.name(), place);
        self.look(place, name, nodes)
    }

    /// Makes the slot of one node anew, whose Job has this name. Says whether it differs.
    fn look(&mut self, place: &NodeName, name: JobName, nodes: &Nodes) -> bool {
        let Some(subject) = &self.subject else { return false };
        let node = nodes.get(place).cloned();
        let ended = self.ended.get(&name).filter(|job| is_of(job, node.as_ref())).cloned();
        if ended.is_none() {
            self.ended.remove(&name);
        }
        let job = self.job(&name).cloned();
        let slot = Slot {
            selected: node.as_ref().is_some_and(|node| subject.selects(node)),
            // One copy of it.
            name: job.as_ref().map_or(name, |job| job.name.clone()),
            job,
            node,
            ended,
        };
        if !slot.is_needed() {
            return self.slots.remove(place).is_some();
        }
        let is_news = self.slots.get(place) != Some(&slot);
        self.slots.insert(place.clone(), slot);
        is_news
    }

    /// Brings the slot of a Job up to date. One whose name is not derived from its own annotation was not made by us,
    /// whatever else it says: whether it has the name of some node's Job is found out when the slots are made anew.
    fn look_at_job(&mut self, job: &JobView, nodes: &Nodes) {
        match self.place_of(job) {
            Some(place) if self.is_current => {
                self.look(&place, job.name.clone(), nodes);
            }
            Some(_) => {}
            None => self.is_current = false,
        }
    }

    fn place_of(&self, job: &JobView) -> Option<NodeName> {
        let (subject, place) = (self.subject.as_ref()?, job.node.as_ref()?);
        (job_name(subject.name(), place) == job.name).then(|| place.clone())
    }
}

/// A result of this DaemonJob that its status in the store does not tell yet.
fn is_unrecorded(job: &JobView, subject: &Subject) -> bool {
    is_own(job, subject) && job.is_result() && !subject.has_recorded(job)
}

fn is_own(job: &JobView, subject: &Subject) -> bool {
    job.ownership(subject.name(), subject.uid()) == Ownership::Own
}

/// Whether this node is the one that the Job was made for.
fn is_of(job: &JobView, node: Option<&Arc<NodeView>>) -> bool {
    node.is_some_and(|node| job.node_uid.as_ref() == Some(&node.uid))
}

/// A resourceVersion as the number that it is on every API server since Kubernetes 1.33;
/// 0, older than everything, for one that is not.
fn version(resource_version: &str) -> u64 {
    resource_version.parse().unwrap_or_default()
}
