//! The request monitor (O4): whatever the process writes is one of the writes that it is there for, and says what it
//! must. It reads the audit log of the API server, so it sees what was sent, not what the code means to send.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use daemonjob_cluster::{AuditLog, Cluster};

use super::rules::complaint;

/// Only what the chart's account asks for is written down: its writes with what they say, except for its key.
pub(crate) const AUDIT_POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
# A watch is written down when it starts: it may never end.
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [&process 'system:serviceaccount:daemonjob-system:daemonjob']
  resources: [{resources: [secrets]}]
- level: Request
  users: [*process]
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  users: [*process]
- level: None
";

/// Reads on from where it last looked.
pub(crate) struct Monitor(Mutex<AuditLog>);

impl Monitor {
    /// Of a cluster that was started with [`AUDIT_POLICY`].
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self(Mutex::new(cluster.audit_log()))
    }

    /// The first call since the last look that should not have been sent.
    /// A call is written down a moment after it is answered: the last ones are seen at the next look.
    pub(crate) fn complaint(&self) -> Result<Option<String>> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(log.news()?.iter().find_map(complaint))
    }
}
