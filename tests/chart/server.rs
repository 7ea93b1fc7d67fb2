//! What only an API server can tell of the chart: its rules compile, and an upgrade wipes nothing.

use std::time::Duration;

use daemonjob_cluster::{Cluster, Options, Output, until};
use serde_json::{Value, json};

use crate::render::{NAMESPACE, RELEASE, URL, repository, string, text, tools};

const DEADLINE: Duration = Duration::from_secs(60);
/// Nobody listens there.
const DEAD: &str = "webhook.url=https://127.0.0.1:1";

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
