//! Every reason this software gives, once. Conditions, Events, metrics and logs take theirs from here,
//! and the table of them in `ARCHITECTURE.md` is held against this list by `tests/tidy.rs`.

/// What a reason means for the condition `Stalled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stalls {
    /// It passes by itself, or is no trouble at all.
    No,
    /// It needs somebody's hand: `Stalled` is True.
    Yes,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident: $stalls:ident,)+) => {
        /// Why something is as it is. The variant's name is the text that users see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Reason {
            /// All of them, in alphabetical order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The text that users see.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_ascii(),)+
                }
            }

            /// Whether it stalls a DaemonJob when it is the reason of its conditions.
            pub fn stalls(self) -> Stalls {
                match self {
                    $(Self::$name => Stalls::$stalls,)+
                }
            }
        }
    };
}

reasons! {
    /// Every node that is selected is excluded by the template itself.
    AllNodesSkipped: No,
    /// Every desired node succeeded with the current template.
    AllSucceeded: No,
    /// The node is cordoned.
    Cordoned: No,
    /// A Job could not be created for a passing cause; it is tried again.
    CreateFailed: No,
    /// A Job could not be deleted for a passing cause; it is tried again.
    DeleteFailed: No,
    /// The node's disk is under pressure.
    DiskPressure: No,
    /// The node is waiting for its cloud provider, its autoscaler, or an agent.
    Initializing: No,
    /// The controller met a defect of its own, which its log describes; it is tried again ever less often.
    InternalError: No,
    /// The spec breaks a rule that the webhook would have refused.
    InvalidSpec: Yes,
    /// A Job failed.
    JobFailed: No,
    /// The node's memory is under pressure.
    MemoryPressure: No,
    /// A Job that is not ours has the name of ours.
    NameConflict: Yes,
    /// The namespace is being deleted.
    NamespaceTerminating: Yes,
    /// The node's network is not available yet.
    NetworkUnavailable: No,
    /// Required node affinity of the template excludes the node.
    NodeAffinityMismatch: No,
    /// The node's Job was deleted because the node is gone.
    NodeGone: No,
    /// The node's Job was deleted because the node is no longer selected.
    NodeNotSelected: No,
    /// The node was created again under its old name.
    NodeRecreated: No,
    /// The template's `nodeSelector` excludes the node.
    NodeSelectorMismatch: No,
    /// Some nodes failed.
    NodesFailed: Yes,
    /// Only nodes that cannot take work are left.
    NodesUnavailable: No,
    /// No node matches the selector.
    NoNodesSelected: No,
    /// The node's Job has had no ready Pod for five minutes.
    NoReadyPod: No,
    /// The node is not ready.
    NotReady: No,
    /// The template runs on another operating system.
    OsMismatch: No,
    /// All desired nodes finished, some with an older template.
    Outdated: No,
    /// The node's Job belongs to a deleted DaemonJob of the same name.
    OwnerGone: No,
    /// The node has too few process ids.
    PidPressure: No,
    /// The Job's Pods are refused by quota, Pod Security, a webhook, or for want of a service account.
    PodsRefused: Yes,
    /// A resource quota refuses the Job.
    QuotaExceeded: Yes,
    /// The API server refuses the Job.
    Refused: Yes,
    /// The old Job of the node has been going for a minute; it is never forced.
    ReplacePending: No,
    /// The old Job of the node must be gone before the new one starts.
    Replacing: No,
    /// The node's Job was deleted because a retry was asked for.
    Retried: No,
    /// A retry names nodes that are not selected or not there.
    RetryUnknownNodes: No,
    /// Nodes are running.
    Running: No,
    /// `selector` and `ingoreSelector` are both set.
    SelectorsConflict: No,
    /// The node is shut down or out of service.
    Shutdown: No,
    /// The node is about to be started.
    Starting: No,
    /// The Job is suspended.
    Suspended: No,
    /// Another writer keeps changing the hash annotation.
    TemplateHashContested: Yes,
    /// The hash annotation was missing or wrong and has been restored.
    TemplateHashRestored: No,
    /// The Job was deleted because the template changed.
    TemplateReplaced: No,
    /// The Job's `ttlSecondsAfterFinished` is over.
    TtlExpired: No,
    /// The node cannot be reached.
    Unreachable: No,
    /// This version cannot decode the DaemonJob; nothing is started or stopped for it.
    Unreadable: No,
    /// The node has a taint that the template does not tolerate.
    UntoleratedTaint: No,
    /// Nodes cannot take work now.
    Waiting: No,
}

impl Reason {
    /// A node with this reason starts only after somebody's hand, though nothing is wrong with the node.
    pub fn is_blocked(self) -> bool {
        matches!(self, Self::NameConflict | Self::PodsRefused)
    }

    /// What there is to say of it differs from node to node.
    pub fn differs_by_node(self) -> bool {
        matches!(
            self,
            Self::CreateFailed | Self::DeleteFailed | Self::NameConflict | Self::PodsRefused
        )
    }

    /// A node with this reason cannot take work now, and will by itself when that ends.
    pub fn is_unavailable(self) -> bool {
        matches!(
            self,
            Self::Cordoned
                | Self::DiskPressure
                | Self::Initializing
                | Self::MemoryPressure
                | Self::NetworkUnavailable
                | Self::NotReady
                | Self::PidPressure
                | Self::Shutdown
                | Self::Unreachable
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_alphabetical_and_camel_case() {
        let names: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_by_key(|name| name.to_ascii_lowercase());
        sorted.dedup();
        assert_eq!(names, sorted);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('_'))
        );
    }
}
