//! The control plane itself: it starts, plays nodes and Pods, survives what tests do to it, and leaves nothing behind.
#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code; the lint only knows test functions"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use daemonjob_cluster::{Call, Cluster, Component, ExtraArg, Node, Options, Tools, until};

const DEADLINE: Duration = Duration::from_secs(60);

fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| {
        Tools::ensure(&mut |line| {
            // The only sign of life of a cold build, for whoever runs the tests with --nocapture.
            use std::io::Write;
            drop(writeln!(std::io::stderr(), "{line}"));
        })
        .expect("the tools are there or can be built")
    })
}

fn workdir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// In the usual folder, so that the logs of a test that fails stay.
fn start(nodes: Vec<Node>) -> Cluster {
    Cluster::start(
        tools(),
        &Options {
            nodes,
            ..Options::default()
        },
    )
    .unwrap()
}

fn start_in(workdir: &Path, nodes: Vec<Node>) -> Cluster {
    let options = Options {
        workdir: Some(workdir.join("clusters")),
        nodes,
        ..Options::default()
    };
    Cluster::start(tools(), &options).unwrap()
}

/// The processes whose program lies in a folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let commands = entries.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    commands
        .filter(|command| command.starts_with(&format!("{}/", folder.display())))
        .collect()
}

fn assert_nothing_is_left(folder: &Path) {
    assert!(!folder.exists(), "{} is still there", folder.display());
    assert_eq!(processes_of(folder), Vec::<String>::new());
}

fn wait_until_nothing_is_left(folder: &Path) {
    let is_gone = || !folder.exists() && processes_of(folder).is_empty();
    until("the cluster to be gone", DEADLINE, || Ok(is_gone().then_some(()))).unwrap();
}

fn job(name: &str, outcome: &str) -> String {
    format!(
        r#"{{"apiVersion": "batch/v1", "kind": "Job", "metadata": {{"name": "{name}"}},
            "spec": {{"backoffLimit": 0, "template": {{
                "metadata": {{"labels": {{"outcome": "{outcome}"}}}},
                "spec": {{"restartPolicy": "Never", "containers": [{{"name": "main", "image": "none"}}]}}}}}}}}"#
    )
}

/// Waits until the Job has a condition, or an active Pod that is running and ready.
fn wait_for_job(cluster: &Cluster, name: &str, what: &str) {
    cluster
        .run([
            "wait",
            "--timeout=60s",
            &format!("job/{name}"),
            &format!("--for={what}"),
        ])
        .unwrap();
}

#[test]
fn two_clusters_run_side_by_side_and_end_with_their_owners() {
    let workdir = workdir();
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| start_in(workdir.path(), Node::several(2)));
        let two = scope.spawn(|| start_in(workdir.path(), vec![Node::new("lonely")]));
        (one.join().unwrap(), two.join().unwrap())
    });
    let names = |cluster: &Cluster| cluster.run(["get", "nodes", "-o", "name"]).unwrap();
    assert_eq!(names(&one), "node/node-1\nnode/node-2\n");
    assert_eq!(names(&two), "node/lonely\n");

    let folder = one.folder().to_owned();
    assert_eq!(processes_of(&folder).len(), Component::ALL.len());
    drop(one);
    assert_nothing_is_left(&folder);
    assert_eq!(names(&two), "node/lonely\n", "the other cluster is untouched");

    let (folder, name) = (two.folder().to_owned(), two.name().to_owned());
    let owner = thread::spawn(move || {
        let _cluster = two;
        panic!("as a failing test does");
    });
    assert!(owner.join().is_err());
    assert_nothing_is_left(&folder);
    let logs = workdir.path().join("cluster-logs").join(name);
    for file in ["kube-apiserver.log", "kwok-controller.log", "objects.txt"] {
        assert!(logs.join(file).is_file(), "{file} was not collected");
    }
    assert!(fs::read_to_string(logs.join("objects.txt")).unwrap().contains("lonely"));
}

#[test]
fn jobs_succeed_fail_or_hang_as_the_label_of_their_pods_says() {
    let cluster = start(Node::several(1));
    cluster
        .apply(&[job("good", "any"), job("bad", "fail"), job("endless", "hang")].join("\n---\n"))
        .unwrap();
    wait_for_job(&cluster, "good", "condition=Complete");
    wait_for_job(&cluster, "bad", "condition=Failed");
    wait_for_job(&cluster, "endless", "jsonpath={.status.ready}=1");
    let endless = cluster.json(["get", "job", "endless"]).unwrap();
    assert_eq!(endless["status"]["active"], 1, "{endless}");
    cluster
        .run(["delete", "job", "endless", "--cascade=foreground", "--timeout=60s"])
        .unwrap();
    assert_eq!(
        cluster
            .run(["get", "pods", "-l", "outcome=hang", "-o", "name"])
            .unwrap(),
        ""
    );
}

#[test]
fn nodes_come_go_and_change() {
    let cluster = start(Vec::new());
    let special = Node::new("special")
        .label("ingress", "true")
        .taint("team=a:NoSchedule")
        .cordoned();
    cluster
        .add_nodes(&[special, Node::new("plain"), Node::new("lifeless").lifeless()])
        .unwrap();
    let node = |name: &str| cluster.json(["get", "node", name]).unwrap();
    let has_taint = |name: &str, key: &str| node(name)["spec"]["taints"].to_string().contains(key);

    assert_eq!(node("special")["metadata"]["labels"]["ingress"], "true");
    assert_eq!(node("special")["spec"]["unschedulable"], true);
    assert!(has_taint("special", "team"));
    assert!(!has_taint("plain", "not-ready"), "a node that is started is usable");
    assert!(has_taint("lifeless", "not-ready"), "nobody plays its kubelet");

    cluster.label("plain", "os=linux").unwrap();
    assert_eq!(node("plain")["metadata"]["labels"]["os"], "linux");
    cluster.unlabel("plain", "os").unwrap();
    assert!(node("plain")["metadata"]["labels"]["os"].is_null());
    cluster.taint("plain", "gpu:NoExecute").unwrap();
    assert!(has_taint("plain", "gpu"));
    cluster.untaint("plain", "gpu").unwrap();
    assert!(!has_taint("plain", "gpu"));
    cluster.cordon("plain").unwrap();
    assert_eq!(node("plain")["spec"]["unschedulable"], true);
    cluster.uncordon("plain").unwrap();
    assert!(node("plain")["spec"]["unschedulable"].is_null());
    cluster.remove_node("special").unwrap();
    let error = cluster.cordon("special").unwrap_err().to_string();
    assert!(
        error.contains("kubectl cordon special") && error.contains("not found"),
        "{error}"
    );
}

#[test]
fn components_stop_start_pause_and_resume() {
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
    let options = Options {
        audit_policy: Some(policy.to_owned()),
        ..Options::with_nodes(1)
    };
    let cluster = Cluster::start(tools(), &options).unwrap();
    let ask = || {
        cluster
            .kubectl(["get", "--raw", "/readyz", "--request-timeout=1s"])
            .unwrap()
    };

    cluster.stop_component(Component::KubeApiserver).unwrap();
    assert!(!ask().is_success());
    cluster.start_component(Component::KubeApiserver).unwrap();
    cluster.stop_component(Component::Etcd).unwrap();
    cluster.start_component(Component::Etcd).unwrap();
    cluster.pause_component(Component::KubeApiserver).unwrap();
    assert!(!ask().is_success());
    cluster.resume_component(Component::KubeApiserver).unwrap();
    cluster.wait_ready().unwrap();

    // Everything else found the API server again: controller manager, scheduler and kwok each have a part in this.
    cluster.apply(&job("after", "any")).unwrap();
    wait_for_job(&cluster, "after", "condition=Complete");
    let calls = cluster.audit_log().news().unwrap();
    let tells =
        |call: &Call| (call.verb.as_str(), call.resource.as_str(), call.name.as_str()) == ("create", "jobs", "after");
    assert!(calls.iter().any(tells), "the audit log tells of the Job");
    let folder = cluster.folder().to_owned();
    drop(cluster);
    assert_nothing_is_left(&folder);
}

#[test]
fn a_component_that_cannot_start_is_named_and_nothing_is_left() {
    let workdir = workdir();
    let clusters = workdir.path().join("clusters");
    let options = Options {
        workdir: Some(clusters.clone()),
        extra_args: vec![ExtraArg::new(Component::KubeScheduler, "no-such-flag", "1")],
        ..Options::default()
    };
    let error = format!("{:#}", Cluster::start(tools(), &options).unwrap_err());
    assert!(
        error.contains("kube-scheduler ended") && error.contains("no-such-flag"),
        "{error}"
    );
    assert_eq!(fs::read_dir(&clusters).unwrap().count(), 0);
    assert_eq!(processes_of(&clusters), Vec::<String>::new());
}

/// A process that owns a cluster in a folder, started by the program of this crate.
struct Owner {
    process: Child,
    workdir: PathBuf,
}

impl Owner {
    fn start(workdir: &Path) -> Self {
        tools();
        let process = Command::new(env!("CARGO_BIN_EXE_daemonjob-cluster"))
            .args(["run", "--nodes", "1", "--", "sh", "-c", "echo $$; exec sleep 300"])
            .env("CARGO_TARGET_DIR", workdir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            process,
            workdir: workdir.join("clusters"),
        }
    }

    /// The folder of its cluster, as soon as a program of it runs.
    fn folder(&self) -> PathBuf {
        until("the first process of the cluster", DEADLINE, || {
            let folders = fs::read_dir(&self.workdir)?
                .flatten()
                .map(|entry| entry.path().canonicalize());
            Ok(folders
                .flatten()
                .find(|folder| processes_of(folder).iter().any(|one| one.contains("/bin/"))))
        })
        .unwrap()
    }

    fn end_with(&mut self, signal: &str) {
        send(signal, &self.process.id().to_string());
        self.process.wait().unwrap();
    }
}

fn send(signal: &str, pid: &str) {
    let status = Command::new("sh")
        .args(["-c", "kill -\"$1\" \"$2\"", "kill", signal, pid])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn an_owner_that_is_killed_leaves_nothing_behind() {
    let workdir = workdir();
    let mut owner = Owner::start(workdir.path());
    let mut pid = String::new();
    BufReader::new(owner.process.stdout.take().unwrap())
        .read_line(&mut pid)
        .unwrap();
    let folder = owner.folder();
    assert_eq!(processes_of(&folder).len(), Component::ALL.len());
    owner.end_with("KILL");
    wait_until_nothing_is_left(&folder);
    send("KILL", pid.trim());
}

#[test]
fn an_owner_that_is_told_to_end_while_the_cluster_starts_leaves_nothing_behind() {
    let workdir = workdir();
    let mut owner = Owner::start(workdir.path());
    let folder = owner.folder();
    // Not INT: a shell makes what it starts in the background deaf to it, and this test inherits that.
    owner.end_with("TERM");
    wait_until_nothing_is_left(&folder);
}

#[test]
fn a_cluster_that_is_kept_stays_until_it_is_removed() {
    let workdir = workdir();
    let clusters = workdir.path().join("clusters");
    let options = Options {
        name: Some("kept".to_owned()),
        workdir: Some(clusters.clone()),
        ..Options::default()
    };
    let mut cluster = Cluster::start(tools(), &options).unwrap();
    cluster.stop_component(Component::KubeScheduler).unwrap();
    cluster.start_component(Component::KubeScheduler).unwrap();
    cluster.keep().unwrap();
    let folder = cluster.folder().to_owned();
    drop(cluster);
    assert_eq!(processes_of(&folder).len(), Component::ALL.len());
    let error = format!("{:#}", Cluster::start(tools(), &options).unwrap_err());
    assert!(error.contains("there is a cluster `kept` already"), "{error}");
    daemonjob_cluster::remove(&clusters, "kept").unwrap();
    assert_nothing_is_left(&folder);
}
