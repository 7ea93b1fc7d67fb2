//! The Deployment, and what stands around it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::render::{CERT_MANAGER, EXISTING_SECRET, NO_WEBHOOK, list, name, render, string};

/// The variables of `daemonjob run`.
const VARIABLES: [&str; 18] = [
    "DAEMONJOB_ADMIN_ADDRESS",
    "DAEMONJOB_CERTS_DIR",
    "DAEMONJOB_CERTS_MODE",
    "DAEMONJOB_CERTS_SECRET",
    "DAEMONJOB_CONTROLLER",
    "DAEMONJOB_IDENTITY",
    "DAEMONJOB_LEASE_NAME",
    "DAEMONJOB_LOG_FORMAT",
    "DAEMONJOB_LOG_LEVEL",
    "DAEMONJOB_NAMESPACE",
    "DAEMONJOB_TLS_MIN_VERSION",
    "DAEMONJOB_WATCH_NAMESPACES",
    "DAEMONJOB_WEBHOOK",
    "DAEMONJOB_WEBHOOK_ADDRESS",
    "DAEMONJOB_WEBHOOK_CONFIGURATION",
    "DAEMONJOB_WEBHOOK_SERVICE",
    "DAEMONJOB_WEBHOOK_URL",
    "KUBECONFIG",
];

#[test]
fn every_variable_is_one_that_the_program_knows() {
    for sets in [&[], NO_WEBHOOK, CERT_MANAGER, EXISTING_SECRET] {
        let rendered = render(sets);
        let variables: Vec<&str> = list(&rendered.container()["env"])
            .iter()
            .map(|entry| string(&entry["name"]))
            .collect();
        let unknown: Vec<_> = variables
            .iter()
            .filter(|variable| !VARIABLES.contains(variable))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert_eq!(
            variables.iter().collect::<BTreeSet<_>>().len(),
            variables.len(),
            "twice in {variables:?}"
        );
    }
}

#[test]
fn the_process_is_told_what_the_chart_rendered() {
    let rendered = render(&[]);
    for (variable, value) in [
        ("DAEMONJOB_CERTS_MODE", "self"),
        ("DAEMONJOB_CERTS_SECRET", name(rendered.one("Secret"))),
        ("DAEMONJOB_CONTROLLER", "true"),
        ("DAEMONJOB_LOG_FORMAT", "json"),
        ("DAEMONJOB_TLS_MIN_VERSION", "1.3"),
        ("DAEMONJOB_WEBHOOK", "true"),
        (
            "DAEMONJOB_WEBHOOK_CONFIGURATION",
            name(rendered.one("MutatingWebhookConfiguration")),
        ),
        ("DAEMONJOB_WEBHOOK_SERVICE", name(rendered.one("Service"))),
    ] {
        assert_eq!(rendered.variable(variable), Some(value), "{variable}");
    }
    let own = |field: &str| json!({"fieldRef": {"fieldPath": format!("metadata.{field}")}});
    let env = list(&rendered.container()["env"]);
    for (variable, source) in [
        ("DAEMONJOB_NAMESPACE", own("namespace")),
        ("DAEMONJOB_IDENTITY", own("name")),
    ] {
        assert!(
            env.contains(&json!({"name": variable, "valueFrom": source})),
            "{variable}"
        );
    }
}

#[test]
fn the_controller_and_the_webhook_can_each_be_switched_off() {
    assert_eq!(
        render(&["controller.enabled=false"]).variable("DAEMONJOB_CONTROLLER"),
        Some("false")
    );
    let rendered = render(NO_WEBHOOK);
    assert_eq!(rendered.variable("DAEMONJOB_WEBHOOK"), Some("false"));
    assert_eq!(list(&rendered.container()["ports"]).len(), 1);
}

#[test]
fn the_pod_is_restricted() {
    for sets in [&[], NO_WEBHOOK, CERT_MANAGER, EXISTING_SECRET] {
        let rendered = render(sets);
        let pod = rendered.pod();
        let expected = json!({
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(pod["securityContext"], expected);
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(rendered.container()["securityContext"], expected);
        for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod.get(field).is_none(), "{field}");
        }
        assert_eq!(list(&pod["containers"]).len(), 1);
    }
}

#[test]
fn probes_and_the_service_reach_named_ports() {
    let rendered = render(&[]);
    let container = rendered.container();
    assert_eq!(
        container["ports"],
        json!([{"name": "admin", "containerPort": 8080}, {"name": "webhook", "containerPort": 9443}])
    );
    assert_eq!(rendered.variable("DAEMONJOB_ADMIN_ADDRESS"), Some("0.0.0.0:8080"));
    assert_eq!(rendered.variable("DAEMONJOB_WEBHOOK_ADDRESS"), Some("0.0.0.0:9443"));
    assert_eq!(
        container["livenessProbe"]["httpGet"],
        json!({"path": "/livez", "port": "admin"})
    );
    assert_eq!(
        container["readinessProbe"]["httpGet"],
        json!({"path": "/readyz", "port": "admin"})
    );
    let ports = json!([{"name": "webhook", "port": 443, "targetPort": "webhook", "protocol": "TCP"}]);
    assert_eq!(rendered.one("Service")["spec"]["ports"], ports);
}

#[test]
fn the_service_and_the_budget_select_the_deployments_pods() {
    // Labels of the user's own never replace ours.
    let rendered = render(&["podLabels.app\\.kubernetes\\.io/name=other", "podLabels.team=ours"]);
    let deployment = &rendered.one("Deployment")["spec"];
    let selector = &deployment["selector"]["matchLabels"];
    let labels = deployment["template"]["metadata"]["labels"]
        .as_object()
        .expect("Pods have labels");
    assert_eq!(labels["team"], "ours");
    for (key, value) in selector.as_object().expect("the selector is a map") {
        assert_eq!(&labels[key], value, "{key}");
    }
    assert_eq!(&rendered.one("Service")["spec"]["selector"], selector);
    assert_eq!(
        &rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        selector
    );
    for constraint in list(&rendered.pod()["topologySpreadConstraints"]) {
        assert_eq!(&constraint["labelSelector"]["matchLabels"], selector);
    }
}

#[test]
fn two_replicas_are_spread_and_drain_one_at_a_time() {
    let rendered = render(&[]);
    assert_eq!(rendered.one("Deployment")["spec"]["replicas"], 2);
    assert_eq!(rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    let pod = rendered.pod();
    assert_eq!(pod["terminationGracePeriodSeconds"], 30);
    let keys: Vec<_> = list(&pod["topologySpreadConstraints"])
        .iter()
        .map(|constraint| &constraint["topologyKey"])
        .collect();
    assert_eq!(keys, ["kubernetes.io/hostname"]);
    let zones = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(zones["podAffinityTerm"]["topologyKey"], "topology.kubernetes.io/zone");
    assert!(!render(&["podDisruptionBudget.enabled=false"]).has("PodDisruptionBudget"));
}

#[test]
fn mounted_certificates_are_read_only_and_where_the_process_looks() {
    for (sets, secret) in [(CERT_MANAGER, "daemonjob-webhook-tls"), (EXISTING_SECRET, "serving")] {
        let rendered = render(sets);
        let volume = json!([{"name": "certs", "secret": {"secretName": secret, "defaultMode": 0o440}}]);
        assert_eq!(rendered.pod()["volumes"], volume);
        let mount = &rendered.container()["volumeMounts"][0];
        assert_eq!(mount["mountPath"].as_str(), rendered.variable("DAEMONJOB_CERTS_DIR"));
        assert_eq!(mount["readOnly"], true);
        assert_eq!(rendered.variable("DAEMONJOB_CERTS_SECRET"), None);
    }
    assert!(render(&[]).pod().get("volumes").is_none());
}

#[test]
fn the_image_is_put_together_from_its_parts() {
    let image = |sets: &[&str]| string(&render(sets).container()["image"]).to_owned();
    assert_eq!(image(&[]), format!("justk8s/daemonjob:{}", env!("CARGO_PKG_VERSION")));
    let digest = format!("sha256:{}", "0".repeat(64));
    let set_digest = format!("image.digest={digest}");
    let all = [
        "image.registry=registry.example/",
        "image.repository=a/b",
        "image.tag=t",
    ];
    assert_eq!(image(&all), "registry.example/a/b:t");
    assert_eq!(
        image(&["image.tag=t", &set_digest]),
        format!("justk8s/daemonjob@{digest}")
    );
}

#[test]
fn more_arguments_and_variables_are_added() {
    let rendered = render(&[
        "extraArgs[0]=--flag=1",
        "extraEnv[0].name=RUST_BACKTRACE",
        "extraEnv[0].value=full",
    ]);
    assert_eq!(rendered.container()["args"], json!(["run", "--flag=1"]));
    assert_eq!(rendered.variable("RUST_BACKTRACE"), Some("full"));
}

#[test]
fn more_volumes_stand_beside_the_certificates() {
    let extra = [
        "extraVolumes[0].name=cluster",
        "extraVolumes[0].secret.secretName=kubeconfig",
        "extraVolumeMounts[0].name=cluster",
        "extraVolumeMounts[0].mountPath=/etc/cluster",
    ];
    let names = |volumes: &serde_json::Value| -> Vec<String> {
        list(volumes).iter().map(|it| string(&it["name"]).to_owned()).collect()
    };
    let alone = render(&extra);
    assert_eq!(names(&alone.pod()["volumes"]), ["cluster"]);
    assert_eq!(names(&alone.container()["volumeMounts"]), ["cluster"]);
    let both = render(&[&extra, CERT_MANAGER].concat());
    assert_eq!(names(&both.pod()["volumes"]), ["certs", "cluster"]);
    assert_eq!(names(&both.container()["volumeMounts"]), ["certs", "cluster"]);
}

#[test]
fn a_platform_that_chooses_the_user_gets_none_from_us() {
    let rendered = render(&[
        "podSecurityContext.runAsUser=null",
        "podSecurityContext.runAsGroup=null",
        "podSecurityContext.fsGroup=null",
    ]);
    let left = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(rendered.pod()["securityContext"], left);
    let rendered = render(&["securityContext.readOnlyRootFilesystem=false"]);
    assert_eq!(rendered.container()["securityContext"]["readOnlyRootFilesystem"], false);
    assert_eq!(
        rendered.container()["securityContext"]["allowPrivilegeEscalation"],
        false
    );
}

#[test]
fn common_labels_are_on_everything_and_never_replace_ours() {
    let own = "commonLabels.app\\.kubernetes\\.io/name=other";
    let everything = [
        "networkPolicy.enabled=true",
        "serviceMonitor.enabled=true",
        "watchNamespaces={ours}",
    ];
    let rendered = render(&[&["commonLabels.team=ours", own], &everything[..]].concat());
    assert!(rendered.objects.len() > 15);
    for object in &rendered.objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["team"], "ours", "{object}");
        assert_eq!(labels["app.kubernetes.io/name"], "daemonjob", "{object}");
    }
    let deployment = &rendered.one("Deployment")["spec"];
    assert_eq!(deployment["template"]["metadata"]["labels"]["team"], "ours");
    let selector = &deployment["selector"]["matchLabels"];
    assert!(
        selector.get("team").is_none(),
        "a selector can never be changed: {selector}"
    );
}

#[test]
fn annotations_of_the_deployment_and_of_its_pods_are_apart() {
    let rendered = render(&["deploymentAnnotations.a=1x", "podAnnotations.b=2x"]);
    let deployment = rendered.one("Deployment");
    assert_eq!(deployment["metadata"]["annotations"], json!({"a": "1x"}));
    assert_eq!(
        deployment["spec"]["template"]["metadata"]["annotations"],
        json!({"b": "2x"})
    );
}

#[test]
fn where_the_pods_run_is_for_the_user_to_say() {
    let rendered = render(&[
        "priorityClassName=system-cluster-critical",
        "nodeSelector.pool=infra",
        "tolerations[0].operator=Exists",
        "affinity.nodeAffinity.a=b",
        "topologySpreadConstraints[0].topologyKey=rack",
    ]);
    let pod = rendered.pod();
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    assert_eq!(
        pod["nodeSelector"],
        json!({"kubernetes.io/os": "linux", "pool": "infra"})
    );
    assert_eq!(pod["tolerations"], json!([{"operator": "Exists"}]));
    assert_eq!(pod["affinity"], json!({"nodeAffinity": {"a": "b"}}));
    assert_eq!(pod["topologySpreadConstraints"], json!([{"topologyKey": "rack"}]));
}
