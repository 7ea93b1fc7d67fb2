//! G7: what a GitOps tool does over and over shows no difference and changes nothing.

use std::time::{Duration, Instant};

use daemonjob_cluster::{Output, until};
use serde_json::{Value, json};

use crate::readers;
use crate::support::DEADLINE;
use crate::support::Trial;
use crate::support::manifest::{daemon_job, example};
use crate::support::trial::{HASH, items, show, text};
use crate::support::world::SYSTEM;

const SYNCS: usize = 10;
/// Within which whatever a sync wipes must be back (F30).
const REPAIRED: Duration = Duration::from_secs(5);
const RETRY: &str = "daemon.justk8s.com/retry";

/// How a tool syncs, and how it looks for differences, both in kubectl's words.
struct Way {
    sync: &'static str,
    diff: &'static str,
}

/// Argo CD's way, unless it is told otherwise.
const CLIENT_SIDE: Way = Way {
    sync: "apply -f -",
    diff: "diff -f -",
};

/// `ServerSideApply=true` and `ServerSideDiff=true` of Argo CD; Flux does the same under another name.
const SERVER_SIDE: Way = Way {
    sync: "apply --server-side --force-conflicts --field-manager=argocd-controller -f -",
    diff: "diff --server-side --force-conflicts --field-manager=argocd-controller -f -",
};

/// `Replace=true` of Argo CD.
const REPLACE: Way = Way {
    sync: "replace -f -",
    diff: "diff -f -",
};

/// A commit in Git: all examples of it, and what their DaemonJobs come to show.
struct Commit {
    sample: &'static str,
    shows: &'static str,
}

const COMMITS: [Commit; 3] = [
    Commit {
        sample: "01-sample.yaml",
        shows: "4 desired, 4 succeeded, 1 skipped",
    },
    Commit {
        sample: "02a-changed.yaml",
        shows: "4 desired, 4 succeeded, 4 outdated, 1 skipped",
    },
    Commit {
        sample: "02b-replace.yaml",
        shows: "4 desired, 4 succeeded, 1 skipped",
    },
];

impl Commit {
    fn manifests(&self) -> String {
        [self.sample, "03-selector.yaml", "04-ignore.yaml"]
            .map(example)
            .join("\n---\n")
    }

    fn wait(&self, trial: &Trial) {
        trial.shows("daemonjob-sample", self.shows);
        trial.shows("daemonjob-selector", "3 desired, 3 succeeded");
        trial.shows("daemonjob-ignore", "3 desired, 3 succeeded, 1 skipped");
        for name in ["daemonjob-sample", "daemonjob-selector", "daemonjob-ignore"] {
            trial.wait_for("Complete", name);
        }
    }
}

/// All DaemonJobs down to their `resourceVersion`, and the UIDs of all Jobs.
fn stored(trial: &Trial) -> (Vec<Value>, Vec<String>) {
    let all = trial.json("get dj,jobs");
    let (daemon_jobs, jobs): (Vec<Value>, Vec<Value>) =
        items(&all).iter().cloned().partition(|it| it["kind"] == "DaemonJob");
    let uids = jobs.iter().map(|job| text(&job["metadata"]["uid"])).collect();
    (daemon_jobs, uids)
}

fn generations(daemon_jobs: &[Value]) -> Vec<&Value> {
    daemon_jobs.iter().map(|it| &it["metadata"]["generation"]).collect()
}

#[track_caller]
fn assert_empty(diff: &Output, what: &str) {
    let is_empty = diff.code() == Some(0) && diff.stdout.is_empty();
    assert!(is_empty, "{what}: {}{}", diff.stdout, diff.stderr);
}

/// Syncs a commit again and again. The first time may change something, the second one must leave specs and Jobs alone;
/// from then on everything stays as it is.
fn sync(trial: &Trial, way: &Way, commit: &Commit, syncs: usize) {
    let manifests = commit.manifests();
    let sync = || {
        let output = trial.kubectl_with(way.sync, &manifests);
        output.checked().expect("the sync succeeds")
    };
    sync();
    commit.wait(trial);
    let (first, jobs) = stored(trial);
    let mut before = None;
    for number in 2..=syncs {
        sync();
        let what = format!("{}, sync {number}", way.sync);
        assert_empty(&trial.kubectl_with(way.diff, &manifests), &what);
        let now = stored(trial);
        assert_eq!(now.1, jobs, "nothing runs again: {what}");
        assert_eq!(generations(&now.0), generations(&first), "{what}");
        assert_eq!(*before.get_or_insert_with(|| now.clone()), now, "{what}");
    }
}

/// Asks for a retry by hand, though nothing has failed, and waits until the controller has taken note.
fn retry_by_hand(trial: &Trial) -> Value {
    trial.run(&format!("annotate dj daemonjob-sample {RETRY}=by-hand"));
    trial.eventually("the retry to be handled", || {
        let it = trial.daemon_job("daemonjob-sample");
        Ok((it["status"]["retry"]["token"] == "by-hand").then_some(it))
    })
}

fn assert_ten_syncs_of_each_commit_are_quiet(way: &Way) {
    let trial = Trial::begin();
    for commit in &COMMITS {
        sync(&trial, way, commit, SYNCS);
    }
    retry_by_hand(&trial);
    sync(&trial, way, &COMMITS[2], 3);
    let it = trial.daemon_job("daemonjob-sample");
    assert_eq!(
        it["metadata"]["annotations"][RETRY], "by-hand",
        "a hand's annotation stays"
    );
}

#[test]
fn g7_ten_client_side_syncs_of_each_example_show_and_change_nothing() {
    assert_ten_syncs_of_each_commit_are_quiet(&CLIENT_SIDE);
}

#[test]
fn g7_ten_server_side_syncs_of_each_example_show_and_change_nothing() {
    assert_ten_syncs_of_each_commit_are_quiet(&SERVER_SIDE);
}

#[test]
fn g7_ten_replacing_syncs_of_each_example_show_and_change_nothing_and_the_record_stays() {
    let trial = Trial::begin();
    let created = trial.kubectl_with("create -f -", &COMMITS[0].manifests());
    created.checked().expect("nothing is there yet");
    // A replace names the version that it read: while the status is written, it may have to come again.
    COMMITS[0].wait(&trial);
    for commit in &COMMITS {
        sync(&trial, &REPLACE, commit, SYNCS);
    }
    let before = retry_by_hand(&trial);
    sync(&trial, &REPLACE, &COMMITS[2], 3);
    let after = trial.daemon_job("daemonjob-sample");
    let annotations = &after["metadata"]["annotations"];
    assert!(annotations[RETRY].is_null(), "what is not in Git is gone");
    assert_eq!(
        annotations[HASH], before["metadata"]["annotations"][HASH],
        "but for the hash"
    );
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(
        after["status"], before["status"],
        "the token stays handled, and the record is there"
    );
}

#[test]
fn g7_flux_itself_finds_its_objects_unchanged_from_the_second_sync_on() {
    let trial = Trial::begin();
    for commit in &COMMITS {
        readers::flux_syncs(&trial.cluster.kubeconfig(), &trial.namespace, &commit.manifests())
            .expect("Flux changes nothing");
        commit.wait(&trial);
        let before = stored(&trial);
        readers::flux_syncs(&trial.cluster.kubeconfig(), &trial.namespace, &commit.manifests())
            .expect("Flux changes nothing");
        assert_eq!(stored(&trial), before);
    }
}

#[test]
fn g7_e10_an_example_that_is_refused_is_refused_at_every_sync_and_leaves_nothing() {
    let trial = Trial::begin();
    for way in [&CLIENT_SIDE, &SERVER_SIDE] {
        for _ in 0..3 {
            let refused = trial.kubectl_with(way.sync, &example("05-both.yaml"));
            assert!(refused.stderr.contains("mutually exclusive"), "{}", refused.stderr);
            assert!(items(&trial.json("get dj")).is_empty());
        }
    }
}

/// The chart's objects as they are stored, down to their `resourceVersion`.
fn chart(trial: &Trial, rendered: &str) -> Value {
    let output = trial.cluster.kubectl_stdin(["get", "-f", "-", "-o", "json"], rendered);
    let list: Value = serde_json::from_str(&output.and_then(Output::checked).expect("all are there")).expect("JSON");
    list["items"].clone()
}

fn of_cluster(trial: &Trial, line: &str, input: &str) -> Output {
    trial
        .cluster
        .kubectl_stdin(line.split(' '), input)
        .expect("kubectl runs")
}

/// The certificates that API servers trust, of both configurations, and the authority; null where there is none.
fn certificates(trial: &Trial) -> [Value; 3] {
    let line = format!(
        "get mutatingwebhookconfiguration/daemonjob validatingwebhookconfiguration/daemonjob \
         secret/daemonjob-webhook-ca -n {SYSTEM}"
    );
    let list = trial.cluster.json(line.split(' ')).expect("they are there");
    let at = |index: usize, pointer: &str| items(&list)[index].pointer(pointer).cloned().unwrap_or_default();
    let bundle = "/webhooks/0/clientConfig/caBundle";
    [at(0, bundle), at(1, bundle), at(2, "/data/current.crt")]
}

/// Asks the webhook.
fn admits(trial: &Trial) -> bool {
    let probe = trial.kubectl_with("create --dry-run=server -f -", &daemon_job("probe").to_string());
    probe.is_success()
}

#[test]
fn g7_ten_syncs_of_the_chart_show_nothing_and_wipe_neither_the_ca_bundle_nor_the_authority() {
    let trial = Trial::begin();
    let rendered = trial.render();
    let trusted = certificates(&trial);
    assert!(trusted.iter().all(Value::is_string), "{trusted:?}");
    // Once more at the end: somebody changed his mind about the way.
    for (way, syncs) in [(&CLIENT_SIDE, SYNCS), (&SERVER_SIDE, SYNCS), (&CLIENT_SIDE, 3)] {
        let mut before = None;
        for number in 1..=syncs {
            let what = format!("{}, sync {number}", way.sync);
            assert_eq!(trial.render(), rendered, "two renders are equal");
            let output = of_cluster(&trial, way.sync, &rendered);
            output.checked().expect("the sync succeeds");
            assert_eq!(certificates(&trial), trusted, "{what}");
            assert!(admits(&trial), "{what}");
            assert_empty(&of_cluster(&trial, way.diff, &rendered), &what);
            if number > 1 {
                let now = chart(&trial, &rendered);
                assert_eq!(*before.get_or_insert_with(|| now.clone()), now, "{what}");
            }
        }
    }
}

#[test]
fn f30_what_a_replacing_sync_of_the_chart_wipes_is_back_within_five_seconds() {
    let trial = Trial::begin();
    let rendered = trial.render();
    let mut slowest = Duration::ZERO;
    for number in 1..=SYNCS {
        // What is repaired while kubectl replaces the next object may be that object: a tool then comes again.
        let synced = until("a sync that meets no repair", DEADLINE, || {
            let output = of_cluster(&trial, REPLACE.sync, &rendered);
            Ok((!output.stderr.contains("(Conflict)")).then_some(output))
        });
        synced.and_then(Output::checked).expect("the sync succeeds");
        let wiped = Instant::now();
        until("bundles, authority and admission", REPAIRED, || {
            let is_whole = certificates(&trial).iter().all(Value::is_string);
            Ok((is_whole && admits(&trial)).then_some(()))
        })
        .expect("they are back");
        slowest = slowest.max(wiped.elapsed());
        for diff in [CLIENT_SIDE.diff, SERVER_SIDE.diff] {
            assert_empty(&of_cluster(&trial, diff, &rendered), &format!("{diff}, sync {number}"));
        }
    }
    show(&format!(
        "{SYNCS} replacing syncs: repaired, seen {slowest:?} after them at the latest"
    ));
}

/// The pointers that plan B gives for a kind, taken away from an object.
fn without_ignored(mut object: Value) -> Value {
    let plan: Value = serde_saphyr::from_str(include_str!("../../docs/gitops/argocd-ignore-differences.yaml"))
        .expect("the manifest is YAML");
    let entries = plan["spec"]["ignoreDifferences"].as_array().expect("it is a list");
    let kind = object["kind"].clone();
    for entry in entries.iter().filter(|entry| entry["kind"] == kind) {
        if let Some(name) = entry["name"].as_str() {
            assert_eq!(object["metadata"]["name"], name);
        }
        for pointer in entry["jsonPointers"].as_array().expect("it is a list") {
            let (parent, member) = text(pointer)
                .rsplit_once('/')
                .map(|(a, b)| (a.to_owned(), b.replace("~1", "/")))
                .expect("a pointer has a slash");
            let parent = object.pointer_mut(&parent).and_then(Value::as_object_mut);
            let removed = parent.and_then(|parent| parent.remove(&member));
            assert!(removed.is_some(), "{pointer} names nothing in {object}");
        }
    }
    object
}

#[test]
fn g7_plan_b_of_argo_cd_names_all_that_is_written_into_objects_of_git() {
    let trial = Trial::begin();
    let sample: Value = serde_saphyr::from_str(&example("01-sample.yaml")).expect("the example is YAML");
    trial
        .kubectl_with("create -f -", &sample.to_string())
        .checked()
        .expect("it is new");
    let mut live = without_ignored(trial.daemon_job("daemonjob-sample"));
    live["metadata"] = json!({"name": live["metadata"]["name"], "annotations": live["metadata"]["annotations"]});
    live.as_object_mut().expect("it is an object").remove("status");
    let mut wanted = sample;
    wanted["metadata"]["annotations"] = json!({});
    assert_eq!(live, wanted);

    for object in chart(&trial, &trial.render()).as_array().expect("a list") {
        let bare = without_ignored(object.clone());
        assert!(bare["data"].is_null() && bare["webhooks"][0]["clientConfig"]["caBundle"].is_null());
    }
}
