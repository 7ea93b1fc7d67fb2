//! The type itself goes wrong: an object that cannot be decoded, and a CRD that is taken away.

use std::sync::atomic::Ordering;

use daemonjob_cluster::is_soak;
use serde_json::{Value, json};

use crate::proxy::kind;
use crate::scene::{Scene, done};
use crate::support::manifest::{changed, daemon_job, on, replacing};
use crate::support::trial::show;

const CRD: &str = "crd daemonjobs.daemon.justk8s.com";
const ALL_DONE: &str = "2 desired, 2 succeeded";

/// A schema that lets any status pass, until it is dropped.
struct LooseSchema<'a> {
    scene: &'a Scene,
    strict: Value,
}

impl<'a> LooseSchema<'a> {
    const PATH: &'static str = "/spec/versions/0/schema/openAPIV3Schema/properties/status";

    fn install(scene: &'a Scene) -> Self {
        let strict = scene.json(&format!("get {CRD}"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
            ["status"]
            .clone();
        let it = Self { scene, strict };
        it.set(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        it
    }

    /// By a file: a schema has spaces in it.
    fn set(&self, schema: &Value) {
        let patch = json!([{"op": "replace", "path": Self::PATH, "value": schema}]);
        let file = self.scene.cluster.folder().join("schema.json");
        std::fs::write(&file, patch.to_string()).expect("the folder can be written");
        let line = format!("patch {CRD} --type=json --patch-file={}", file.display());
        // One that stays does no harm to the next test.
        drop(self.scene.kubectl(&line));
    }
}

impl Drop for LooseSchema<'_> {
    fn drop(&mut self) {
        self.set(&self.strict);
    }
}

/// Writes how many nodes are desired, as nobody should.
fn write_desired(scene: &Scene, name: &str, desired: &Value) {
    let patch = json!({"status": {"desired": desired}});
    let line = format!("patch dj {name} --subresource=status --type=merge -p {patch}");
    scene.eventually("the status to be stored", || scene.kubectl(&line).checked().map(Some));
}

#[test]
fn f14_one_daemonjob_that_cannot_be_decoded_is_told_of_and_holds_no_other_up() {
    let mut scene = Scene::begin();
    scene.nodes("f14", 2);
    for name in ["one", "two"] {
        scene.accepts(&on(daemon_job(name), "f14"));
        scene.shows(name, ALL_DONE);
    }
    scene.assert_quiet();
    let before = scene.jobs("two");
    let schema = LooseSchema::install(&scene);
    write_desired(&scene, "two", &json!("many"));
    assert!(scene.event("Unreadable")[0].contains("many"), "it says what is wrong");
    scene.accepts(&replacing(on(changed(daemon_job("two")), "f14")));
    scene.accepts(&replacing(on(changed(daemon_job("one")), "f14")));
    scene.shows("one", ALL_DONE);
    drop(schema);

    // A new leader meets it in its first list.
    scene.take().kill();
    scene.start();
    scene.accepts(&on(daemon_job("three"), "f14"));
    scene.shows("three", ALL_DONE);
    assert_eq!(scene.jobs("two"), before, "nobody knows what it wants");
    write_desired(&scene, "two", &Value::Null);
    let it = scene.shows("two", ALL_DONE);
    assert_eq!(it["spec"]["replace"], true);
    let after = scene.jobs("two");
    assert!(
        after.iter().all(|(node, job)| job.uid != before[node].uid),
        "they were replaced"
    );
    scene.assert_quiet();
}

#[test]
fn f38_while_the_crd_is_gone_it_waits_and_goes_on_when_it_is_back() {
    let mut scene = Scene::begin();
    scene.nodes("f38", 2);
    scene.accepts(&on(daemon_job("it"), "f38"));
    scene.shows("it", ALL_DONE);
    scene.assert_quiet();
    let mark = scene.proxy.mark();
    scene.is_disturbed.store(true, Ordering::Relaxed);
    scene.run(&format!("delete {CRD}"));
    let missed = |scene: &Scene| {
        let calls = scene.proxy.since(mark);
        let missed = calls
            .iter()
            .filter(|call| call.resource == "daemonjobs" && call.code == 404);
        missed
            .filter(|call| matches!(kind(call).as_str(), "list daemonjobs" | "watch daemonjobs"))
            .count()
    };
    scene.eventually("it to miss it", || Ok((missed(&scene) >= 2).then_some(())));
    if is_soak() {
        scene.eventually("a minute or so", || {
            Ok((done(&scene, mark, "update leases") >= 25).then_some(()))
        });
    }
    show(&format!("{} lists or watches of what is not there", missed(&scene)));
    assert!(missed(&scene) < 30, "it asks ever less often");
    assert!(scene.controller().is_running(), "it is no reason to end");
    assert_eq!(done(&scene, mark, "create jobs") + done(&scene, mark, "delete jobs"), 0);
    scene.heal().expect("the chart is installed again");
    let mark = scene.proxy.mark();
    scene.accepts(&on(daemon_job("it"), "f38"));
    scene.shows("it", ALL_DONE);
    assert_eq!(done(&scene, mark, "create jobs"), 2);
    assert!(scene.controller().is_running(), "it is the same process");
    scene.assert_quiet();
}
