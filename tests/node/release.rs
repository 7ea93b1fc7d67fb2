//! The chart as a release: installed, and taken away without a trace.

use std::path::{Path, PathBuf};
use std::time::Instant;

use daemonjob_cluster::{Cluster, Output};
use serde_json::Value;

use crate::support::manifest::example;
use crate::support::trial::{items, show, text};
use crate::support::world::SYSTEM;

/// The name of the release.
const RELEASE: &str = "daemonjob";
const CRD: &str = "customresourcedefinition.apiextensions.k8s.io/daemonjobs.daemon.justk8s.com";

/// Which Helm, and how it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Helm {
    /// Helm 4, as it does by itself.
    FourServerSide,
    /// Helm 4, as Helm 3 does.
    FourClientSide,
    /// Helm 3.
    Three,
}

/// A release that is installed.
#[derive(Debug)]
pub(crate) struct Release {
    helm: Helm,
}

impl Helm {
    /// Runs it on the release.
    pub(crate) fn run(self, cluster: &Cluster, words: &[&str]) -> Output {
        let (applies, is_three) = match self {
            Self::FourServerSide => (&["--server-side=true"][..], false),
            Self::FourClientSide => (&["--server-side=false"][..], false),
            Self::Three => (&[][..], true),
        };
        // `uninstall` applies nothing.
        let applies = if words[0] == "uninstall" { &[] } else { applies };
        let words = [words, applies, &["--namespace", SYSTEM]].concat();
        let output = if is_three {
            cluster.helm3(words)
        } else {
            cluster.helm(words)
        };
        output.expect("helm runs")
    }

    fn checked(self, cluster: &Cluster, words: &[&str]) {
        self.run(cluster, words).checked().expect("helm succeeds");
    }
}

/// The chart of this repository.
pub(crate) fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/daemonjob")
}

impl Release {
    /// Installs the chart into a new namespace that takes only Pods of the level `restricted`, and sends one
    /// DaemonJob at once, which must be admitted. It tells how long that took.
    pub(crate) fn install(cluster: &Cluster, helm: Helm, chart: &Path) -> Self {
        make_namespace(cluster, SYSTEM);
        let level = "pod-security.kubernetes.io/enforce=restricted";
        cluster
            .run(["label", "namespace", SYSTEM, level])
            .expect("it was just made");
        let words = ["install", RELEASE, chart.to_str().expect("the path is UTF-8")];
        let sets = ["--set", "image.registry=localhost", "--wait", "--timeout=180s"];
        let begin = Instant::now();
        helm.checked(cluster, &[&words[..], &sets].concat());
        // No node matches it, so it leaves nothing behind.
        let first = cluster.apply(&example("03-selector.yaml"));
        let until_admitted = begin.elapsed();
        first.expect("the very next apply is admitted");
        cluster
            .run(["delete", "dj", "daemonjob-selector"])
            .expect("it was just made");
        show(&format!(
            "{helm:?}: first DaemonJob admitted after {until_admitted:.1?}"
        ));
        Self { helm }
    }

    /// Uninstalls it, and removes what an uninstallation leaves on purpose.
    pub(crate) fn remove(self, cluster: &Cluster) {
        self.helm
            .checked(cluster, &["uninstall", RELEASE, "--wait", "--timeout=180s"]);
        remove_the_rest(cluster);
    }
}

/// Makes a namespace in which Pods can start at once: one that comes before its service account is refused.
pub(crate) fn make_namespace(cluster: &Cluster, name: &str) {
    cluster.run(["create", "namespace", name]).expect("it is new");
    let account = ["wait", "--for=create", "serviceaccount/default", "--namespace", name];
    cluster.run(account).expect("the controller manager runs");
}

/// What an uninstallation leaves on purpose: the API with all DaemonJobs, and the namespace.
pub(crate) fn remove_the_rest(cluster: &Cluster) {
    cluster.run(["delete", CRD, "--timeout=180s"]).expect("it is kept");
    cluster
        .run(["delete", "namespace", SYSTEM, "--timeout=180s"])
        .expect("it is not Helm's");
}

/// `kind/name` of all objects of the cluster for which this holds.
pub(crate) fn all_objects(cluster: &Cluster, holds: impl Fn(&Value) -> bool) -> Vec<String> {
    let kinds = cluster.run(["api-resources", "--verbs=list", "--cached=false", "--output=name"]);
    let kinds = kinds.expect("discovery answers");
    // Events tell of the past, and metrics are no objects.
    let is_object = |kind: &&str| !kind.starts_with("events") && *kind != "componentstatuses";
    let kinds: Vec<&str> = kinds.lines().filter(is_object).collect();
    let list = cluster.json(["get", &kinds.join(","), "--all-namespaces"]);
    let list = list.expect("everything can be listed");
    let named = |object: &&Value| holds(object);
    let name = |object: &Value| {
        let kind = text(&object["kind"]).to_lowercase();
        format!("{kind}/{}", text(&object["metadata"]["name"]))
    };
    items(&list).iter().filter(named).map(name).collect()
}
