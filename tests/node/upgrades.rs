//! The life of a release, with each Helm: the first apply after it is admitted, it is changed and taken back, and
//! nothing of it stays but the API.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemonjob_cluster::is_soak;
use serde_json::Value;
use tempfile::TempDir;

use crate::release::{Helm, Release, all_objects, chart, remove_the_rest};
use crate::stage::{Act, cluster, tools};
use crate::support::manifest::{example, example_path};
use crate::support::trial::text;
use crate::support::world::SYSTEM;

/// What an upgrade changes: Pods, their number and the webhooks.
const CHANGED: [&str; 3] = ["logLevel=debug", "replicaCount=1", "webhook.timeoutSeconds=7"];

const CHART: &str = "charts/daemonjob";
/// Writes the oldest chart into a folder; the history may be cut off, and then it is not the oldest.
const UNPACK: &str = r#"
set -o pipefail
[ "$(git rev-parse --is-shallow-repository)" = false ] || exit 1
commit=$(git log --diff-filter=A --format=%H -- charts/daemonjob/Chart.yaml | tail -n 1)
git archive "$commit" charts/daemonjob | tar -x -C "$1"
"#;

#[test]
fn helm_4_installs_upgrades_rolls_back_and_uninstalls() {
    let Some(act) = Act::bare() else { return };
    live(&act, Helm::FourServerSide, &chart(), Webhook::Alive);
}

#[test]
fn helm_4_client_side_upgrades_from_the_oldest_chart_rolls_back_to_it_and_uninstalls_a_dead_webhook() {
    let Some(act) = Act::bare() else { return };
    let oldest = Oldest::chart();
    live(&act, Helm::FourClientSide, &oldest.path(), Webhook::Dead);
}

#[test]
fn with_every_helm_the_oldest_chart_is_upgraded_and_rolled_back() {
    if !is_soak() {
        return;
    }
    let Some(act) = Act::bare() else { return };
    let oldest = Oldest::chart();
    for helm in [Helm::FourServerSide, Helm::Three] {
        live(&act, helm, &oldest.path(), Webhook::Alive);
    }
}

#[test]
fn twenty_fresh_clusters_admit_the_first_apply_after_the_installation() {
    if !is_soak() {
        return;
    }
    let Some(tools) = tools() else { return };
    for helm in [Helm::FourServerSide, Helm::Three].into_iter().cycle().take(20) {
        let cluster = cluster(tools);
        Release::install(&cluster, helm, &chart());
    }
}

/// The first chart that this repository had; where its history is not there, the one of today, said aloud.
struct Oldest(Option<TempDir>);

impl Oldest {
    fn chart() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for such files");
        let status = Command::new("/bin/bash")
            .args(["-c", UNPACK, "bash"])
            .arg(folder.path())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        if status.is_ok_and(|status| status.success()) {
            return Self(Some(folder));
        }
        let reason = "SKIPPED: the oldest chart is in the history of this repository, which is not here";
        // The test runner shows this; nobody is left to tell when standard error is closed.
        drop(writeln!(std::io::stderr(), "{reason}"));
        Self(None)
    }

    fn path(&self) -> PathBuf {
        self.0.as_ref().map_or_else(chart, |folder| folder.path().join(CHART))
    }
}

/// How the webhook is when the release is uninstalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Webhook {
    Alive,
    Dead,
}

/// The first revision is of another chart, maybe.
fn live(act: &Act, helm: Helm, first: &Path, at_the_end: Webhook) {
    Release::install(&act.cluster, helm, first);
    act.apply(&example("01-sample.yaml"));
    act.wait_for("daemonjob-sample", "Complete");
    let before = work(act);
    let bundles = bundles(act);

    upgrade(act, helm, &chart(), &CHANGED);
    assert_eq!(timeouts(act), [7, 7]);
    assert_eq!(self::bundles(act), bundles);
    assert_admits(act);

    rollback(act, helm);
    assert_eq!(timeouts(act), [5, 5]);
    assert_eq!(self::bundles(act), bundles);
    assert_admits(act);

    if at_the_end == Webhook::Dead {
        let scale = [
            "scale",
            "deployment",
            "daemonjob",
            "--namespace",
            SYSTEM,
            "--replicas=0",
        ];
        act.cluster.run(scale).expect("the chart made it");
        act.eventually("the replicas to be gone", || {
            let pods = act.cluster.run(["get", "pods", "-n", SYSTEM, "-o", "name"])?;
            Ok(pods.is_empty().then_some(()))
        });
    }
    uninstall(act, helm);
    assert_eq!(work(act), before, "work was lost or done again");
    // Nobody is asked any more.
    act.run("annotate dj daemonjob-sample note=ours");
    act.apply(&example("02a-changed.yaml"));
    remove_the_rest(&act.cluster);
}

fn helm(act: &Act, helm: Helm, words: &[&str]) -> String {
    let words = [words, &["--wait", "--timeout=180s"]].concat();
    helm.run(&act.cluster, &words).checked().expect("helm succeeds")
}

fn upgrade(act: &Act, by: Helm, chart: &Path, sets: &[&str]) {
    let words = ["upgrade", "daemonjob", chart.to_str().expect("the path is UTF-8")];
    let sets = ["image.registry=localhost"]
        .iter()
        .chain(sets)
        .flat_map(|set| ["--set", set]);
    helm(act, by, &words.into_iter().chain(sets).collect::<Vec<_>>());
}

fn rollback(act: &Act, by: Helm) {
    helm(act, by, &["rollback", "daemonjob", "1"]);
}

/// Nothing stays that an uninstallation does not leave on purpose.
fn uninstall(act: &Act, by: Helm) {
    helm(act, by, &["uninstall", "daemonjob"]);
    let is_ours = |object: &Value| object["metadata"]["labels"]["app.kubernetes.io/instance"] == "daemonjob";
    let crd = ["customresourcedefinition/daemonjobs.daemon.justk8s.com"];
    let is_there = |object: &Value| object["metadata"]["namespace"] == SYSTEM;
    // Those of Kubernetes itself, and the Lease, which the process makes and the chart does not know.
    let rest = [
        "configmap/kube-root-ca.crt",
        "lease/daemonjob",
        "serviceaccount/default",
    ];
    act.eventually("nothing but the API and the Lease to be left", || {
        let mut left = all_objects(&act.cluster, |object| is_ours(object) || is_there(object));
        left.sort();
        let allowed = [&rest[..1], &crd, &rest[1..]].concat();
        anyhow::ensure!(left == allowed, "left: {left:?}");
        Ok(Some(()))
    });
}

/// The DaemonJob and its Job: who they are, and what the status says.
fn work(act: &Act) -> [Value; 3] {
    let daemon_job = act.json("get dj daemonjob-sample");
    let jobs = act.json("get jobs");
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    [uid(&daemon_job), uid(&jobs["items"][0]), daemon_job["status"].clone()]
}

/// Of each of the two configurations.
fn webhooks(act: &Act) -> [Value; 2] {
    ["mutating", "validating"]
        .map(|kind| act.json(&format!("get {kind}webhookconfiguration daemonjob"))["webhooks"][0].take())
}

fn timeouts(act: &Act) -> [Value; 2] {
    webhooks(act).map(|webhook| webhook["timeoutSeconds"].clone())
}

fn bundles(act: &Act) -> [String; 2] {
    webhooks(act).map(|webhook| text(&webhook["clientConfig"]["caBundle"]))
}

/// A change of the spec is admitted, at once.
fn assert_admits(act: &Act) {
    let file = example_path("02b-replace.yaml");
    let line = [
        "apply",
        "--dry-run=server",
        "-f",
        file.to_str().expect("the path is UTF-8"),
    ];
    act.cluster.run(line).expect("it is admitted");
}
