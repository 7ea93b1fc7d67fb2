//! What a GitOps tool sees of the chart on an API server: no difference, however often it comes by.
//! Nothing runs here; with the process beside it, `tests/apiserver/syncs.rs`.

use daemonjob_cluster::{Cluster, Options, Output};
use serde_json::Value;

use crate::render::{EXISTING_SECRET, NAMESPACE, NO_WEBHOOK, list, render, render_whole, string, tools};

const SYNCS: usize = 10;

/// How a tool applies and how it compares.
const WAYS: [[&str; 2]; 2] = [
    ["apply -f -", "diff -f -"],
    [
        "apply --server-side --force-conflicts --field-manager=argocd-controller -f -",
        "diff --server-side --force-conflicts --field-manager=argocd-controller -f -",
    ],
];

fn kubectl(cluster: &Cluster, line: &str, input: &str) -> Output {
    cluster.kubectl_stdin(line.split(' '), input).expect("kubectl runs")
}

/// Names and generations: the status of a Deployment has a life of its own.
fn generations(cluster: &Cluster, manifests: &str) -> Vec<(String, Value)> {
    let output = kubectl(cluster, "get -o json -f -", manifests).checked();
    let all: Value = serde_json::from_str(&output.expect("all are there")).expect("kubectl prints JSON");
    let one = |object: &Value| {
        let name = format!("{}/{}", string(&object["kind"]), string(&object["metadata"]["name"]));
        (name, object["metadata"]["generation"].clone())
    };
    list(&all["items"]).iter().map(one).collect()
}

#[test]
fn g7_ten_syncs_of_the_chart_in_the_cluster_show_no_difference() {
    let cluster = Cluster::start(tools(), &Options::default()).expect("a cluster starts");
    cluster
        .run(["create", "namespace", NAMESPACE])
        .expect("the namespace is new");
    // The CRD is the same in every mode.
    for (sets, rendered, syncs) in [
        (&[][..], render_whole(&[]), SYNCS),
        (NO_WEBHOOK, render(NO_WEBHOOK), 3),
        (EXISTING_SECRET, render(EXISTING_SECRET), 3),
    ] {
        let manifests = rendered.text;
        for [apply, diff] in WAYS {
            let mut before = None;
            for number in 1..=syncs {
                let what = format!("{sets:?}: {apply}, sync {number}");
                kubectl(&cluster, apply, &manifests)
                    .checked()
                    .expect("the sync succeeds");
                let shown = kubectl(&cluster, diff, &manifests);
                assert!(
                    shown.is_success() && shown.stdout.is_empty(),
                    "{what}: {}{}",
                    shown.stdout,
                    shown.stderr
                );
                let now = generations(&cluster, &manifests);
                assert_eq!(*before.get_or_insert_with(|| now.clone()), now, "{what}");
            }
        }
    }
}
