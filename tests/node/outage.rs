//! A kubelet that stops, and a node that is deleted and registered again under its name.

use std::time::{Duration, Instant};

use daemonjob_cluster::{is_soak, until};
use serde_json::{Value, json};

use crate::stage::{Act, NODE};
use crate::support::manifest::{daemon_job, example};
use crate::support::trial::{items, text};
use crate::support::watch::assert_one_at_a_time;

/// The label with the name of the DaemonJob.
const OWNER: &str = "daemon.justk8s.com/daemonjob";

/// A DaemonJob whose container runs this, with a folder of the node at /notes.
fn running(name: &str, script: &str) -> Value {
    let mut it = daemon_job(name);
    let pod = &mut it["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    pod["terminationGracePeriodSeconds"] = json!(1);
    pod["containers"] = json!([{
        "name": "main", "image": "busybox:stable", "command": ["/bin/sh", "-c", script],
        "volumeMounts": [{"name": "notes", "mountPath": "/notes"}],
    }]);
    pod["volumes"] = json!([{"name": "notes", "hostPath": {"path": "/var/lib/notes", "type": "DirectoryOrCreate"}}]);
    it
}

/// Runs until somebody makes the file.
fn waiting_for(file: &str) -> Value {
    running("unfinished", &format!("until [ -e /notes/{file} ]; do sleep 0.2; done"))
}

/// The UIDs of Jobs or Pods of a DaemonJob.
fn uids(act: &Act, kind: &str, daemon_job: &str) -> Vec<String> {
    let list = act.json(&format!("get {kind} -l {OWNER}={daemon_job}"));
    items(&list).iter().map(|it| text(&it["metadata"]["uid"])).collect()
}

/// Waits until the container of the DaemonJob runs.
fn wait_until_running(act: &Act, daemon_job: &str) {
    let of_it = format!("-l {OWNER}={daemon_job}");
    act.eventually("the Pod", || {
        act.try_run(&format!(
            "wait pods {of_it} --for=jsonpath={{.status.phase}}=Running --timeout=60s"
        ))
        .map(Some)
    });
}

/// Waits until the DaemonJob is told so of the node.
fn wait_for_status(act: &Act, daemon_job: &str, pointer: &str, value: &Value) {
    act.eventually(&format!("{daemon_job}{pointer} = {value}"), || {
        let it = act.json(&format!("get dj {daemon_job}"));
        let found = it.pointer(pointer).unwrap_or(&Value::Null);
        anyhow::ensure!(found == value, "it is {found}");
        Ok(Some(()))
    });
}

/// Waits until DaemonJobs are admitted again: the replicas are on that node.
fn wait_until_admitting(act: &Act) {
    let words = ["create", "--dry-run=server", "-f", "-"];
    act.eventually("a create to be admitted", || {
        let created = act.cluster.kubectl_stdin(words, &example("03-selector.yaml"))?;
        created.checked().map(Some)
    });
}

/// Lets the container that waits for a file end.
fn let_it_end(act: &Act, file: &str) {
    act.run(&format!(
        "exec job/{} -- touch /notes/{file}",
        job_name(act, "unfinished")
    ));
    act.wait_for("unfinished", "Complete");
}

fn job_name(act: &Act, daemon_job: &str) -> String {
    let list = act.json(&format!("get jobs -l {OWNER}={daemon_job}"));
    text(&items(&list)[0]["metadata"]["name"])
}

#[test]
fn e03_e04_while_a_kubelet_is_away_what_runs_counts_as_active_and_what_has_not_started_waits() {
    let Some(act) = Act::installed() else { return };
    let pods = act.watch(&format!("pods -l {OWNER}=unfinished"));
    act.apply(&waiting_for("e03"));
    wait_until_running(&act, "unfinished");
    let before = ["jobs", "pods"].map(|kind| uids(&act, kind, "unfinished"));
    let mut later = running("later", "true");
    later["spec"]["selector"] = json!({"test": "e04"});
    act.apply(&later);
    act.wait_for("later", "Complete");

    let begin = Instant::now();
    act.cluster.stop_kubelet().expect("it runs");
    let away = [
        "wait",
        "--for=condition=Ready=Unknown",
        &format!("node/{NODE}"),
        "--timeout=180s",
    ];
    act.cluster.run(away).expect("the node is missed");
    act.cluster.label(NODE, "test=e04").expect("it can be labelled");
    wait_for_status(&act, "later", "/status/waitingNodes/0/reason", &json!("Unreachable"));
    wait_for_status(&act, "unfinished", "/status/active", &json!(1));
    if is_soak() {
        let is_over = || Ok((begin.elapsed() > Duration::from_secs(120)).then_some(()));
        until("two minutes to be over", Duration::from_secs(180), is_over).expect("time passes");
    }
    assert_eq!(uids(&act, "jobs", "unfinished"), before[0]);
    assert!(uids(&act, "jobs", "later").is_empty());

    act.cluster.start_kubelet().expect("it comes back");
    wait_for_status(&act, "later", "/status/succeeded", &json!(1));
    assert_eq!(
        ["jobs", "pods"].map(|kind| uids(&act, kind, "unfinished")),
        before,
        "it was run again"
    );
    let_it_end(&act, "e03");
    assert_eq!(uids(&act, "jobs", "unfinished"), before[0]);
    act.cluster.unlabel(NODE, "test").expect("it has it");
    assert_one_at_a_time(&act.seen(&pods, "ADDED", 1), |_| false);
    wait_until_admitting(&act);
}

#[test]
fn e06_e07_a_node_that_is_deleted_and_registered_again_under_its_name_is_a_new_node() {
    let Some(act) = Act::installed() else { return };
    let jobs = act.watch(&format!("jobs -l {OWNER}=unfinished"));
    act.apply(&running("done", "echo ran >>/notes/e07-runs"));
    act.wait_for("done", "Complete");
    act.apply(&waiting_for("e07"));
    wait_until_running(&act, "unfinished");
    let before = ["done", "unfinished"].map(|name| uids(&act, "jobs", name));

    act.cluster.stop_kubelet().expect("it runs");
    act.cluster.remove_node(NODE).expect("it is there");
    for name in ["done", "unfinished"] {
        wait_for_status(&act, name, "/status/desired", &json!(0));
    }
    act.eventually("the event", || {
        let events = act.try_run("get events --field-selector=reason=NodeGone -o name")?;
        Ok((!events.is_empty()).then_some(()))
    });
    act.cluster.start_kubelet().expect("the node is there again");
    wait_for_status(&act, "done", "/status/succeeded", &json!(1));
    wait_until_running(&act, "unfinished");
    for (name, old) in ["done", "unfinished"].iter().zip(&before) {
        let new = uids(&act, "jobs", name);
        assert_eq!(new.len(), 1, "{name}");
        assert_ne!(&new, old, "{name} kept the Job of another node");
    }
    let pod = format!("exec job/{}", job_name(&act, "unfinished"));
    assert_eq!(act.run(&format!("{pod} -- cat /notes/e07-runs")), "ran\nran\n");
    let_it_end(&act, "e07");
    assert_one_at_a_time(&act.seen(&jobs, "ADDED", 2), |_| false);
    wait_until_admitting(&act);
    act.wait_for_replicas();
}
