//! The life of a release, with each Helm: the first apply after it is admitted, it is changed and taken back, and
//! nothing of it stays but the API.

use std::path::Path;

use serde_json::Value;

use crate::release::{Helm, Release, all_objects, chart, flags, remove_the_rest};
use crate::stage::Act;
use crate::support::manifest::{example, example_path};
use crate::support::trial::text;
use crate::support::world::SYSTEM;

/// What an upgrade changes: Pods, their number and the webhooks.
const CHANGED: [&str; 3] = ["logLevel=debug", "replicaCount=1", "webhook.timeoutSeconds=7"];

#[test]
fn helm_4_installs_upgrades_rolls_back_and_uninstalls() {
    let Some(act) = Act::bare() else { return };
    live(&act, Helm::FourServerSide, Webhook::Alive);
}

#[test]
fn helm_4_client_side_installs_upgrades_rolls_back_and_uninstalls_a_dead_webhook() {
    let Some(act) = Act::bare() else { return };
    live(&act, Helm::FourClientSide, Webhook::Dead);
}

#[test]
fn helm_3_installs_upgrades_rolls_back_and_uninstalls_a_dead_webhook() {
    let Some(act) = Act::bare() else { return };
    live(&act, Helm::Three, Webhook::Dead);
}

/// How the webhook is when the release is uninstalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Webhook {
    Alive,
    Dead,
}

fn live(act: &Act, helm: Helm, at_the_end: Webhook) {
    Release::install(&act.cluster, helm, &[]);
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
    let sets = [&["image.registry=localhost"], sets].concat();
    helm(act, by, &[&words[..], &flags(&sets)].concat());
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
