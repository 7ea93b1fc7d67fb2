//! GitOps tools read live objects, and use a DaemonJob as a hook.

use std::collections::BTreeMap;

use daemonjob_cluster::Node;
use serde_json::Value;

use crate::readers::{self, Situation, State};
use crate::support::Trial;
use crate::support::manifest::{daemon_job, failing, hanging, on};
use crate::support::trial::{condition, text};

/// The table of situations in the README: the statuses of the conditions by type, by row.
fn table() -> BTreeMap<String, BTreeMap<String, String>> {
    let readme = include_str!("../../README.md");
    let start = readme.find("| situation |").expect("the README has the table");
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let mut lines = readme[start..].lines().take_while(|line| line.starts_with('|'));
    let types = cells(lines.next().expect("it has a header"));
    let rows = lines.skip(1).map(cells).map(|row| {
        let statuses = types.iter().cloned().zip(row.iter().cloned()).skip(1);
        (row[0].clone(), statuses.collect())
    });
    rows.collect()
}

/// How a row is read: `Stalled` and `Reconciling` decide, then `Ready`.
fn state(row: &BTreeMap<String, String>) -> State {
    let is_true = |type_: &str| row[type_] == "True";
    if is_true("Stalled") {
        State::Failed
    } else if is_true("Ready") && !is_true("Reconciling") {
        State::Current
    } else {
        State::InProgress
    }
}

const UNAVAILABLE: &str = "for 10 minutes only nodes that cannot take work are left";

/// Ways into each row: the row, a DaemonJob and the counters that it comes to show.
fn ways() -> [(&'static str, Value, &'static str); 6] {
    let underway = "running, replacing or waiting";
    let done = "all succeeded, or nothing selected";
    let skipped = "something selected, all of it skipped";
    let failed = "all finished, some failed";
    [
        (underway, on(hanging("running"), "live"), "2 desired, 2 active"),
        (underway, on(daemon_job("waiting"), "away"), "1 desired, 1 waiting"),
        (done, on(daemon_job("succeeded"), "live"), "2 desired, 2 succeeded"),
        (done, on(daemon_job("nothing"), "nowhere"), "nothing"),
        (skipped, on(daemon_job("skipped"), "tainted"), "1 skipped"),
        (failed, on(failing("failed"), "live"), "2 desired, 2 failed"),
    ]
}

/// What stands in the store for each way into a row that the controller can be brought to within seconds.
fn objects(trial: &Trial) -> Vec<(&'static str, Value)> {
    trial.add_nodes(&[
        Node::new("live-1").label("test", "live"),
        Node::new("live-2").label("test", "live"),
        Node::new("away").label("test", "away").lifeless(),
        Node::new("tainted")
            .label("test", "tainted")
            .taint("team=other:NoSchedule"),
    ]);
    let ways = ways();
    let manifests: Vec<String> = ways.iter().map(|(_, it, _)| it.to_string()).collect();
    trial.accepts(&manifests.join("\n---\n"));
    let reached = ways.into_iter().map(|(row, it, counters)| {
        let name = text(&it["metadata"]["name"]);
        (row, trial.shows(&name, counters))
    });
    let mut objects: Vec<(&str, Value)> = reached.collect();

    trial.run("create quota none --hard=count/jobs.batch=0");
    trial.eventually("the quota to be counted", || {
        Ok((!trial.json("get quota none")["status"]["hard"].is_null()).then_some(()))
    });
    trial.accepts(&on(daemon_job("refused"), "live"));
    trial.wait_for("Stalled", "refused");
    let refused = "Jobs or Pods refused (quota, policy), spec invalid, a name or the hash contested";
    objects.push((refused, trial.daemon_job("refused")));
    objects
}

/// What nobody plans: an object just created, and one whose status the planner made in another world, because it
/// takes ten minutes in this one.
fn unplanned(trial: &Trial) -> [(&'static str, Value); 2] {
    drop(trial.take_operator());
    *trial.operator() = Some(trial.spawn_without_controller());
    trial.wait_ready();
    trial.accepts(&daemon_job("created"));
    trial.accepts(&daemon_job("unavailable"));
    let golden: Value =
        serde_saphyr::from_str(include_str!("../golden/status/nodes-unavailable.yaml")).expect("the golden is YAML");
    let mut status = golden["object"]["status"].clone();
    status["observedGeneration"] = 1.into();
    let patch = serde_json::json!({ "status": status }).to_string();
    let line = [
        "patch",
        "dj",
        "unavailable",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
        "-n",
    ];
    trial
        .cluster
        .run(line.into_iter().chain([trial.namespace.as_str()]))
        .expect("the status is stored");
    let objects = ["created", "unavailable"].map(|name| trial.daemon_job(name));
    // Without a controller nobody leads; the next test needs one that does.
    drop(trial.take_operator());
    let [created, unavailable] = objects;
    [("just created", created), (UNAVAILABLE, unavailable)]
}

#[test]
fn g7_kstatus_flux_and_argo_cd_read_every_row_of_the_table_from_live_objects() {
    let trial = Trial::begin();
    let table = table();
    let mut objects = objects(&trial);
    objects.extend(unplanned(&trial));
    let mut situations = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (label, object) in objects {
        let row = &table[label];
        for (type_, status) in row {
            let told = condition(&object, type_)["status"].as_str().unwrap_or("–");
            assert_eq!(told, status, "{type_} in {object}");
        }
        seen.push(label);
        situations.push(Situation {
            name: text(&object["metadata"]["name"]),
            state: state(row),
            is_complete: row["Complete"] == "True",
            object,
        });
    }
    assert!(table.keys().all(|row| seen.contains(&row.as_str())), "{seen:?}");
    readers::read(&situations).expect("all are read as the table says");
}

/// Argo CD deletes the hook of the last sync before it makes the next one: `BeforeHookCreation`.
#[test]
fn a_hook_that_argo_cd_makes_anew_runs_on_every_node_again() {
    const NAME: &str = "before-the-rollout";
    const DONE: &str = "4 desired, 4 succeeded, 1 skipped";
    let trial = Trial::begin();
    let hook = include_str!("../../docs/gitops/argocd-presync.yaml");
    trial.accepts(&hook);
    trial.shows(NAME, DONE);
    let mut before = trial.jobs(NAME);
    for cascade in ["foreground", "background"] {
        trial.run(&format!("delete dj {NAME} --cascade={cascade} --timeout=60s"));
        trial.accepts(&hook);
        trial.shows(NAME, DONE);
        let after = trial.jobs(NAME);
        assert!(after.keys().eq(before.keys()), "the same nodes");
        let is_new = after.iter().all(|(node, job)| job.uid != before[node].uid);
        assert!(is_new, "every Job is new: {after:?}");
        before = after;
    }
}
