//! Somebody breaks what the certificates stand on, and it is repaired.

use std::time::{Duration, Instant};

use daemonjob_cluster::until;
use serde_json::{Value, json};

use crate::load::Load;
use crate::stage::{Act, CONFIGURATIONS, SECRET, Stage};
use crate::support::trial::show;
use crate::support::world::SYSTEM;

/// Ends what the API server admits with the words of the last refusal, for a test that counts how long that took.
fn wait_restored(stage: &Stage, before: &[Value; 2]) -> Duration {
    let begun = Instant::now();
    until("both bundles to be back", Duration::from_secs(5), || {
        Ok((stage.bundles() == *before).then_some(()))
    })
    .expect("they are restored in time");
    begun.elapsed()
}

#[test]
fn f30_wiped_bundles_are_restored_at_once_and_no_replica_steps_aside() {
    let act = Act::begin();
    let stage = act.stage();
    let replicas = stage.two_replicas(&[]);
    let before = stage.bundles();
    for round in 0..3 {
        for kind in CONFIGURATIONS {
            let wipe = r#"[{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]"#;
            let args = ["patch", kind, "daemonjob", "--type=json", "-p", wipe];
            stage.cluster.run(args).expect("it is there");
        }
        let took = wait_restored(stage, &before);
        show(&format!(
            "round {round}: both bundles restored, seen {took:?} after the second was wiped"
        ));
        assert_eq!(stage.balancer.ready().len(), 2, "both are asked all the time");
    }
    replicas.into_iter().for_each(|replica| stage.end(replica));
}

/// Breaks the Secret in one way.
type Break = fn(&Stage);

const BREAKS: [(&str, Break); 5] = [
    ("deleted", |stage| {
        stage.run(&format!("delete secret {SECRET} --namespace {SYSTEM}"));
    }),
    ("emptied", |stage| {
        let args = ["patch", "secret", SECRET, "--namespace", SYSTEM, "--type=json", "-p"];
        let remove = r#"[{"op": "remove", "path": "/data"}]"#;
        let args = args.into_iter().chain([remove]);
        stage.cluster.run(args).expect("it has data");
    }),
    ("garbage", |stage| {
        stage.patch_secret(&json!({"current.crt": "Z2FyYmFnZQ==", "current.key": "AAECAw=="}));
    }),
    ("foreign", |stage| {
        let gone = Value::Null;
        stage.patch_secret(&json!({
            "current.crt": gone, "current.key": gone, "previous.crt": gone, "previous.retired": gone,
            "tls.crt": "Zm9yZWlnbg==", "tls.key": "Zm9yZWlnbg==",
        }));
    }),
    ("without its key", |stage| {
        stage.patch_secret(&json!({"current.key": Value::Null}))
    }),
];

#[test]
fn f29_a_secret_destroyed_in_any_way_is_repaired_and_told_and_no_admission_fails() {
    let act = Act::begin();
    let stage = act.stage();
    let replicas = stage.two_replicas(&[]);
    let load = Load::start(&stage.cluster);
    for (how, destroy) in BREAKS {
        let before = stage.secret();
        destroy(stage);
        let begun = Instant::now();
        until(
            &format!("the Secret that was {how} to be repaired"),
            Duration::from_secs(30),
            || {
                let now = stage.secret();
                let is_whole = ["current.crt", "current.key"].iter().all(|key| now[key].is_string());
                Ok((is_whole && now["current.crt"] != before["current.crt"] && stage.trusts(&now)).then_some(()))
            },
        )
        .expect("it is repaired in time");
        show(&format!(
            "{how}: repaired and published, seen after {:?}",
            begun.elapsed()
        ));
    }
    let told = until("the Events", Duration::from_secs(30), || {
        let told = stage.events("AuthorityReplaced");
        Ok((told.len() >= 2).then_some(told))
    });
    show(&format!("{:?}", told.expect("it is told")));
    let report = load.stop();
    report.assert_all_admitted();
    assert_eq!(stage.balancer.ready().len(), 2, "both are asked all the time");
    replicas.into_iter().for_each(|replica| stage.end(replica));
}
