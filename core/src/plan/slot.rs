//! One place where a Job may be: a node that is selected, or one that holds a Job of the DaemonJob.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Setback, Subject};
use crate::names::{JobName, NodeName, Uid, job_name};
use crate::observed::{JobView, NodeView};

/// A node of a DaemonJob, or the place of a Job whose node is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The name that the Job of this node has, whether it exists or not.
    pub name: JobName,
    /// The node; none if it is gone.
    pub node: Option<Arc<NodeView>>,
    /// Whether the selectors select the node now.
    pub selected: bool,
    /// The Job of that name, whosever it is.
    pub job: Option<Arc<JobView>>,
    /// What the last write for this node met, if it has not been made good.
    pub setback: Option<Setback>,
    /// What the Job's Events say of its Pods, if they were refused.
    pub pods_refused: Option<String>,
}

/// The slots of a DaemonJob, in the order of node names; Jobs whose node is gone come last.
///
/// `jobs` are all Jobs that carry the DaemonJob's label. One whose name is not derived from its own node annotation
/// was not made by us, whatever else it says, and is left out. `pods_refused` goes by the UID of the Job: its successor
/// has the same name and owes nothing to its Events.
pub fn slots(
    subject: &Subject,
    nodes: &BTreeMap<NodeName, Arc<NodeView>>,
    jobs: &BTreeMap<JobName, Arc<JobView>>,
    setbacks: &BTreeMap<JobName, Setback>,
    pods_refused: &BTreeMap<Uid, String>,
) -> Vec<Slot> {
    let selection = subject.reading().runnable().ok().map(|spec| &spec.selection);
    let is_selected = |node: &NodeView| selection.is_some_and(|selection| selection.matches(&node.labels));
    let mut slots: Vec<Slot> = nodes
        .values()
        .filter_map(|node| {
            let name = job_name(subject.name(), &node.name);
            let selected = is_selected(node);
            let job = jobs.get(&name).cloned();
            (selected || job.is_some()).then(|| Slot {
                setback: setbacks.get(&name).cloned(),
                pods_refused: job.as_ref().and_then(|job| pods_refused.get(&job.uid)).cloned(),
                node: Some(Arc::clone(node)),
                selected,
                job,
                name,
            })
        })
        .collect();
    slots.extend(jobs.values().filter_map(|job| stray(subject, nodes, job)));
    slots
}

/// The slot of a Job whose node is gone.
fn stray(subject: &Subject, nodes: &BTreeMap<NodeName, Arc<NodeView>>, job: &Arc<JobView>) -> Option<Slot> {
    let node = job.node.as_ref()?;
    let derived = job_name(subject.name(), node) == job.name;
    (derived && !nodes.contains_key(node)).then(|| Slot {
        name: job.name.clone(),
        node: None,
        selected: false,
        job: Some(Arc::clone(job)),
        setback: None,
        pods_refused: None,
    })
}
