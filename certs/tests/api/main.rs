//! The mode `self` against an API server's HTTP boundary: Secret, both configurations, conflicts, failures.

mod clocks;
mod fake;

use std::sync::Arc;
use std::time::Duration;

use daemonjob_certs::rotation::RotationStep;
use daemonjob_certs::{
    CALL_TIMEOUT, CertsError, Configuration, Fault, Outcome, Resolver, STEADY, SelfSigned, Settings, StoreError,
    TickReport, Timing, Trust, UNSETTLED, VerifyError,
};
use fake::{Fake, MUTATING, SECRET, VALIDATING};
use jiff::Timestamp;

fn at(seconds: u64) -> Timestamp {
    let start: Timestamp = "2026-05-01T12:00:00Z".parse().expect("a time");
    start + Duration::from_secs(seconds)
}

fn replica(fake: &Fake) -> (SelfSigned, Arc<Resolver>) {
    let settings = Settings {
        namespace: "jobs".to_owned(),
        secret_name: "ca".to_owned(),
        configuration_name: "daemonjob".to_owned(),
        sans: ["hook.jobs.svc", "hook.jobs.svc.cluster.local", "127.0.0.1"]
            .map(String::from)
            .to_vec(),
        timing: Timing::default(),
    };
    let resolver = Arc::new(Resolver::new());
    (SelfSigned::new(fake.client(), settings, resolver.clone()), resolver)
}

fn has_step(report: &TickReport, is: impl Fn(&RotationStep) -> bool) -> bool {
    report
        .outcomes
        .iter()
        .any(|outcome| matches!(outcome, Outcome::Rotated { step } if is(step)))
}

fn generated(report: &TickReport, reason: Fault) -> bool {
    has_step(
        report,
        |step| matches!(step, RotationStep::Generate { why, .. } if *why == reason),
    )
}

fn patched(report: &TickReport) -> Vec<Configuration> {
    let was = |configuration: &Configuration| {
        report.outcomes.contains(&Outcome::BundlePatched {
            configuration: *configuration,
        })
    };
    Configuration::ALL.into_iter().filter(was).collect()
}

/// A replica that is through: verified, and the cluster as it leaves it.
async fn settled(fake: &Fake) -> (SelfSigned, Arc<Resolver>) {
    let (mut replica, resolver) = replica(fake);
    replica.tick(at(0)).await;
    let report = replica.tick(at(1)).await;
    assert!(report.is_verified(), "{report:?}");
    (replica, resolver)
}

#[tokio::test]
async fn the_first_tick_makes_everything_and_the_second_verifies_it() {
    let fake = Fake::installed();
    let (mut replica, resolver) = replica(&fake);
    let report = replica.tick(at(0)).await;
    assert!(generated(&report, Fault::Absent), "{report:?}");
    assert_eq!(patched(&report), Configuration::ALL);
    assert!(resolver.has_key());
    assert_eq!(
        (report.trust, report.next),
        (Trust::Untrusted, UNSETTLED),
        "nothing is read back yet"
    );

    let report = replica.tick(at(1)).await;
    assert_eq!((report.trust, report.next), (Trust::Trusted, STEADY), "{report:?}");
    assert_eq!(report.leaf_not_after, Some(at(7 * 24 * 3600)));
    assert_eq!(report.authority_not_after, Some(at(365 * 24 * 3600)));
}

#[tokio::test]
async fn i10_a_settled_tick_writes_nothing() {
    let fake = Fake::installed();
    let (mut replica, _) = settled(&fake).await;
    fake.take_writes();
    let report = replica.tick(at(5)).await;
    assert_eq!(report.outcomes, []);
    assert_eq!(fake.take_writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_restart_uses_the_stored_authority() {
    let fake = Fake::installed();
    settled(&fake).await;
    let secret = fake.object(SECRET);
    let (mut second, _) = replica(&fake);
    let report = second.tick(at(60)).await;
    assert!(report.is_verified(), "{report:?}");
    assert_eq!(fake.object(SECRET), secret);
}

#[tokio::test]
async fn a_missing_secret_is_created() {
    let fake = Fake::installed();
    fake.delete(SECRET);
    let (mut replica, _) = replica(&fake);
    let report = replica.tick(at(0)).await;
    assert!(
        report.outcomes.contains(&Outcome::SecretCreated) && generated(&report, Fault::Absent),
        "{report:?}"
    );
    assert!(replica.tick(at(1)).await.is_verified());
}

#[tokio::test]
async fn the_secret_is_never_listed_and_only_our_data_is_written() {
    let fake = Fake::installed();
    fake.edit(SECRET, |secret| secret["data"] = serde_json::json!({"theirs": "eA=="}));
    let (mut replica, _) = replica(&fake);
    let report = replica.tick(at(0)).await;
    assert!(generated(&report, Fault::Foreign), "{report:?}");
    assert_eq!(fake.object(SECRET)["data"]["theirs"], "eA==");
    assert!(
        fake.take_requests()
            .iter()
            .all(|request| !request.ends_with("/secrets")),
        "no list"
    );
}

#[tokio::test]
async fn two_replicas_that_start_at_once_use_one_authority() {
    for secret_exists in [true, false] {
        let fake = Fake::installed();
        if !secret_exists {
            fake.delete(SECRET);
        }
        // The other replica writes between this one's read and its write.
        let (mut loser, _) = replica(&fake);
        let (mut winner, _) = replica(&fake);
        fake.hold_next_write_of(SECRET);
        let (lost, won) = tokio::join!(loser.tick(at(0)), async {
            fake.write_is_held().await;
            let report = winner.tick(at(0)).await;
            fake.release();
            report
        });
        assert!(generated(&won, Fault::Absent), "{won:?}");
        assert!(lost.outcomes.contains(&Outcome::SecretConflict), "{lost:?}");
        assert!(!has_step(&lost, |_| true), "the winner's authority is used: {lost:?}");
        assert!(loser.tick(at(1)).await.is_verified());
        assert!(winner.tick(at(1)).await.is_verified());
    }
}

#[tokio::test]
async fn f29_emptied_garbage_or_deleted_secret_is_repaired_and_the_served_leaf_stays_trusted() {
    let garbage = serde_json::json!({"current.crt": "eA==", "current.key": "eA=="});
    let breakages: [(Fault, Option<serde_json::Value>); 3] = [
        (Fault::Absent, Some(serde_json::Value::Null)),
        (Fault::UnreadableCertificate, Some(garbage)),
        (Fault::Absent, None),
    ];
    for (fault, data) in breakages {
        let fake = Fake::installed();
        let (mut replica, _) = settled(&fake).await;
        match data {
            Some(data) => fake.edit(SECRET, |secret| secret["data"] = data.clone()),
            None => fake.delete(SECRET),
        }
        let report = replica.tick(at(5)).await;
        assert!(generated(&report, fault), "{report:?}");
        assert_eq!(patched(&report), Configuration::ALL);
        assert!(report.is_verified(), "the last good key serves: {report:?}");
        let report = replica.tick(at(6)).await;
        assert!(report.is_verified() && report.outcomes.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn f30_overwritten_bundle_is_restored_by_the_next_tick() {
    let fake = Fake::installed();
    let (mut replica, _) = settled(&fake).await;
    let good = fake.object(VALIDATING)["webhooks"][1]["clientConfig"]["caBundle"].clone();
    fake.edit(VALIDATING, |live| {
        live["webhooks"][1]["clientConfig"]["caBundle"] = "c3RhbGU=".into()
    });
    let report = replica.tick(at(5)).await;
    assert_eq!(
        patched(&report),
        [Configuration::Validating],
        "the other one is left alone"
    );
    assert_eq!((report.trust, report.next), (Trust::Untrusted, UNSETTLED));
    assert_eq!(fake.object(VALIDATING)["webhooks"][1]["clientConfig"]["caBundle"], good);
    assert!(replica.tick(at(6)).await.is_verified());
}

#[tokio::test]
async fn only_the_bundle_is_patched() {
    let fake = Fake::installed();
    let before = fake.object(MUTATING);
    settled(&fake).await;
    let mut after = fake.object(MUTATING);
    for webhook in after["webhooks"].as_array_mut().expect("webhooks") {
        webhook["clientConfig"]
            .as_object_mut()
            .expect("an object")
            .remove("caBundle")
            .expect("filled");
    }
    assert_eq!(after["webhooks"], before["webhooks"]);
}

#[tokio::test]
async fn not_verified_until_both_configurations_carry_the_authority() {
    let fake = Fake::installed();
    let validating = fake.object(VALIDATING);
    fake.delete(VALIDATING);
    let (mut replica, _) = replica(&fake);
    replica.tick(at(0)).await;
    let report = replica.tick(at(1)).await;
    let missing = Outcome::ConfigurationMissing {
        configuration: Configuration::Validating,
    };
    assert_eq!((report.trust, report.outcomes), (Trust::Untrusted, vec![missing]));

    fake.insert(VALIDATING, validating);
    assert_eq!(patched(&replica.tick(at(2)).await), [Configuration::Validating]);
    assert!(replica.tick(at(3)).await.is_verified());
}

#[tokio::test]
async fn a_configuration_without_webhooks_verifies_nothing() {
    let fake = Fake::installed();
    fake.edit(MUTATING, |live| live["webhooks"] = serde_json::json!([]));
    let (mut replica, _) = replica(&fake);
    replica.tick(at(0)).await;
    let report = replica.tick(at(1)).await;
    let empty = Outcome::ConfigurationEmpty {
        configuration: Configuration::Mutating,
    };
    assert_eq!((report.trust, report.outcomes), (Trust::Untrusted, vec![empty]));
}

#[tokio::test]
async fn a_name_that_the_leaf_lacks_is_refused_by_name() {
    let fake = Fake::installed();
    fake.edit(MUTATING, |live| {
        live["webhooks"][0]["clientConfig"] = serde_json::json!({"url": "https://localhost:9443/mutate"});
    });
    let (mut replica, _) = replica(&fake);
    replica.tick(at(0)).await;
    let report = replica.tick(at(1)).await;
    assert!(
        matches!(
            report.outcomes.as_slice(),
            [Outcome::LeafRefused { webhook, why: VerifyError::ServerName { name, .. }, .. }]
                if webhook == "mutate.daemon.justk8s.com" && name == "localhost"
        ),
        "{report:?}"
    );
}

#[tokio::test]
async fn a_conflict_on_a_configuration_is_an_outcome() {
    let fake = Fake::installed();
    let (mut replica, _) = replica(&fake);
    fake.hold_next_write_of(MUTATING);
    let (report, ()) = tokio::join!(replica.tick(at(0)), async {
        fake.write_is_held().await;
        fake.edit(MUTATING, |live| {
            live["metadata"]["labels"] = serde_json::json!({"edited": "meanwhile"})
        });
        fake.release();
    });
    let conflict = Outcome::BundleConflict {
        configuration: Configuration::Mutating,
    };
    assert!(
        report.outcomes.contains(&conflict) && report.errors.is_empty(),
        "{report:?}"
    );
    assert_eq!(patched(&replica.tick(at(1)).await), [Configuration::Mutating]);
    assert!(replica.tick(at(2)).await.is_verified());
}

#[tokio::test]
async fn f11_a_failing_api_server_leaves_the_key_and_the_verdict() {
    let fake = Fake::installed();
    let (mut replica, resolver) = settled(&fake).await;
    fake.fail_with(Some(503));
    let report = replica.tick(at(5)).await;
    assert_eq!(
        (report.trust, report.next, report.errors.len()),
        (Trust::Unknown, STEADY, 3),
        "{report:?}"
    );
    assert!(resolver.has_key());
    fake.fail_with(None);
    assert!(replica.tick(at(10)).await.is_verified());
}

#[tokio::test]
async fn a_forbidden_configuration_does_not_keep_the_leaf_away() {
    let fake = Fake::installed();
    fake.forbid(MUTATING);
    let (mut replica, resolver) = replica(&fake);
    let report = replica.tick(at(0)).await;
    assert!(
        matches!(report.errors.as_slice(), [CertsError::Configuration(_)]),
        "{report:?}"
    );
    assert_eq!(patched(&report), [Configuration::Validating]);
    assert!(resolver.has_key());
}

#[tokio::test(start_paused = true)]
async fn f13_a_call_that_never_returns_ends_at_its_bound() {
    let fake = Fake::installed();
    fake.hang(SECRET);
    let (mut replica, _) = replica(&fake);
    let before = tokio::time::Instant::now();
    let report = replica.tick(at(0)).await;
    assert_eq!(before.elapsed().as_secs(), CALL_TIMEOUT.as_secs());
    assert!(
        matches!(report.errors.as_slice(), [CertsError::Secret(StoreError::Read { .. })]),
        "{report:?}"
    );
}

#[tokio::test]
async fn the_leaf_is_renewed_in_time() {
    let fake = Fake::installed();
    let (mut replica, _) = settled(&fake).await;
    let day = 24 * 3600;
    assert_eq!(replica.tick(at(4 * day)).await.outcomes, []);
    let issued = Outcome::LeafIssued {
        not_after: at(12 * day),
    };
    assert_eq!(replica.tick(at(5 * day)).await.outcomes, [issued]);
}

/// F31, and the whole course at the boundary: at no tick does a configuration refuse the leaf.
#[tokio::test]
async fn f31_a_rotation_with_a_restart_after_each_write_is_never_noticed() {
    let fake = Fake::installed();
    let (mut replica_a, _) = settled(&fake).await;
    let (mut replica_b, _) = settled(&fake).await;
    let (mut seconds, mut steps) = (100, Vec::new());
    while seconds < 262 * 24 * 3600 {
        let mut written = Vec::new();
        for one in [&mut replica_a, &mut replica_b] {
            let report = one.tick(at(seconds)).await;
            assert!(
                report.is_verified() && report.errors.is_empty(),
                "at {}: {report:?}",
                at(seconds)
            );
            written.extend(
                report
                    .outcomes
                    .into_iter()
                    .filter(|outcome| matches!(outcome, Outcome::Rotated { .. })),
            );
        }
        if !written.is_empty() {
            replica_b = replica(&fake).0;
            assert!(!replica_b.tick(at(seconds)).await.outcomes.is_empty());
        }
        steps.extend(written);
        let soaking = fake.object(SECRET)["data"].get("next.crt").is_some();
        seconds += if soaking { 60 } else { 12 * 3600 };
    }
    assert_eq!(steps.len(), 3, "publish, promote, drop: {steps:?}");
    assert!(fake.object(SECRET)["data"].get("previous.crt").is_none());
}

/// A replica that has just published the next authority, and when.
async fn publishing(fake: &Fake) -> (SelfSigned, u64) {
    let (mut replica, _) = settled(fake).await;
    let due = 244 * 24 * 3600;
    let report = replica.tick(at(due)).await;
    assert!(has_step(&report, |step| *step == RotationStep::Publish), "{report:?}");
    (replica, due)
}

#[tokio::test]
async fn f28_a_clock_that_jumps_does_not_shorten_the_soak() {
    let fake = Fake::installed();
    let (mut replica, due) = publishing(&fake).await;
    for day in 1..=20 {
        let report = replica.tick(at(due + day * 24 * 3600)).await;
        assert!(
            !has_step(&report, |_| true),
            "twenty looks are not half an hour: {report:?}"
        );
    }
}

#[tokio::test]
async fn the_soak_counts_only_while_both_configurations_carry_the_authority() {
    let fake = Fake::installed();
    let (mut replica, due) = publishing(&fake).await;
    let validating = fake.object(VALIDATING);
    fake.delete(VALIDATING);
    for minute in 1..=60 {
        let report = replica.tick(at(due + minute * 60)).await;
        assert!(!has_step(&report, |_| true), "{report:?}");
    }
    fake.insert(VALIDATING, validating);
    let mut minutes = 61..200;
    let promoted = loop {
        let minute = minutes.next().expect("promoted by then");
        if has_step(&replica.tick(at(due + minute * 60)).await, |_| true) {
            break minute;
        }
    };
    assert_eq!(promoted, 61 + 30);
}
