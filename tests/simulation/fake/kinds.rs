//! The kinds of objects that are served.

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `daemonjobs`, a custom resource with a status of its own.
    DaemonJob,
    /// `events`, as pods and Jobs have them.
    CoreEvent,
    /// `events` of `events.k8s.io`.
    Event,
    /// `jobs`.
    Job,
    /// `leases`.
    Lease,
    /// `namespaces`.
    Namespace,
    /// `nodes`.
    Node,
    /// `pods`.
    Pod,
}

/// All of them.
const ALL: [Kind; 8] = [
    Kind::DaemonJob,
    Kind::CoreEvent,
    Kind::Event,
    Kind::Job,
    Kind::Lease,
    Kind::Namespace,
    Kind::Node,
    Kind::Pod,
];

impl Kind {
    /// Group, version, plural and kind.
    const fn names(self) -> [&'static str; 4] {
        match self {
            Self::DaemonJob => ["daemon.justk8s.com", "v1alpha1", "daemonjobs", "DaemonJob"],
            Self::CoreEvent => ["", "v1", "events", "Event"],
            Self::Event => ["events.k8s.io", "v1", "events", "Event"],
            Self::Job => ["batch", "v1", "jobs", "Job"],
            Self::Lease => ["coordination.k8s.io", "v1", "leases", "Lease"],
            Self::Namespace => ["", "v1", "namespaces", "Namespace"],
            Self::Node => ["", "v1", "nodes", "Node"],
            Self::Pod => ["", "v1", "pods", "Pod"],
        }
    }

    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        let wanted = [group, version, plural];
        ALL.into_iter().find(|kind| kind.names()[..3] == wanted)
    }

    pub(crate) fn group(self) -> &'static str {
        self.names()[0]
    }

    /// As it stands in a URL.
    pub fn plural(self) -> &'static str {
        self.names()[2]
    }

    /// As it stands in an object.
    pub fn kind(self) -> &'static str {
        self.names()[3]
    }

    pub(crate) fn api_version(self) -> String {
        let [group, version, ..] = self.names();
        if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        }
    }

    /// As messages name it: `jobs.batch`.
    pub(crate) fn resource(self) -> String {
        let [group, _, plural, _] = self.names();
        if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        }
    }

    pub(crate) fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }

    /// Whether its spec is counted in generations.
    pub(crate) fn has_generation(self) -> bool {
        matches!(self, Self::DaemonJob | Self::Job | Self::Pod)
    }

    /// Whether its status is written apart from the rest.
    pub(crate) fn has_status(self) -> bool {
        matches!(self, Self::DaemonJob | Self::Job | Self::Node | Self::Pod)
    }

    /// Whether the items of a list say of what kind they are.
    pub(crate) fn is_custom(self) -> bool {
        self == Self::DaemonJob
    }
}
