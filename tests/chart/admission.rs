//! The webhook configurations.

use serde_json::{Value, json};

use crate::render::{CERT_MANAGER, EXISTING_SECRET, MODES, NAMESPACE, URL, list, name, refusal, render, string};

const KINDS: [(&str, &str); 2] = [
    ("MutatingWebhookConfiguration", "mutate"),
    ("ValidatingWebhookConfiguration", "validate"),
];

fn webhook(sets: &[&str], kind: &str) -> Value {
    let rendered = render(sets);
    let webhooks = list(&rendered.one(kind)["webhooks"]);
    assert_eq!(webhooks.len(), 1);
    webhooks[0].clone()
}

#[test]
fn both_configurations_are_as_designed() {
    for (kind, verb) in KINDS {
        let mut webhook = webhook(&[], kind);
        let fields = webhook.as_object_mut().expect("a webhook is an object");
        fields
            .remove("matchConditions")
            .expect("there are conditions, tested on their own");
        let mut expected = json!({
            "name": format!("{verb}.daemon.justk8s.com"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "service": {"name": "daemonjob-webhook", "namespace": NAMESPACE, "path": format!("/{verb}"), "port": 443},
            },
            "rules": [{
                "apiGroups": ["daemon.justk8s.com"],
                "apiVersions": ["v1alpha1"],
                "resources": ["daemonjobs"],
                "operations": ["CREATE", "UPDATE"],
                "scope": "Namespaced",
            }],
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "sideEffects": "None",
            "timeoutSeconds": 5,
        });
        if kind.starts_with("Mutating") {
            expected["reinvocationPolicy"] = "IfNeeded".into();
        }
        assert_eq!(webhook, expected);
    }
}

#[test]
fn a_dead_webhook_is_asked_only_about_the_spec_and_the_hash() {
    for sets in MODES {
        let rendered = render(sets);
        for configuration in KINDS.iter().flat_map(|(kind, _)| rendered.all(kind)) {
            let conditions = list(&configuration["webhooks"][0]["matchConditions"]);
            let names: Vec<&str> = conditions.iter().map(|condition| string(&condition["name"])).collect();
            assert_eq!(names, ["not-being-deleted", "spec-or-hash-changed"]);
            assert_eq!(conditions[0]["expression"], "!has(object.metadata.deletionTimestamp)");
            let changed = string(&conditions[1]["expression"]).split(" || ").collect::<Vec<_>>();
            let hash = r#"metadata.?annotations[?"daemon.justk8s.com/template-hash"]"#;
            let hash_differs = format!("object.{hash} != oldObject.{hash}");
            assert_eq!(
                changed,
                ["oldObject == null", "object.?spec != oldObject.?spec", &hash_differs]
            );
        }
    }
}

#[test]
fn no_ca_bundle_is_rendered_unless_it_is_given() {
    for sets in MODES.into_iter().filter(|sets| *sets != EXISTING_SECRET) {
        let rendered = render(sets);
        for configuration in KINDS.iter().flat_map(|(kind, _)| rendered.all(kind)) {
            assert!(
                configuration["webhooks"][0]["clientConfig"].get("caBundle").is_none(),
                "{configuration}"
            );
        }
    }
}

#[test]
fn a_given_ca_bundle_may_be_base64_or_pem() {
    for (kind, _) in KINDS {
        assert_eq!(webhook(EXISTING_SECRET, kind)["clientConfig"]["caBundle"], "YWJj");
        let pem = [
            EXISTING_SECRET[0],
            EXISTING_SECRET[1],
            "webhook.certs.caBundle=-----BEGIN X",
        ];
        assert_eq!(webhook(&pem, kind)["clientConfig"]["caBundle"], "LS0tLS1CRUdJTiBY");
    }
}

#[test]
fn a_url_takes_the_place_of_the_service() {
    for base in [URL[0], "webhook.url=https://127.0.0.1:9443/"] {
        for (kind, verb) in KINDS {
            let expected = json!({"url": format!("https://127.0.0.1:9443/{verb}")});
            assert_eq!(webhook(&[base], kind)["clientConfig"], expected);
        }
    }
}

#[test]
fn cert_manager_is_told_whose_authority_to_fill_in() {
    let rendered = render(CERT_MANAGER);
    let certificate = format!(
        "{NAMESPACE}/{}",
        name(rendered.named("Certificate", "daemonjob-webhook"))
    );
    for (kind, _) in KINDS {
        let annotations = &rendered.one(kind)["metadata"]["annotations"];
        assert_eq!(annotations["cert-manager.io/inject-ca-from"], certificate.as_str());
    }
}

#[test]
fn the_failure_policy_and_the_timeout_are_values() {
    for (kind, _) in KINDS {
        let webhook = webhook(&["webhook.failurePolicy=Ignore", "webhook.timeoutSeconds=10"], kind);
        assert_eq!(
            (&webhook["failurePolicy"], &webhook["timeoutSeconds"]),
            (&json!("Ignore"), &json!(10))
        );
    }
}

#[test]
fn contradictions_are_refused_in_a_sentence() {
    let existing = "webhook.certs.mode=existingSecret";
    for (sets, sentence) in [
        (
            vec!["controller.enabled=false", "webhook.enabled=false"],
            "nothing would run",
        ),
        (
            vec![URL[0], "webhook.enabled=false"],
            "webhook.url is set but webhook.enabled is false",
        ),
        (vec![URL[0], CERT_MANAGER[0]], "exclude each other"),
        (
            vec!["webhook.certs.caBundle=YWJj"],
            "caBundle belongs to mode existingSecret",
        ),
        (
            vec!["webhook.certs.issuerRef.name=x"],
            "issuerRef belongs to mode certManager",
        ),
        (
            vec![CERT_MANAGER[0], "webhook.certs.issuerRef.kind=Issuer"],
            "issuerRef.name is required",
        ),
        (vec![existing, "webhook.certs.caBundle=YWJj"], "secretName is required"),
        (vec![existing, "webhook.certs.secretName=x"], "caBundle is required"),
        (vec!["serviceAccount.create=false"], "serviceAccount.name is required"),
    ] {
        let refusal = refusal(&sets);
        assert!(refusal.contains(sentence), "{sets:?}: {refusal}");
    }
}
