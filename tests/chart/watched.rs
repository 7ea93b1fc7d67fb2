//! `watchNamespaces`: rights, webhook configurations, process and notes name the same namespaces.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::rbac::{ALWAYS, SELF_SIGNED, WATCHED_WORK, lines, table};
use crate::render::{
    CERT_MANAGER, NAMESPACE, Rendered, WATCHED, dry_run, list, name, refusal, render, render_test, string, strings,
};

fn in_namespace<'a>(rendered: &'a Rendered, kind: &str, namespace: &str) -> &'a Value {
    let all = rendered.all(kind);
    let mut there = all
        .into_iter()
        .filter(|object| object["metadata"]["namespace"] == namespace);
    let found = there.next().expect("one of this kind is in the namespace");
    assert!(there.next().is_none(), "two of {kind} in {namespace}");
    found
}

#[test]
fn each_watched_namespace_gets_the_rights_that_are_taken_from_the_cluster() {
    let rendered = render(WATCHED);
    let cluster = lines(rendered.named("ClusterRole", "daemonjob"));
    let own = lines(in_namespace(&rendered, "Role", NAMESPACE));
    let left: BTreeSet<String> = cluster.union(&own).cloned().collect();
    let is_work = |line: &String| WATCHED_WORK.iter().any(|work| *line == format!("ClusterRole {work}"));
    let mut expected: BTreeSet<String> = table(&[&ALWAYS, &SELF_SIGNED])
        .into_iter()
        .filter(|line| !is_work(line))
        .collect();
    expected.insert("Role events.k8s.io/events create patch".to_owned());
    assert_eq!(left, expected);
    assert_eq!(rendered.all("Role").len(), 3);
    for namespace in ["ours", "theirs"] {
        let role = in_namespace(&rendered, "Role", namespace);
        let work: BTreeSet<String> = WATCHED_WORK.iter().map(|work| format!("Role {work}")).collect();
        assert_eq!(lines(role), work);
        let binding = in_namespace(&rendered, "RoleBinding", namespace);
        assert_eq!(binding["roleRef"]["name"], name(role));
        assert_eq!(binding["roleRef"]["kind"], "Role");
        let account = name(rendered.one("ServiceAccount"));
        let subject = json!([{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]);
        assert_eq!(binding["subjects"], subject);
    }
}

#[test]
fn events_of_the_secret_need_rights_only_where_there_is_such_a_secret() {
    let rendered = render(&[WATCHED, CERT_MANAGER].concat());
    let own = lines(in_namespace(&rendered, "Role", NAMESPACE));
    assert!(own.iter().all(|line| line.contains("leases")), "{own:?}");
    let cluster = lines(rendered.named("ClusterRole", "daemonjob"));
    assert_eq!(cluster, table(&[&["ClusterRole core/nodes get list watch"]]));
}

#[test]
fn the_releases_own_namespace_may_be_watched_too() {
    let sets = format!("watchNamespaces={{{NAMESPACE}}}");
    let rendered = render(&[&sets]);
    let roles: Vec<&str> = rendered.all("Role").into_iter().map(name).collect();
    assert_eq!(roles, ["daemonjob", "daemonjob-watched"]);
}

#[test]
fn the_webhook_is_asked_about_the_same_namespaces_as_the_process_watches() {
    let rendered = render(WATCHED);
    assert_eq!(rendered.variable("DAEMONJOB_WATCH_NAMESPACES"), Some("ours,theirs"));
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let selector = &rendered.one(kind)["webhooks"][0]["namespaceSelector"];
        let expressions = list(&selector["matchExpressions"]);
        assert_eq!(expressions.len(), 1);
        assert_eq!(string(&expressions[0]["key"]), "kubernetes.io/metadata.name");
        assert_eq!(string(&expressions[0]["operator"]), "In");
        assert_eq!(strings(&expressions[0]["values"]), ["ours", "theirs"]);
    }
    let everywhere = render(&[]);
    assert_eq!(everywhere.variable("DAEMONJOB_WATCH_NAMESPACES"), None);
    assert!(!everywhere.text.contains("namespaceSelector"));
}

#[test]
fn the_test_and_the_notes_go_where_somebody_watches() {
    let test = render_test(WATCHED);
    assert_eq!(test.one("DaemonJob")["metadata"]["namespace"], "ours");
    assert_eq!(render_test(&[]).one("DaemonJob")["metadata"]["namespace"], NAMESPACE);
    let notes = dry_run(WATCHED);
    for line in [
        "--namespace ours apply -f -",
        "--namespace ours get daemonjobs",
        "alone: ours, theirs.",
    ] {
        assert!(notes.contains(line), "{line} is not in {notes}");
    }
}

#[test]
fn what_is_no_name_of_a_namespace_is_refused() {
    for wrong in ["{Ours}", "{a.b}", "{-a}", "{*}", "{a,a}", "a"] {
        let refusal = refusal(&[&format!("watchNamespaces={wrong}")]);
        assert!(refusal.contains("/watchNamespaces"), "{wrong}: {refusal}");
    }
}
