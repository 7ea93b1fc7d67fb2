//! Deleting a DaemonJob, and making one of the same name again.

use crate::support::Trial;
use crate::support::manifest::{daemon_job, hanging};
use crate::support::trial::{items, text};

fn running() -> Trial {
    let trial = Trial::begin();
    trial.accepts(&hanging("it"));
    trial.shows("it", "4 desired, 4 active, 1 skipped");
    trial
}

fn assert_all_gone(trial: &Trial) {
    trial.eventually("Jobs and Pods to be gone", || {
        Ok(items(&trial.json("get jobs,pods")).is_empty().then_some(()))
    });
}

#[test]
fn e37_deletion_in_the_foreground_takes_jobs_and_pods_along() {
    let trial = running();
    trial.run("delete dj it --cascade=foreground --timeout=30s");
    assert!(items(&trial.json("get jobs,pods")).is_empty(), "they went first");
}

#[test]
fn e37_deletion_in_the_background_takes_jobs_and_pods_along() {
    let trial = running();
    trial.run("delete dj it --cascade=background --timeout=30s");
    assert_all_gone(&trial);
}

#[test]
fn e37_e38_orphaned_jobs_stay_and_hold_their_names_until_somebody_frees_them() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    trial.wait_for("Complete", "it");
    let before = trial.jobs("it");
    trial.run("delete dj it --cascade=orphan --timeout=30s");
    trial.eventually("the Jobs to have no owner", || {
        let jobs = trial.json("get jobs");
        let owned = items(&jobs)
            .iter()
            .any(|job| !job["metadata"]["ownerReferences"].is_null());
        Ok((!owned).then_some(()))
    });

    trial.accepts(&daemon_job("it"));
    let it = trial.shows("it", "4 desired, 4 waiting, 1 skipped");
    assert!(
        text(&it["status"]["summary"]).contains("NameConflict"),
        "{}",
        it["status"]["summary"]
    );
    assert_eq!(trial.jobs("it"), before, "they are nobody's, and are left alone");

    trial.run("delete jobs --all");
    trial.wait_for("Complete", "it");
    trial.shows("it", "4 desired, 4 succeeded, 1 skipped");
}

#[test]
fn e38_f17_made_again_at_once_it_runs_anew_on_every_node() {
    let trial = Trial::begin();
    trial.accepts(&daemon_job("it"));
    trial.wait_for("Complete", "it");
    let before = trial.jobs("it");
    trial.run("delete dj it --cascade=background --timeout=30s");
    trial.accepts(&daemon_job("it"));
    trial.wait_for("Complete", "it");
    trial.shows("it", "4 desired, 4 succeeded, 1 skipped");
    let after = trial.jobs("it");
    assert!(after.keys().eq(before.keys()));
    assert!(after.iter().all(|(node, job)| job.uid != before[node].uid), "{after:?}");
}
