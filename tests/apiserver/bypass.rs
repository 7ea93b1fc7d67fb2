//! Objects that got past the webhook, because its configurations were gone: they are never run wrongly (G6).

use crate::support::Trial;
use crate::support::manifest::{changed, daemon_job, example, on};
use crate::support::trial::{HASH, condition, text};

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
