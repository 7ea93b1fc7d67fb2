//! Objects that got past the webhook, because its configurations were gone: they are never run wrongly (G6).

use serde_json::{Value, json};

use crate::support::Trial;
use crate::support::manifest::{changed, daemon_job, example, hanging, on, replacing, with};
use crate::support::trial::{HASH, condition, text, told};

#[test]
fn seed_5_e10_both_selectors_stored_past_the_webhook_only_selector_takes_effect_and_it_says_so() {
    let trial = Trial::begin();
    trial.remove_webhook();
    trial.accepts(&example("05-both.yaml"));
    trial.wait_for("Complete", "daemonjob-both");
    let it = trial.shows("daemonjob-both", "3 desired, 3 succeeded");
    assert!(
        trial.jobs("daemonjob-both").keys().eq(["edge", "linux-1", "linux-2"]),
        "`selector` alone"
    );
    let sentence = "`spec.selector` and `spec.ingoreSelector` are both set: only `selector` takes effect";
    assert!(text(&condition(&it, "Ready")["message"]).contains(sentence), "{it}");
    assert!(trial.event("SelectorsConflict")[0].contains(sentence));
    let types = trial.run("get events --field-selector=reason=SelectorsConflict -o jsonpath={.items[*].type}");
    assert_eq!(types.split_whitespace().next(), Some("Warning"));
    let stamped = text(&it["metadata"]["annotations"][HASH]);
    assert_eq!(stamped.len(), 64, "the controller stamped what the webhook did not");
}

#[test]
fn e29_a_hash_stripped_or_edited_past_the_webhook_is_restored_and_nothing_runs_again() {
    let trial = Trial::begin();
    trial.add_node("e29", "e29");
    trial.accepts(&on(daemon_job("it"), "e29"));
    trial.wait_for("Complete", "it");
    let stamped = trial.shows("it", "1 desired, 1 succeeded")["metadata"]["annotations"][HASH].clone();
    let before = trial.jobs("it");
    trial.remove_webhook();
    for line in [
        format!("annotate dj it {HASH}-"),
        format!("annotate dj it --overwrite {HASH}=wrong"),
    ] {
        trial.run(&line);
        trial.eventually("the hash to be restored", || {
            Ok((trial.daemon_job("it")["metadata"]["annotations"][HASH] == stamped).then_some(()))
        });
    }
    assert!(!trial.event("TemplateHashRestored").is_empty());
    assert_eq!(trial.jobs("it"), before);

    trial.accepts(&on(changed(daemon_job("it")), "e29"));
    let it = trial.shows("it", "1 desired, 1 succeeded, 1 outdated");
    assert_ne!(
        it["metadata"]["annotations"][HASH], stamped,
        "a changed template gets its own hash"
    );
    assert_eq!(trial.jobs("it"), before);
}

#[test]
fn b57_a_hash_edited_through_the_webhook_is_put_right_at_once_with_a_warning() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    let stamped = trial.daemon_job("it")["metadata"]["annotations"][HASH].clone();
    let said = trial.kubectl(&format!("annotate dj it --overwrite {HASH}=wrong"));
    assert!(
        said.is_success() && said.stderr.contains("is computed from spec.jobTemplate"),
        "{}",
        said.stderr
    );
    assert_eq!(trial.daemon_job("it")["metadata"]["annotations"][HASH], stamped);
}

/// What the webhook would have refused: a Job whose Pods never end.
fn endless(it: Value) -> Value {
    with(it, "restartPolicy", json!("Always"))
}

#[test]
fn e32_a_spec_that_breaks_a_rule_starts_and_deletes_nothing_until_it_is_mended() {
    let trial = Trial::begin();
    trial.add_node("e32", "e32");
    let good = replacing(on(hanging("running"), "e32"));
    trial.accepts(&good);
    trial.shows("running", "1 desired, 1 active");
    let before = trial.jobs("running");
    let refused = trial.rejects(&endless(good.clone()));
    trial.remove_webhook();

    trial.accepts(&endless(good.clone()));
    trial.accepts(&on(endless(daemon_job("new")), "e32"));
    for name in ["running", "new"] {
        trial.wait_for("Stalled", name);
        let it = trial.daemon_job(name);
        assert_eq!(told(&it, "Stalled"), "Stalled=True (InvalidSpec)");
        let causes = text(&condition(&it, "Stalled")["message"]);
        assert!(
            causes.contains("spec.jobTemplate.spec.template.spec.restartPolicy"),
            "{causes}"
        );
        assert!(
            refused.contains(&causes),
            "in the words of the webhook: {causes}; {refused}"
        );
        assert_eq!(it["status"]["observedGeneration"], it["metadata"]["generation"]);
    }
    assert_eq!(trial.jobs("running"), before);
    assert!(trial.jobs("new").is_empty());

    trial.accepts(&good);
    trial.accepts(&on(daemon_job("new"), "e32"));
    trial.shows("new", "1 desired, 1 succeeded");
    trial.shows("running", "1 desired, 1 active");
    assert_eq!(trial.jobs("running"), before, "it is the template that it had");
}
