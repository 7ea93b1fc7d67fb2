//! One place where a Job may be: a node that is selected, or one that holds a Job of the DaemonJob.

use std::sync::Arc;

use crate::names::JobName;
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
    /// The Job that had the name before: it finished and is gone, and the store may not hold its outcome yet.
    pub ended: Option<Arc<JobView>>,
}

impl Slot {
    /// Whether there is anything to decide here.
    pub fn is_needed(&self) -> bool {
        let of_node = self.node.is_some() && (self.selected || self.ended.is_some());
        of_node || self.job.is_some()
    }
}
