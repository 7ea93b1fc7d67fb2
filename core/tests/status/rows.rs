//! A world for each row of the design's table of situations, and for the ways into a row that look different.

use serde_json::json;

use crate::cluster::{Cluster, End, template};

/// A row of the table: which conditions are there, and how a tool reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Situation {
    /// No plan has been made.
    NotObserved,
    /// Running, replacing, waiting, or everything skipped.
    Underway,
    /// All desired nodes succeeded, or there are none.
    Complete,
    /// Only nodes that cannot take work are left.
    Ready,
    /// All finished and some failed.
    Failed,
    /// Refused, invalid or blocked: somebody's hand is needed.
    Stalled,
}

impl Situation {
    /// The conditions with their statuses, by type.
    pub(crate) fn conditions(self) -> Vec<(&'static str, &'static str)> {
        let (abnormal, is_true): (Option<&str>, &[&str]) = match self {
            Self::NotObserved => return Vec::new(),
            Self::Underway => (Some("Reconciling"), &[]),
            Self::Complete => (None, &["Ready", "Complete", "Finished"]),
            Self::Ready => (None, &["Ready"]),
            Self::Failed => (Some("Stalled"), &["Failed", "Finished"]),
            Self::Stalled => (Some("Stalled"), &[]),
        };
        let always = ["Ready", "Complete", "Failed", "Finished"].map(|type_| {
            let status = if is_true.contains(&type_) { "True" } else { "False" };
            (type_, status)
        });
        abnormal
            .map(|type_| (type_, "True"))
            .into_iter()
            .chain(always)
            .collect()
    }

    pub(crate) fn argo(self) -> &'static str {
        match self {
            Self::NotObserved | Self::Underway => "Progressing",
            Self::Complete | Self::Ready => "Healthy",
            Self::Failed | Self::Stalled => "Degraded",
        }
    }

    pub(crate) fn kstatus(self) -> &'static str {
        match self {
            Self::NotObserved | Self::Underway => "InProgress",
            Self::Complete | Self::Ready => "Current",
            Self::Failed | Self::Stalled => "Failed",
        }
    }
}

/// A row with its world.
pub(crate) struct Row {
    /// Also the name of its golden file.
    pub(crate) name: &'static str,
    pub(crate) situation: Situation,
    /// The reason that all its conditions give; before the first plan there are none.
    pub(crate) reason: &'static str,
    pub(crate) world: fn() -> Cluster,
}

const fn row(name: &'static str, situation: Situation, reason: &'static str, world: fn() -> Cluster) -> Row {
    Row {
        name,
        situation,
        reason,
        world,
    }
}

use Situation::{Complete, Failed, NotObserved, Ready, Stalled, Underway};

pub(crate) const ROWS: [Row; 26] = [
    row("just-created", NotObserved, "", just_created),
    row("starting", Underway, "Running", starting),
    row("running", Underway, "Running", running),
    row("running-stuck", Underway, "Running", running_stuck),
    row("replacing", Underway, "Running", replacing),
    row("retrying", Underway, "Running", retrying),
    row("waiting", Underway, "Waiting", waiting),
    row("all-nodes-skipped", Underway, "AllNodesSkipped", all_nodes_skipped),
    row("all-succeeded", Complete, "AllSucceeded", all_succeeded),
    row("all-succeeded-both-selectors", Complete, "AllSucceeded", both_selectors),
    row("all-succeeded-jobs-expired", Complete, "AllSucceeded", jobs_expired),
    row("all-succeeded-after-retry", Complete, "AllSucceeded", retried),
    row("late-node-running", Complete, "AllSucceeded", late_node_running),
    row("outdated", Complete, "Outdated", outdated),
    row("no-nodes-selected", Complete, "NoNodesSelected", no_nodes_selected),
    row("nodes-unavailable", Ready, "NodesUnavailable", nodes_unavailable),
    row("nodes-failed", Failed, "NodesFailed", nodes_failed),
    row("late-node-failed", Failed, "NodesFailed", late_node_failed),
    row("quota-exceeded", Stalled, "QuotaExceeded", quota_exceeded),
    row("refused", Stalled, "Refused", refused),
    row("invalid-spec", Stalled, "InvalidSpec", invalid_spec),
    row("invalid-spec-after-a-run", Stalled, "InvalidSpec", invalid_after_a_run),
    row("name-conflict", Stalled, "NameConflict", name_conflict),
    row("pods-refused", Stalled, "PodsRefused", pods_refused),
    row(
        "pods-refused-others-running",
        Underway,
        "Running",
        pods_refused_others_running,
    ),
    row("template-hash-contested", Stalled, "TemplateHashContested", contested),
];

fn just_created() -> Cluster {
    Cluster::of(&["n1", "n2"])
}

fn starting() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.round();
    cluster
}

fn running() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"]);
    cluster.start();
    cluster.end("n1", End::Complete);
    cluster.end("n2", End::Failed);
    cluster.round();
    cluster
}

fn running_stuck() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.start();
    cluster.end("n1", End::Complete);
    cluster.unready("n2");
    cluster.pass(300);
    cluster.round();
    cluster
}

fn replacing() -> Cluster {
    let mut cluster = all_succeeded();
    cluster.edit("replace", true.into());
    cluster.edit_template(template("2"));
    cluster.round();
    cluster
}

fn retrying() -> Cluster {
    let mut cluster = nodes_failed();
    cluster.annotate("daemon.justk8s.com/retry", "again");
    cluster.round();
    cluster.round();
    cluster
}

fn waiting() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.cordon("n2");
    cluster.start();
    cluster.end("n1", End::Complete);
    cluster.round();
    cluster
}

fn all_nodes_skipped() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2", "n3"]);
    cluster.taint("n1", "nvidia.com/gpu");
    cluster.taint("n2", "nvidia.com/gpu");
    cluster.taint("n3", "node-role.kubernetes.io/control-plane");
    cluster.round();
    cluster
}

fn all_succeeded() -> Cluster {
    Cluster::after_a_run(&[("n1", End::Complete), ("n2", End::Complete)])
}

fn both_selectors() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.label("n1", "os", "linux");
    cluster.edit("selector", json!({"os": "linux"}));
    cluster.edit("ingoreSelector", json!({"os": "linux"}));
    cluster.start();
    cluster.end("n1", End::Complete);
    cluster.round();
    cluster
}

fn jobs_expired() -> Cluster {
    let mut template = template("1");
    template["spec"]["ttlSecondsAfterFinished"] = 60.into();
    let mut cluster = Cluster::of(&["n1"]);
    cluster.edit_template(template);
    cluster.start();
    cluster.end("n1", End::Complete);
    cluster.round();
    cluster.pass(60);
    cluster.round();
    cluster.jobs_go_on();
    cluster.round();
    assert_eq!(cluster.jobs(), 0);
    cluster
}

fn retried() -> Cluster {
    let mut cluster = retrying();
    cluster.jobs_go_on();
    cluster.start();
    cluster.end("n2", End::Complete);
    cluster.round();
    cluster
}

fn late_node_running() -> Cluster {
    let mut cluster = all_succeeded();
    cluster.pass(60);
    cluster.join("n3");
    cluster.start();
    cluster
}

fn outdated() -> Cluster {
    let mut cluster = all_succeeded();
    cluster.edit_template(template("2"));
    cluster.round();
    cluster
}

fn no_nodes_selected() -> Cluster {
    let mut cluster = Cluster::of(&["n1"]);
    cluster.edit("selector", json!({"os": "windows"}));
    cluster.round();
    cluster
}

fn nodes_unavailable() -> Cluster {
    let mut cluster = waiting();
    cluster.pass(600);
    cluster.round();
    cluster
}

fn nodes_failed() -> Cluster {
    Cluster::after_a_run(&[("n1", End::Complete), ("n2", End::Failed)])
}

fn late_node_failed() -> Cluster {
    let mut cluster = late_node_running();
    cluster.end("n3", End::Failed);
    cluster.round();
    cluster
}

fn quota_exceeded() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.refuse_jobs(
        403,
        "jobs.batch \"backup-n1\" is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1, \
         used: count/jobs.batch=10, limited: count/jobs.batch=10",
    );
    cluster.round();
    cluster.round();
    cluster
}

fn refused() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.refuse_jobs(
        422,
        "Job.batch \"backup-n1\" is invalid: spec.completionMode: Unsupported value",
    );
    cluster.round();
    cluster.round();
    cluster
}

fn invalid_spec() -> Cluster {
    let mut cluster = Cluster::of(&["n1"]);
    let mut template = template("1");
    template["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    template["spec"]["template"]["spec"]["nodeName"] = "n1".into();
    cluster.edit_template(template);
    cluster.round();
    cluster
}

fn invalid_after_a_run() -> Cluster {
    let mut cluster = nodes_failed();
    cluster.edit("selector", json!({"tier": 1}));
    cluster.round();
    cluster
}

fn name_conflict() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.take_name("n2");
    cluster.start();
    cluster.end("n1", End::Complete);
    // One round hears once more that the name is taken, the next one knows it.
    cluster.round();
    cluster.round();
    cluster
}

fn pods_refused() -> Cluster {
    let mut cluster = pods_refused_others_running();
    cluster.end("n1", End::Complete);
    cluster.round();
    cluster
}

fn pods_refused_others_running() -> Cluster {
    let mut cluster = Cluster::of(&["n1", "n2"]);
    cluster.start();
    cluster.refuse_pods(
        "n2",
        "Error creating: pods \"backup-n2-x\" is forbidden: violates PodSecurity \"restricted:latest\"",
    );
    cluster.round();
    cluster
}

fn contested() -> Cluster {
    let mut cluster = all_succeeded();
    for _ in 0..6 {
        cluster.pass(60);
        cluster.overwrite_hash("argocd-controller");
        cluster.round();
    }
    cluster
}
