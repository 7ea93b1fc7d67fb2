//! Who may do what, as the API server's authorizer sees the chart: the sentences of SECURITY.md.

use crate::support::Trial;
use crate::support::world::SYSTEM;

const ACCOUNT: &str = "system:serviceaccount:daemonjob-system:daemonjob";

/// Asks for each question, "VERB RESOURCE" and where, whether this user may.
fn assert_all(trial: &Trial, user: &str, may: bool, questions: &[&str]) {
    for question in questions {
        let line = format!("auth can-i {question} --as={user}");
        let answer = trial.cluster.kubectl(line.split_whitespace()).expect("kubectl runs");
        let said = answer.stdout.trim();
        assert_eq!(
            said,
            if may { "yes" } else { "no" },
            "{user}: {question}\n{}",
            answer.stderr
        );
    }
}

#[test]
fn the_account_may_make_jobs_everywhere_and_touch_no_pod_and_no_secret_but_its_own() {
    let trial = Trial::begin();
    let elsewhere = &trial.namespace;
    let [make, end, read] = ["create", "delete", "list"].map(|verb| format!("{verb} jobs.batch -n {elsewhere}"));
    let own = format!("get secret/daemonjob-webhook-ca -n {SYSTEM}");
    let own_change = format!("patch secret/daemonjob-webhook-ca -n {SYSTEM}");
    assert_all(
        &trial,
        ACCOUNT,
        true,
        &[
            &make,
            &end,
            &read,
            &own,
            &own_change,
            "patch daemonjobs.daemon.justk8s.com --all-namespaces",
            "patch mutatingwebhookconfigurations/daemonjob",
            "patch validatingwebhookconfigurations/daemonjob",
        ],
    );
    let other = format!("get secret/other -n {SYSTEM}");
    let list = format!("list secrets -n {SYSTEM}");
    let foreign = format!("get secrets -n {elsewhere}");
    assert_all(
        &trial,
        ACCOUNT,
        false,
        &[
            &other,
            &list,
            &foreign,
            "get pods --all-namespaces",
            "create pods --all-namespaces",
            "create pods/exec --all-namespaces",
            "create daemonjobs.daemon.justk8s.com --all-namespaces",
            "delete daemonjobs.daemon.justk8s.com --all-namespaces",
            "update jobs.batch --all-namespaces",
            "patch nodes",
            "patch mutatingwebhookconfigurations/other",
            "delete mutatingwebhookconfigurations/daemonjob",
            "create validatingwebhookconfigurations",
            "create clusterrolebindings",
            "escalate clusterroles",
            "impersonate users",
            "create serviceaccounts/token --all-namespaces",
        ],
    );
}

#[test]
fn a_tenant_may_write_daemonjobs_of_its_namespace_and_neither_status_nor_anything_of_ours() {
    let trial = Trial::begin();
    let here = &trial.namespace;
    trial.run("create rolebinding tenant --clusterrole=edit --user=tenant");
    let jobs = format!("create daemonjobs.daemon.justk8s.com -n {here}");
    let change = format!("patch daemonjobs.daemon.justk8s.com -n {here}");
    // Roles are aggregated by a controller, a moment after the chart was installed.
    trial.eventually("the tenant's rights", || {
        let line = format!("auth can-i {jobs} --as=tenant");
        let answer = trial.cluster.kubectl(line.split_whitespace())?;
        Ok((answer.stdout.trim() == "yes").then_some(()))
    });
    assert_all(&trial, "tenant", true, &[&jobs, &change]);
    let status = format!("patch daemonjobs.daemon.justk8s.com --subresource=status -n {here}");
    let finalizers = format!("update daemonjobs.daemon.justk8s.com --subresource=finalizers -n {here}");
    let authority = format!("get secret/daemonjob-webhook-ca -n {SYSTEM}");
    let lease = format!("update lease/daemonjob -n {SYSTEM}");
    let elsewhere = format!("create daemonjobs.daemon.justk8s.com -n {SYSTEM}");
    assert_all(
        &trial,
        "tenant",
        false,
        &[
            &status,
            &finalizers,
            &authority,
            &lease,
            &elsewhere,
            "list daemonjobs.daemon.justk8s.com --all-namespaces",
            "patch mutatingwebhookconfigurations/daemonjob",
            "get nodes",
        ],
    );
}
