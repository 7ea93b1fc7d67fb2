//! What only an API server can tell of the chart: its rules compile, and an upgrade wipes nothing.

use std::time::Duration;

use daemonjob_cluster::{Cluster, Options, Output, until};
use serde_json::{Value, json};

use crate::render::{NAMESPACE, OPTIONS, RELEASE, URL, repository, string, text, tools};

const DEADLINE: Duration = Duration::from_secs(60);
/// Nobody listens there.
const DEAD: &str = "webhook.url=https://127.0.0.1:1";

/// As values.yaml has it.
const REPLICAS: &str = "2";

fn cluster() -> Cluster {
    Cluster::start(tools(), &Options::default()).expect("a cluster starts")
}

fn helm(cluster: &Cluster, arguments: &[&str], sets: &[&str]) {
    let chart = repository("charts/daemonjob");
    let chart = chart.to_str().expect("the path is UTF-8");
    let mut all = arguments.to_vec();
    all.extend([RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace"]);
    all.extend(sets.iter().flat_map(|set| ["--set", set]));
    cluster.helm(all).and_then(Output::checked).expect("helm succeeds");
}

fn kubectl(cluster: &Cluster, line: &str) -> Output {
    cluster.kubectl(line.split(' ')).expect("kubectl runs")
}

fn assert_passes(cluster: &Cluster, line: &str) {
    kubectl(cluster, line).checked().expect("the API server accepts it");
}

/// Refused because the webhook was asked, and does not answer.
fn assert_blocked(output: &Output, what: &str) {
    assert!(!output.is_success(), "{what} went past the webhook");
    let asked = output
        .stderr
        .contains("failed calling webhook \"mutate.daemon.justk8s.com\"");
    assert!(asked, "{what} was refused for another reason: {}", output.stderr);
}

/// DaemonJobs from before the webhook, one of them with a finalizer and breaking a rule.
fn install_with_daemon_jobs(cluster: &Cluster) {
    helm(cluster, &["install"], &["webhook.enabled=false"]);
    for example in ["01-sample", "05-both"] {
        let manifest = text(&format!("examples/{example}.yaml"));
        // The new resource is served a moment after its CRD was stored.
        until("the first DaemonJob", DEADLINE, || cluster.apply(&manifest).map(Some)).expect("it is stored");
    }
    let finalizer = r#"patch dj daemonjob-both --type=merge -p {"metadata":{"finalizers":["example.com/hold"]}}"#;
    assert_passes(cluster, finalizer);
}

/// Until the API server has read the new configurations.
fn wait_for_the_webhook(cluster: &Cluster) {
    let fresh = text("examples/03-selector.yaml");
    until("the webhook to be asked", DEADLINE, || {
        let output = cluster.kubectl_stdin(["create", "--dry-run=server", "-f", "-"], &fresh)?;
        Ok((!output.is_success()).then(|| assert_blocked(&output, "a create")))
    })
    .expect("the configurations take effect");
}

#[test]
fn g6_a_dead_webhook_blocks_nothing_but_creates_and_changes_of_the_spec_or_the_hash() {
    let cluster = cluster();
    install_with_daemon_jobs(&cluster);
    helm(&cluster, &["upgrade"], &[DEAD]);
    wait_for_the_webhook(&cluster);

    cluster
        .apply(&text("examples/01-sample.yaml"))
        .expect("an apply that changes nothing passes");
    for line in [
        "label dj daemonjob-sample team=ours",
        "annotate dj daemonjob-sample note=ours",
        r#"patch dj daemonjob-sample --type=merge -p {"metadata":{"annotations":null}}"#,
        "label dj daemonjob-sample team-",
        r#"patch dj daemonjob-sample --subresource=status --type=merge -p {"status":{"observedGeneration":1}}"#,
    ] {
        assert_passes(&cluster, line);
    }
    for line in [
        r#"patch dj daemonjob-sample --type=merge -p {"spec":{"replace":true}}"#,
        "annotate dj daemonjob-sample daemon.justk8s.com/template-hash=other",
    ] {
        assert_blocked(&kubectl(&cluster, line), line);
    }
    let changed = cluster.kubectl_stdin(["apply", "-f", "-"], &text("examples/02a-changed.yaml"));
    assert_blocked(&changed.expect("kubectl runs"), "a changed template");

    assert_passes(&cluster, "delete dj daemonjob-sample --timeout=60s");
    assert_passes(&cluster, "delete dj daemonjob-both --wait=false");
    let released =
        r#"patch dj daemonjob-both --type=merge -p {"metadata":{"finalizers":null},"spec":{"replace":true}}"#;
    assert_passes(&cluster, released);
    assert_passes(&cluster, "wait --for=delete dj/daemonjob-both --timeout=60s");
}

/// Writes as the process does: the Secret, and the caBundle of both configurations.
fn write_certificates(cluster: &Cluster, bundle: &str) {
    let secret = json!({"data": {"current.crt": bundle}}).to_string();
    let secret_line = [
        "patch",
        "secret",
        "daemonjob-webhook-ca",
        "--namespace",
        NAMESPACE,
        "--type=merge",
        "-p",
        &secret,
    ];
    cluster.run(secret_line).expect("the Secret is there");
    for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
        let patch = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]).to_string();
        cluster
            .run(["patch", kind, RELEASE, "--type=json", "-p", &patch])
            .expect("the configuration is there");
    }
}

fn read(cluster: &Cluster, line: &str) -> Value {
    cluster.json(line.split(' ')).expect("the object is there")
}

fn assert_an_upgrade_keeps_certificates(cluster: &Cluster, mode: &str) {
    let view = "config view --raw --flatten";
    let kubeconfig = read(cluster, view);
    let bundle = string(&kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]);
    helm(cluster, &["upgrade", "--install", mode], URL);
    write_certificates(cluster, bundle);
    for timeout in [6, 7] {
        helm(
            cluster,
            &["upgrade", mode],
            &[URL[0], &format!("webhook.timeoutSeconds={timeout}")],
        );
        let secret = read(cluster, &format!("get secret daemonjob-webhook-ca -n {NAMESPACE}"));
        assert_eq!(secret["data"], json!({"current.crt": bundle}), "{mode}");
        for kind in ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"] {
            let webhook = &read(cluster, &format!("get {kind} {RELEASE}"))["webhooks"][0];
            assert_eq!(webhook["timeoutSeconds"], timeout, "{mode}");
            assert_eq!(webhook["clientConfig"]["caBundle"], bundle, "{mode}");
        }
    }
}

#[test]
fn an_upgrade_wipes_neither_the_authority_nor_the_ca_bundle() {
    let cluster = cluster();
    for mode in ["--server-side=true", "--server-side=false"] {
        assert_an_upgrade_keeps_certificates(&cluster, mode);
        let uninstall = ["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"];
        cluster
            .helm(uninstall)
            .and_then(Output::checked)
            .expect("helm uninstalls");
    }
    let crd = read(&cluster, "get crd daemonjobs.daemon.justk8s.com");
    assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
}

fn helm_test(cluster: &Cluster) -> Output {
    cluster
        .helm(["test", RELEASE, "--namespace", NAMESPACE])
        .expect("helm runs")
}

#[test]
fn helm_test_fails_while_the_webhook_is_away_and_passes_without_one() {
    let cluster = cluster();
    for namespace in ["ours", "theirs"] {
        cluster.run(["create", "namespace", namespace]).expect("it is new");
    }
    // The API server takes all that the options render.
    helm(&cluster, &["install"], &[OPTIONS, &["webhook.enabled=false"]].concat());
    until("the test to pass", DEADLINE, || helm_test(&cluster).checked().map(Some)).expect("the API is served");
    helm(&cluster, &["upgrade"], &[DEAD]);
    until("the test to fail", DEADLINE, || {
        let output = helm_test(&cluster);
        let asked = output.stderr.contains("failed calling webhook");
        Ok((!output.is_success() && asked).then_some(()))
    })
    .expect("the webhook is asked");
    assert_eq!(
        cluster
            .run(["get", "dj", "--all-namespaces", "-o", "name"])
            .expect("kubectl runs"),
        ""
    );
}

/// The namespace takes Pods of the level `restricted` alone, and the Deployment gets all of its own.
#[test]
fn the_manifest_without_helm_installs_pods_that_the_restricted_level_admits() {
    let cluster = cluster();
    let file = repository("charts/install.yaml");
    let file = file.to_str().expect("the path is UTF-8");
    // Twice: the second time nothing is new, and nobody else has taken a field.
    for _ in 0..2 {
        let applied = cluster.run(["apply", "--server-side", "-f", file]);
        let applied = applied.expect("the manifest is accepted");
        assert!(
            applied.contains("deployment.apps/daemonjob serverside-applied"),
            "{applied}"
        );
    }
    let replicas = r"get deployment daemonjob -n daemonjob-system -o jsonpath={.status.replicas}";
    until("the Pods", DEADLINE, || {
        Ok((cluster.run(replicas.split(' '))? == REPLICAS).then_some(()))
    })
    .expect("the Pods are admitted");
    let namespace = read(&cluster, "get namespace daemonjob-system");
    let level = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "restricted");
}
