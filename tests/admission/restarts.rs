//! Replicas come and go, and no create is refused.

use std::time::Instant;

use daemonjob_cluster::is_soak;

use crate::load::Load;
use crate::stage::Act;
use crate::support::trial::show;

#[test]
fn f32_rolling_restarts_under_continuous_admissions_fail_none() {
    let restarts = if is_soak() { 100 } else { 3 };
    let act = Act::begin();
    let stage = act.stage();
    let mut replicas = stage.two_replicas(&[]);
    let load = Load::start(&stage.cluster);
    let begun = Instant::now();
    for _ in 0..restarts {
        for place in &mut replicas {
            // As a rolling update does it: the new one first.
            let new = stage.replica("2", &[]);
            stage.end(std::mem::replace(place, new));
        }
    }
    let report = load.stop();
    show(&format!(
        "{restarts} rolling restarts of two replicas in {:?}: {} creates, p99 {:?}, longest {:?}",
        begun.elapsed(),
        report.requests,
        report.p99(),
        report.longest()
    ));
    report.assert_all_admitted();
    replicas.into_iter().for_each(|replica| stage.end(replica));
}
