//! Which objects each mode renders, and what holds in all of them.

use crate::render::{CERT_MANAGER, EXISTING_SECRET, MODES, NAMESPACE, NO_WEBHOOK, OPTIONS, URL};
use crate::render::{
    dry_run, helm, kind, name, render, render_as, render_test, render_whole, repository, string, text, yaml,
};

/// What every mode renders, but for the CRD.
const COMMON: [&str; 7] = [
    "ClusterRole/daemonjob",
    "ClusterRole/daemonjob-edit",
    "ClusterRole/daemonjob-view",
    "ClusterRoleBinding/daemonjob",
    "Role/daemonjob",
    "RoleBinding/daemonjob",
    "ServiceAccount/daemonjob",
];
const CONFIGURATIONS: [&str; 2] = [
    "MutatingWebhookConfiguration/daemonjob",
    "ValidatingWebhookConfiguration/daemonjob",
];
const WORKLOAD: [&str; 2] = ["Deployment/daemonjob", "PodDisruptionBudget/daemonjob"];
const SERVICE: [&str; 1] = ["Service/daemonjob-webhook"];
/// Of the Prometheus operator, whose kinds a plain cluster does not know.
const SCRAPED: &[&str] = &["serviceMonitor.enabled=true", "serviceMonitor.interval=30s"];
const AUTHORITY: [&str; 1] = ["Secret/daemonjob-webhook-ca"];

fn assert_renders(sets: &[&str], more: &[&[&str]]) {
    let mut expected: Vec<&str> = COMMON.iter().chain(more.iter().copied().flatten()).copied().collect();
    expected.sort_unstable();
    assert_eq!(render(sets).names(), expected, "{sets:?}");
}

#[test]
fn the_default_renders_a_webhook_and_its_own_authority() {
    assert_renders(&[], &[&CONFIGURATIONS, &WORKLOAD, &SERVICE, &AUTHORITY]);
}

#[test]
fn with_a_url_no_deployment_service_or_disruption_budget_is_rendered() {
    assert_renders(URL, &[&CONFIGURATIONS, &AUTHORITY]);
}

#[test]
fn without_the_webhook_nothing_of_it_is_rendered() {
    assert_renders(NO_WEBHOOK, &[&WORKLOAD]);
}

#[test]
fn cert_manager_renders_certificates_instead_of_the_secret() {
    let own_issuer = ["webhook.certs.mode=certManager", "webhook.certs.issuerRef.name=ours"];
    assert_renders(
        &own_issuer,
        &[&CONFIGURATIONS, &WORKLOAD, &SERVICE, &["Certificate/daemonjob-webhook"]],
    );
    let chart_issuer = [
        "Certificate/daemonjob-webhook",
        "Certificate/daemonjob-webhook-root",
        "Issuer/daemonjob-webhook",
        "Issuer/daemonjob-webhook-root",
    ];
    assert_renders(CERT_MANAGER, &[&CONFIGURATIONS, &WORKLOAD, &SERVICE, &chart_issuer]);
}

#[test]
fn cert_managers_certificate_names_the_service_and_the_mounted_secret() {
    let rendered = render(CERT_MANAGER);
    let certificate = rendered.named("Certificate", "daemonjob-webhook");
    let service = format!("{}.{NAMESPACE}.svc", name(rendered.one("Service")));
    assert_eq!(
        certificate["spec"]["dnsNames"],
        serde_json::json!([service, format!("{service}.cluster.local")])
    );
    assert_eq!(
        certificate["spec"]["secretName"],
        rendered.pod()["volumes"][0]["secret"]["secretName"]
    );
    assert_eq!(
        certificate["spec"]["issuerRef"]["name"],
        name(rendered.named("Issuer", "daemonjob-webhook"))
    );
}

#[test]
fn an_existing_secret_is_not_rendered() {
    assert_renders(EXISTING_SECRET, &[&CONFIGURATIONS, &WORKLOAD, &SERVICE]);
}

#[test]
fn the_authoritys_secret_has_no_data_that_an_upgrade_would_put_back() {
    for sets in [&[], URL] {
        let rendered = render(sets);
        let secret = rendered.one("Secret");
        assert_eq!(secret["type"], "Opaque");
        assert!(
            secret.get("data").is_none() && secret.get("stringData").is_none(),
            "{secret}"
        );
    }
}

#[test]
fn two_renders_are_equal() {
    for sets in MODES.into_iter().chain([OPTIONS, SCRAPED]) {
        assert_eq!(render(sets).text, render(sets).text, "{sets:?}");
    }
    assert_eq!(render_whole(&[]).text, render_whole(&[]).text);
}

#[test]
fn templates_use_no_hook_lookup_or_randomness() {
    let folder = repository("charts/daemonjob/templates");
    let entries = std::fs::read_dir(folder).expect("the chart has templates").flatten();
    let files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    assert!(files.len() > 5);
    for file in files {
        let template = std::fs::read_to_string(&file).expect("a template is text");
        for word in [
            "helm.sh/hook",
            "lookup ",
            "rand",
            "uuidv4",
            "genCA",
            "genS",
            "genPrivateKey",
            " now",
            "Capabilities",
        ] {
            assert!(!template.contains(word), "{} uses {word}", file.display());
        }
    }
}

/// Anything else in a test's folder would be a hook, too.
#[test]
fn the_only_hook_is_a_daemonjob_that_helm_test_creates_and_no_node_matches() {
    let folder = std::fs::read_dir(repository("charts/daemonjob/templates/tests")).expect("there is a test");
    assert_eq!(folder.count(), 1);
    for sets in MODES {
        let rendered = render_test(sets);
        let it = rendered.one("DaemonJob");
        assert_eq!(rendered.objects.len(), 1);
        assert_eq!(name(it), "daemonjob-test");
        let annotations = &it["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], "test");
        assert_eq!(
            annotations["helm.sh/hook-delete-policy"],
            "before-hook-creation,hook-succeeded"
        );
        assert_eq!(it["spec"]["selector"]["daemonjob-helm-test"], "matches-no-node");
    }
}

#[test]
fn every_namespaced_object_is_in_the_releases_namespace() {
    for sets in MODES {
        for object in render(sets).objects {
            let cluster_scoped = ["Cluster", "Mutating", "Validating"];
            let expected = if cluster_scoped.iter().any(|start| kind(&object).starts_with(start)) {
                None
            } else {
                Some(NAMESPACE)
            };
            assert_eq!(object["metadata"]["namespace"].as_str(), expected, "{}", kind(&object));
        }
    }
}

#[test]
fn names_stay_dns_labels_whatever_the_release_is_called() {
    let long = "a-release-name-of-fifty-three-characters-which-is-max";
    for release in ["x", "with.dots.in-it", long] {
        for sets in MODES {
            for object in render_as(release, sets).objects {
                let name = name(&object);
                let in_alphabet = name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
                assert!(
                    in_alphabet && name.len() <= 63 && !name.ends_with('-'),
                    "{release}: {name}"
                );
            }
        }
    }
}

#[test]
fn names_that_look_like_numbers_stay_strings() {
    let arguments = [
        "template",
        "123",
        "daemonjob",
        "--namespace=456",
        "--set-string=fullnameOverride=1e3,serviceAccount.name=7,webhook.certs.secretName=8,watchNamespaces={9}",
        "--set=crds.enabled=false",
    ];
    let output = helm(&arguments);
    let text = String::from_utf8(output.stdout).expect("helm prints UTF-8");
    let objects = serde_saphyr::from_multiple::<serde_json::Value>(&text).expect("helm renders YAML");
    assert!(objects.len() > 10, "{}", String::from_utf8_lossy(&output.stderr));
    for object in objects {
        assert_no_number(&object, "");
    }
}

/// Numbers stand only where the API has numbers.
fn assert_no_number(value: &serde_json::Value, key: &str) {
    const NUMBERS: [&str; 16] = [
        "containerPort",
        "defaultMode",
        "failureThreshold",
        "fsGroup",
        "maxSkew",
        "maxSurge",
        "maxUnavailable",
        "periodSeconds",
        "port",
        "replicas",
        "runAsGroup",
        "runAsUser",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
        "targetPort",
        "weight",
    ];
    if let Some(items) = value.as_array() {
        items.iter().for_each(|item| assert_no_number(item, key));
    } else if let Some(map) = value.as_object() {
        map.iter().for_each(|(key, value)| assert_no_number(value, key));
    } else {
        assert!(!value.is_number() || NUMBERS.contains(&key), "{key}: {value}");
    }
}

#[test]
fn the_crd_is_the_committed_file_and_stays_on_uninstall() {
    let committed = yaml(&text("charts/daemonjob/files/crd.yaml"));
    let rendered = render_whole(&[]);
    let crd = rendered.one("CustomResourceDefinition");
    assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(crd["metadata"]["name"], committed["metadata"]["name"]);
    assert_eq!(crd["spec"], committed["spec"]);
}

#[test]
fn the_crd_can_be_left_out_or_go_with_the_release() {
    assert!(!render_whole(&["crds.enabled=false"]).has("CustomResourceDefinition"));
    let rendered = render_whole(&["crds.keep=false"]);
    let crd = rendered.one("CustomResourceDefinition");
    assert!(crd["metadata"]["annotations"].get("helm.sh/resource-policy").is_none());
}

#[test]
fn lint_is_strict_and_silent_in_every_mode() {
    for sets in MODES.into_iter().chain([OPTIONS, SCRAPED]) {
        let mut arguments = vec!["lint", "--strict", "daemonjob"];
        arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
        let output = helm(&arguments);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && !printed.contains("[WARNING]"),
            "{sets:?}: {printed}"
        );
    }
}

#[test]
fn notes_name_the_next_two_commands() {
    let inside = dry_run(&[]);
    assert!(
        inside.contains("kubectl --namespace daemonjob-system rollout status deployment/daemonjob"),
        "{inside}"
    );
    assert!(inside.contains("kubectl apply -f - <<'MANIFEST'"), "{inside}");
    assert!(!inside.contains("WARNING"), "{inside}");
    let outside = dry_run(URL);
    for flag in [
        "--namespace daemonjob-system",
        "--lease-name daemonjob",
        "--webhook-configuration daemonjob",
        "--webhook-url https://127.0.0.1:9443",
        "--certs-mode self",
        "--certs-secret daemonjob-webhook-ca",
    ] {
        assert!(outside.contains(flag), "{flag} is not in {outside}");
    }
    assert!(dry_run(NO_WEBHOOK).contains("WARNING: webhook.enabled is false"));
    assert!(dry_run(&["controller.enabled=false"]).contains("WARNING: controller.enabled is false"));
}

#[test]
fn notes_warn_of_what_weakens_the_installation() {
    for (sets, warning) in [
        (
            &["webhook.failurePolicy=Ignore"][..],
            "WARNING: webhook.failurePolicy is Ignore",
        ),
        (&["replicaCount=1"], "WARNING: replicaCount is 1"),
        (
            &["hostNetwork=true", "networkPolicy.enabled=true"],
            "WARNING: hostNetwork is true",
        ),
    ] {
        let notes = dry_run(sets);
        assert_eq!(notes.matches("WARNING").count(), 1, "{notes}");
        assert!(notes.contains(warning), "{notes}");
    }
}

#[test]
fn the_manifest_in_the_notes_is_the_sample() {
    let notes = dry_run(&[]);
    let manifest = notes
        .split("<<'MANIFEST'\n")
        .nth(1)
        .and_then(|rest| rest.split("MANIFEST\n").next());
    let manifest = manifest.expect("the notes hold a here-document");
    assert_eq!(yaml(manifest), yaml(&text("examples/01-sample.yaml")));
}

#[test]
fn the_charts_version_is_the_programs() {
    let chart = yaml(&text("charts/daemonjob/Chart.yaml"));
    assert_eq!(string(&chart["appVersion"]), env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["kubeVersion"], ">=1.33.0-0");
}
