//! What the process may do, and what its users may do: every rule, and no other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::render::{CERT_MANAGER, EXISTING_SECRET, MODES, NAMESPACE, NO_WEBHOOK, URL};
use crate::render::{Rendered, list, name, render, string, strings};

/// One line per role, API group, resource and object name: "ROLE GROUP/RESOURCE[/OBJECT] VERBS".
pub(crate) const ALWAYS: [&str; 9] = [
    "ClusterRole batch/jobs create delete get list watch",
    "ClusterRole core/events list",
    "ClusterRole core/nodes get list watch",
    "ClusterRole daemon.justk8s.com/daemonjobs get list patch watch",
    "ClusterRole daemon.justk8s.com/daemonjobs/finalizers update",
    "ClusterRole daemon.justk8s.com/daemonjobs/status patch",
    "ClusterRole events.k8s.io/events create patch",
    "Role coordination.k8s.io/leases create",
    "Role coordination.k8s.io/leases[daemonjob] get update",
];
pub(crate) const SELF_SIGNED: [&str; 4] = [
    "ClusterRole admissionregistration.k8s.io/mutatingwebhookconfigurations[daemonjob] get list patch watch",
    "ClusterRole admissionregistration.k8s.io/validatingwebhookconfigurations[daemonjob] get list patch watch",
    "Role core/secrets create",
    "Role core/secrets[daemonjob-webhook-ca] get patch",
];

/// Those of the rights above that concern DaemonJobs and what is made of them.
pub(crate) const WATCHED_WORK: [&str; 6] = [
    "batch/jobs create delete get list watch",
    "core/events list",
    "daemon.justk8s.com/daemonjobs get list patch watch",
    "daemon.justk8s.com/daemonjobs/finalizers update",
    "daemon.justk8s.com/daemonjobs/status patch",
    "events.k8s.io/events create patch",
];

/// What a role grants.
pub(crate) fn lines(role: &Value) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for rule in list(&role["rules"]) {
        let mut verbs = strings(&rule["verbs"]);
        verbs.sort_unstable();
        let object = rule
            .get("resourceNames")
            .map(|names| format!("[{}]", strings(names).join(" ")))
            .unwrap_or_default();
        for group in strings(&rule["apiGroups"]) {
            let group = if group.is_empty() { "core" } else { group };
            for resource in strings(&rule["resources"]) {
                let line = format!(
                    "{} {group}/{resource}{object} {}",
                    string(&role["kind"]),
                    verbs.join(" ")
                );
                assert!(lines.insert(line), "a rule stands twice in {role}");
            }
        }
    }
    lines
}

fn granted(rendered: &Rendered) -> BTreeSet<String> {
    let mut all = lines(rendered.named("ClusterRole", "daemonjob"));
    all.extend(lines(rendered.one("Role")));
    all
}

/// Lines of several tables.
pub(crate) fn table(parts: &[&[&str]]) -> BTreeSet<String> {
    parts.iter().copied().flatten().map(|line| (*line).to_owned()).collect()
}

#[test]
fn rights_are_exactly_the_table() {
    assert_eq!(granted(&render(&[])), table(&[&ALWAYS, &SELF_SIGNED]));
    assert_eq!(granted(&render(URL)), table(&[&ALWAYS, &SELF_SIGNED]));
}

#[test]
fn without_own_certificates_no_secret_and_no_configuration_may_be_touched() {
    for sets in [NO_WEBHOOK, CERT_MANAGER, EXISTING_SECRET] {
        assert_eq!(granted(&render(sets)), table(&[&ALWAYS]), "{sets:?}");
    }
}

#[test]
fn switching_the_controller_off_changes_no_rights() {
    assert_eq!(granted(&render(&["controller.enabled=false"])), granted(&render(&[])));
}

#[test]
fn rights_follow_the_names_that_the_process_is_given() {
    let rendered = render(&["fullnameOverride=other", "webhook.certs.secretName=authority"]);
    let role = lines(rendered.one("Role"));
    assert!(
        role.contains("Role coordination.k8s.io/leases[other] get update"),
        "{role:?}"
    );
    assert!(role.contains("Role core/secrets[authority] get patch"), "{role:?}");
    assert_eq!(rendered.variable("DAEMONJOB_LEASE_NAME"), Some("other"));
    assert_eq!(rendered.variable("DAEMONJOB_CERTS_SECRET"), Some("authority"));
    assert_eq!(name(rendered.one("Secret")), "authority");
    let configuration = rendered.variable("DAEMONJOB_WEBHOOK_CONFIGURATION");
    assert_eq!(configuration, Some(name(rendered.one("MutatingWebhookConfiguration"))));
    assert_eq!(
        configuration,
        Some(name(rendered.one("ValidatingWebhookConfiguration")))
    );
    let rights = lines(rendered.named("ClusterRole", "other"));
    let on_configurations: Vec<&String> = rights
        .iter()
        .filter(|line| line.contains("webhookconfigurations"))
        .collect();
    assert!(
        on_configurations.len() == 2 && on_configurations.iter().all(|line| line.contains("[other]")),
        "{rights:?}"
    );
}

#[test]
fn both_bindings_are_of_the_one_service_account() {
    for sets in MODES {
        let rendered = render(sets);
        let account = name(rendered.one("ServiceAccount"));
        for (binding, role) in [("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")] {
            let binding = rendered.one(binding);
            assert_eq!(binding["roleRef"]["kind"], role);
            assert_eq!(binding["roleRef"]["name"], "daemonjob");
            let subject = serde_json::json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]);
            assert_eq!(binding["subjects"], subject);
        }
    }
}

#[test]
fn an_account_of_the_users_own_is_bound_and_not_rendered() {
    let rendered = render(&["serviceAccount.create=false", "serviceAccount.name=mine"]);
    assert!(!rendered.has("ServiceAccount"));
    assert_eq!(rendered.pod()["serviceAccountName"], "mine");
    assert_eq!(rendered.one("RoleBinding")["subjects"][0]["name"], "mine");
    assert_eq!(rendered.one("ClusterRoleBinding")["subjects"][0]["name"], "mine");
}

#[test]
fn users_roles_are_aggregated_and_leave_the_status_alone() {
    let rendered = render(&[]);
    for (role, verbs, into) in [
        ("view", "get list watch", vec!["view", "edit", "admin"]),
        (
            "edit",
            "create delete deletecollection patch update",
            vec!["edit", "admin"],
        ),
    ] {
        let name = format!("daemonjob-{role}");
        let role = rendered.named("ClusterRole", &name);
        assert_eq!(
            lines(role),
            table(&[&[&format!("ClusterRole daemon.justk8s.com/daemonjobs {verbs}")]])
        );
        for target in ["view", "edit", "admin"] {
            let label = &role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{target}")];
            assert_eq!(
                label.as_str(),
                into.contains(&target).then_some("true"),
                "{name} to {target}"
            );
        }
    }
    let without = render(&["rbac.aggregateUserRoles=false"]);
    assert_eq!(without.all("ClusterRole").len(), 1);
}
