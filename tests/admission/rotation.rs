//! The certificate authority rotates again and again, and nobody notices.

use std::time::{Duration, Instant};

use anyhow::Result;
use daemonjob_cluster::{is_soak, until};

use crate::load::Load;
use crate::probe::Probe;
use crate::stage::{Act, Replica};
use crate::support::trial::show;

/// A rotation in some four seconds instead of eight months. The proportions are those of clusters: what was trusted
/// stays so for longer than replicas and API servers take to notice.
const TIMING: &str = "--certs-timing=3000,800,2000,400,200";
/// The second of these times: so long an authority is published before it signs, thirty minutes in clusters.
/// The probe can say nothing with trust that it read longer ago, as when it got no processor in between.
const SOAK: Duration = Duration::from_millis(800);

/// How often one of them had the next authority sign.
fn rotations(replicas: &[Replica]) -> Result<f64> {
    let promoted = r#"daemonjob_certificate_changes_total{change="authority_promoted"}"#;
    let counts = replicas.iter().map(|replica| replica.operator.metric(promoted));
    counts.sum()
}

#[test]
fn i15_f31_rotations_under_continuous_admissions_fail_none() {
    let wanted = if is_soak() { 1000 } else { 6 };
    let act = Act::begin();
    let stage = act.stage();
    let replicas = stage.two_replicas(&[TIMING]);
    let probe = Probe::start(
        &stage.cluster.kubeconfig(),
        replicas.each_ref().map(|it| it.endpoint).to_vec(),
        SOAK,
    );
    let load = Load::start(&stage.cluster);
    let begun = Instant::now();
    let rotations = until(
        "the rotations",
        Duration::from_secs(60) + Duration::from_secs(20) * wanted,
        || {
            let rotations = rotations(&replicas)?;
            Ok((rotations >= f64::from(wanted)).then_some(rotations))
        },
    );
    let (report, shaken) = (load.stop(), probe.stop());
    let rotations = rotations.expect("it goes on rotating");
    show(&format!(
        "{rotations} rotations in {:?}: {} creates, p99 {:?}, longest {:?}; {} handshakes, {} failed, \
         {} more with trust that was too old",
        begun.elapsed(),
        report.requests,
        report.p99(),
        report.longest(),
        shaken.count,
        shaken.failures.len(),
        shaken.stale.len()
    ));
    report.assert_all_admitted();
    assert!(shaken.failures.is_empty(), "{:?}", shaken.failures);
    assert!(!stage.events("AuthorityRotated").is_empty(), "and it is told");
    replicas.into_iter().for_each(|replica| stage.end(replica));
}
