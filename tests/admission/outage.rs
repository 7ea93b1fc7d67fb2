//! Every replica is dead: what still works, and what does not.

use std::time::{Duration, Instant};

use daemonjob_cluster::Output;
use serde_json::{Value, json};

use crate::stage::{Act, Stage};
use crate::support::manifest::{changed, hanging};
use crate::support::trial::show;

const NAMESPACE: &str = "outage";

fn apply(stage: &Stage, manifest: &Value) -> Output {
    let args = ["apply", "--namespace", NAMESPACE, "-f", "-"];
    let output = stage.cluster.kubectl_stdin(args, &manifest.to_string());
    output.expect("kubectl runs")
}

fn kubectl(stage: &Stage, line: &str) -> Output {
    let args = line.split_whitespace().chain(["--namespace", NAMESPACE]);
    stage.cluster.kubectl(args).expect("kubectl runs")
}

#[test]
fn f15_with_every_replica_dead_only_new_specs_and_hashes_are_refused() {
    let act = Act::begin();
    let stage = act.stage();
    let replicas = stage.two_replicas(&[]);
    stage.run(&format!("create namespace {NAMESPACE}"));
    for name in ["kept", "changed", "deleted"] {
        apply(stage, &hanging(name)).checked().expect("it is admitted");
    }
    replicas.into_iter().for_each(|replica| stage.kill(replica));

    let hash = "annotate dj changed --overwrite daemon.justk8s.com/template-hash=other";
    let refused = [
        ("a create", apply(stage, &hanging("new"))),
        ("a changed template", apply(stage, &changed(hanging("changed")))),
        ("a changed selector", {
            let mut it = hanging("changed");
            it["spec"]["selector"] = json!({"os": "linux"});
            apply(stage, &it)
        }),
        ("an edited hash", kubectl(stage, hash)),
    ];
    for (what, answer) in refused {
        let words = answer.stderr.as_str();
        assert!(
            !answer.is_success() && words.contains("failed calling webhook"),
            "{what}: {words}"
        );
    }
    let passing = [
        ("a label", kubectl(stage, "label dj kept team=ours")),
        ("another annotation", kubectl(stage, "annotate dj kept note=ours")),
        ("an apply that changes nothing", apply(stage, &hanging("kept"))),
        ("a delete", kubectl(stage, "delete dj deleted --timeout=30s")),
    ];
    for (what, answer) in passing {
        assert!(answer.is_success(), "{what} was refused: {}", answer.stderr);
    }
    let begun = Instant::now();
    stage.run(&format!("delete namespace {NAMESPACE} --timeout=30s"));
    show(&format!(
        "a namespace with DaemonJobs was gone after {:?}",
        begun.elapsed()
    ));
    assert!(begun.elapsed() < Duration::from_secs(30));
}
