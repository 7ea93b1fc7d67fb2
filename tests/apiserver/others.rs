//! Other writers of the same object: what they add stays, and what they fight over is told.

use daemonjob_cluster::Output;
use daemonjob_core::hash::TemplateHash;
use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{daemon_job, on};
use crate::support::trial::{HASH, condition, text, told};

/// The schema of a later version: `spec.future` and `status.future`.
struct LaterSchema<'a>(&'a Trial);

impl<'a> LaterSchema<'a> {
    fn install(trial: &'a Trial) -> Self {
        let it = Self(trial);
        it.patch("add").checked().expect("the CRD is there");
        it
    }

    fn patch(&self, op: &str) -> Output {
        let field = |of: &str| {
            json!({
                "op": op,
                "path": format!("/spec/versions/0/schema/openAPIV3Schema/properties/{of}/properties/future"),
                "value": {"type": "string"},
            })
        };
        let patch = json!([field("spec"), field("status")]);
        let line = format!("patch crd daemonjobs.daemon.justk8s.com --type=json -p {patch}");
        self.0.kubectl(&line)
    }
}

impl Drop for LaterSchema<'_> {
    fn drop(&mut self) {
        // One that stays does no harm to the next test.
        drop(self.patch("remove"));
    }
}

#[test]
fn e44_fields_that_this_version_does_not_know_and_annotations_of_others_survive_its_writes() {
    let trial = Trial::begin();
    let _schema = LaterSchema::install(&trial);
    trial.add_node("e44-a", "e44");
    let mut it = on(daemon_job("it"), "e44");
    it["spec"]["future"] = json!("of the spec");
    trial.eventually("the API server to know the fields", || {
        let dry = trial.kubectl_with("apply --dry-run=server -f -", &it.to_string());
        dry.checked().map(Some)
    });
    trial.accepts(&it);
    trial.run("annotate dj it example.com/theirs=kept");
    let future = json!({"status": {"future": "of-the-status"}});
    trial.run(&format!("patch dj it --subresource=status --type=merge -p {future}"));
    trial.shows("it", "1 desired, 1 succeeded");
    let before = text(&trial.daemon_job("it")["metadata"]["resourceVersion"]);

    trial.add_node("e44-b", "e44");
    let it = trial.shows("it", "2 desired, 2 succeeded");
    assert_ne!(text(&it["metadata"]["resourceVersion"]), before, "we have written");
    assert_eq!(it["spec"]["future"], "of the spec");
    assert_eq!(it["status"]["future"], "of-the-status");
    assert_eq!(it["metadata"]["annotations"]["example.com/theirs"], "kept");
}

fn hash(it: &Value) -> &Value {
    &it["metadata"]["annotations"][HASH]
}

#[test]
fn e46_a_writer_that_keeps_changing_the_hash_is_named_and_nothing_starts_meanwhile() {
    let trial = Trial::begin();
    trial.add_node("e46-first", "e46");
    trial.accepts(&on(daemon_job("it"), "e46"));
    trial.wait_for("Complete", "it");
    let stamped = hash(&trial.daemon_job("it")).clone();
    let before = trial.jobs("it");
    let earlier = restorations(&trial);
    trial.remove_webhook();
    let meddle = format!("annotate dj it --overwrite --field-manager=meddler {HASH}=wrong");

    let it = trial.eventually("the contest to be told", || {
        let it = trial.daemon_job("it");
        if *hash(&it) == stamped {
            trial.run(&meddle);
        }
        Ok((told(&it, "Stalled") == "Stalled=True (TemplateHashContested)").then_some(it))
    });
    assert!(
        text(&condition(&it, "Stalled")["message"]).contains("the field manager \"meddler\""),
        "{it}"
    );
    assert!(!trial.event("TemplateHashContested").is_empty());
    let restored = restorations(&trial) - earlier;
    assert!((5.0..=6.0).contains(&restored), "ever less often: {restored}");
    trial.add_node("e46-later", "e46");
    let meanwhile = trial.jobs("it");
    // On a very slow machine its next turn may have come.
    if *hash(&trial.daemon_job("it")) != stamped {
        assert_eq!(meanwhile, before, "nothing starts");
    }

    trial.shows("it", "2 desired, 2 succeeded");
    let it = trial.daemon_job("it");
    assert_eq!((hash(&it), told(&it, "Stalled")), (&stamped, "none".to_owned()));
    assert_eq!(trial.jobs("it")["e46-first"], before["e46-first"]);
}

/// How often this process has restored the hash of a DaemonJob.
fn restorations(trial: &Trial) -> f64 {
    trial.metric(r#"daemonjob_job_writes_total{verb="patch",reason="TemplateHashRestored",result="success""#)
}

/// Gives each template a deadline once it has been stamped: a mutation that comes after ours.
struct LateMutation<'a>(&'a Trial);

impl<'a> LateMutation<'a> {
    fn install(trial: &'a Trial) -> Self {
        let name = &trial.namespace;
        // Not a condition of the policy: one that did not match at first is not asked again.
        let deadline = format!(
            "'{HASH}' in object.metadata.?annotations.orValue({{}}) \
             ? [JSONPatch{{op: 'add', path: '/spec/jobTemplate/spec/activeDeadlineSeconds', value: 3600}}] : []"
        );
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "reinvocationPolicy": "IfNeeded",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["daemon.justk8s.com"],
                    "apiVersions": ["v1alpha1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["daemonjobs"],
                }]},
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": deadline}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}},
            },
        });
        let it = Self(trial);
        it.0.accepts(&policy);
        it.0.accepts(&binding);
        it
    }
}

impl Drop for LateMutation<'_> {
    fn drop(&mut self) {
        let name = &self.0.namespace;
        for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
            // It concerns this namespace alone.
            drop(self.0.kubectl(&format!("delete {kind} {name}")));
        }
    }
}

#[test]
fn f36_a_template_that_is_changed_after_it_was_stamped_is_stamped_again() {
    let trial = Trial::begin();
    trial.add_node("f36", "f36");
    let _late = LateMutation::install(&trial);
    let it = on(daemon_job("it"), "f36");
    // API servers learn of a policy a moment after it is stored.
    trial.eventually("the late mutation", || {
        let output = trial.kubectl_with("create --dry-run=server -o json -f -", &it.to_string());
        let seen: Value = serde_json::from_str(&output.checked()?)?;
        Ok(seen["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]
            .is_number()
            .then_some(()))
    });
    trial.accepts(&it);
    let stored = trial.shows("it", "1 desired, 1 succeeded");
    let template = &stored["spec"]["jobTemplate"];
    assert_eq!(template["spec"]["activeDeadlineSeconds"], 3600);
    let expected = TemplateHash::of(template).expect("its numbers are exact");
    assert_eq!(text(hash(&stored)), expected.to_string());
    assert_eq!(trial.jobs("it").len(), 1);
}
