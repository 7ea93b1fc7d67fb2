//! The certificate authority rotates again and again, and nobody notices.

use std::time::{Duration, Instant};

use daemonjob_cluster::until;

use crate::load::Load;
use crate::probe::Probe;
use crate::stage::{Act, Stage, is_soak};
use crate::support::operator::log_files;
use crate::support::trial::show;

/// A rotation in some four seconds instead of eight months. The proportions are those of clusters: what was trusted
/// stays so for longer than replicas and API servers take to notice.
const TIMING: &str = "--certs-timing=3000,800,2000,400,200";

fn promoted(stage: &Stage) -> usize {
    let files = log_files(stage.cluster.folder());
    let promoted = |text: &String| text.matches("step: Promote").count();
    files.iter().map(|(_, text)| promoted(text)).sum()
}

#[test]
fn i15_f31_rotations_under_continuous_admissions_fail_none() {
    let wanted = if is_soak() { 1000 } else { 6 };
    let act = Act::begin();
    let stage = act.stage();
    let replicas = stage.two_replicas(&[TIMING]);
    let before = promoted(stage);
    let probe = Probe::start(
        &stage.cluster.kubeconfig(),
        replicas.each_ref().map(|it| it.endpoint).to_vec(),
    );
    let load = Load::start(&stage.cluster);
    let begun = Instant::now();
    let rotations = until("the rotations", Duration::from_secs(60 + 20 * wanted), || {
        let rotations = promoted(stage) - before;
        std::thread::sleep(Duration::from_secs(1));
        Ok((rotations as u64 >= wanted).then_some(rotations))
    });
    let (report, shaken) = (load.stop(), probe.stop());
    let rotations = rotations.expect("it goes on rotating");
    show(&format!(
        "{rotations} rotations in {:?}: {} creates, p99 {:?}, longest {:?}; {} handshakes, {} failed",
        begun.elapsed(),
        report.requests,
        report.p99(),
        report.longest(),
        shaken.count,
        shaken.failures.len()
    ));
    report.assert_all_admitted();
    assert!(shaken.failures.is_empty(), "{:?}", shaken.failures);
    assert!(!stage.events("AuthorityRotated").is_empty(), "and it is told");
    replicas.into_iter().for_each(|replica| stage.end(replica));
}
