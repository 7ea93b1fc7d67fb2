//! The values: what the schema refuses, and that it knows exactly what values.yaml documents.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::render::{refusal, render, text, yaml};

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for set in [
        "replicas=3",
        "image.name=x",
        "crds.install=true",
        "controller.on=true",
        "webhook.port=1",
        "webhook.certs.kind=self",
        "webhook.certs.issuerRef.namespace=x",
        "serviceAccount.labels.a=b",
        "rbac.create=false",
        "podDisruptionBudget.minAvailable=1",
        "resources.request.cpu=1",
        "networkPolicy.ingress=x",
        "serviceMonitor.namespace=x",
        "podMonitor.port=x",
        "watchNamespace=x",
    ] {
        let refusal = refusal(&[set]);
        assert!(refusal.contains("not allowed"), "{set}: {refusal}");
    }
}

#[test]
fn values_out_of_range_are_refused_by_path() {
    for (set, path) in [
        ("webhook.certs.mode=selfsigned", "/webhook/certs/mode"),
        ("webhook.url=http://127.0.0.1:9443", "/webhook/url"),
        ("webhook.url=https://user@host/", "/webhook/url"),
        ("webhook.failurePolicy=fail", "/webhook/failurePolicy"),
        ("webhook.timeoutSeconds=0", "/webhook/timeoutSeconds"),
        ("webhook.timeoutSeconds=31", "/webhook/timeoutSeconds"),
        ("webhook.tlsMinVersion=1.1", "/webhook/tlsMinVersion"),
        ("replicaCount=-1", "/replicaCount"),
        ("replicaCount=two", "/replicaCount"),
        ("crds.keep=maybe", "/crds/keep"),
        ("image.digest=latest", "/image/digest"),
        ("image.pullPolicy=always", "/image/pullPolicy"),
        ("logLevel=verbose", "/logLevel"),
        ("logFormat=xml", "/logFormat"),
        (
            "podDisruptionBudget.maxUnavailable=half",
            "/podDisruptionBudget/maxUnavailable",
        ),
        ("extraEnv[0].value=x", "/extraEnv/0"),
        ("extraArgs=--flag", "/extraArgs"),
        ("webhook.securePort=0", "/webhook/securePort"),
        ("webhook.securePort=65536", "/webhook/securePort"),
        ("adminPort=http", "/adminPort"),
        ("listenAddress=localhost", "/listenAddress"),
        ("listenAddress=[::]", "/listenAddress"),
        ("hostNetwork=yes", "/hostNetwork"),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("podMonitor.scrapeTimeout=10", "/podMonitor/scrapeTimeout"),
        ("networkPolicy.webhookFrom=all", "/networkPolicy/webhookFrom"),
        ("commonLabels.count=1", "/commonLabels/count"),
        ("podSecurityContext=restricted", "/podSecurityContext"),
        ("extraVolumes[0].emptyDir=x", "/extraVolumes/0"),
        ("extraVolumeMounts[0].name=x", "/extraVolumeMounts/0"),
        ("fullnameOverride=Not_A_Name", "/fullnameOverride"),
    ] {
        let refusal = refusal(&[set]);
        assert!(refusal.contains(path), "{set}: {refusal}");
    }
}

#[test]
fn a_parent_chart_may_pass_its_condition_and_globals() {
    assert_eq!(render(&["enabled=true", "global.registry=x"]).text, render(&[]).text);
}

/// Paths of all keys, down to where the schema stops naming them.
fn paths(schema: &Value, prefix: &str, into: &mut BTreeSet<String>) {
    for (key, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{prefix}{key}");
        paths(child, &format!("{path}."), into);
        into.insert(path);
    }
}

fn has_path(values: &Value, path: &str) -> bool {
    path.split('.').try_fold(values, |value, key| value.get(key)).is_some()
}

#[test]
fn values_and_schema_name_the_same_keys() {
    let schema: Value = serde_json::from_str(&text("charts/daemonjob/values.schema.json")).expect("the schema is JSON");
    let values = yaml(&text("charts/daemonjob/values.yaml"));
    let mut known = BTreeSet::new();
    paths(&schema, "", &mut known);
    // A parent chart's, or without a default.
    let unset = ["global", "enabled", "resources.claims"];
    let issuer = "webhook.certs.issuerRef.";
    for path in known
        .iter()
        .filter(|path| !unset.contains(&path.as_str()) && !path.starts_with(issuer))
    {
        assert!(has_path(&values, path), "{path} is in the schema but has no default");
    }
    // The other direction is the schema's own: it refuses unknown keys, and the defaults render.
    render(&[]);
}
