//! A node with a kubelet and containers of its own: Pods run, their logs are read, and nothing of it stays.
#![allow(
    clippy::unwrap_used,
    reason = "all of this is test code; the lint only knows test functions"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use daemonjob_cluster::{Cluster, Node, Options, Tools, until};

const DEADLINE: Duration = Duration::from_secs(120);
/// The first argument of the copy of this test that is killed.
const OWNER: &str = "owner_of_a_node_that_is_killed";

fn tools() -> Option<Tools> {
    Tools::of_a_real_node_or_skip().unwrap()
}

fn start_in(workdir: &Path, tools: &Tools) -> Cluster {
    let options = Options {
        workdir: Some(workdir.join("clusters")),
        nodes: vec![Node::new("played")],
        real_node: Some("real".to_owned()),
        ..Options::default()
    };
    Cluster::start(tools, &options).unwrap()
}

/// Runs a busybox command on the real node, as a Pod that ends by itself.
fn pod(name: &str, script: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}"}}, "spec": {{
            "nodeName": "real", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{{"name": "main", "image": "busybox:stable", "command": ["sh", "-c", "{script}"]}}]}}}}"#
    )
}

fn wait_for_phase(cluster: &Cluster, pod: &str, phase: &str) {
    cluster
        .run([
            "wait",
            "--timeout=120s",
            &format!("pod/{pod}"),
            &format!("--for=jsonpath={{.status.phase}}={phase}"),
        ])
        .unwrap();
}

/// How long the endless Pod of an owner sleeps: no other command line of the machine holds it.
fn mark(owner: u32) -> String {
    format!("{}", 3_000_000_000_u64 + u64::from(owner))
}

/// The processes whose command line holds a text.
fn processes_with(text: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let holds = |file: PathBuf| {
        let bytes = fs::read(file).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    let own = PathBuf::from(format!("/proc/{}", std::process::id()));
    entries
        .filter(|process| *process != own && holds(process.join("cmdline")))
        .collect()
}

/// The network namespaces that processes of this machine are in.
fn networks() -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut networks: Vec<PathBuf> = entries
        .filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok())
        .collect();
    networks.sort();
    networks.dedup();
    networks
}

/// The control groups of a node, in every hierarchy.
fn groups(name: &str) -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).unwrap().flatten().map(|entry| entry.path());
    std::iter::once(top.to_owned())
        .chain(hierarchies)
        .map(|hierarchy| hierarchy.join(name))
        .filter(|group| group.is_dir())
        .collect()
}

/// What a node leaves traces of while it is there.
struct Traces {
    folder: PathBuf,
    group: String,
    /// In the command line of the Pod that still runs.
    mark: String,
    network: PathBuf,
}

impl Traces {
    fn of(folder: &Path, mark: &str) -> Self {
        let group = fs::read_to_string(folder.join("cgroup")).unwrap();
        let pid = group.rsplit('-').next().unwrap();
        let network = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let traces = Self {
            folder: folder.to_owned(),
            group,
            mark: mark.to_owned(),
            network,
        };
        // A trace that cannot be seen now would not be missed later.
        assert!(!groups(&traces.group).is_empty());
        assert!(!processes_with(mark).is_empty());
        assert!(networks().contains(&traces.network));
        traces
    }

    fn wait_until_gone(&self) {
        until("the traces of the node to be gone", DEADLINE, || {
            let left = self.left();
            anyhow::ensure!(left.is_empty(), "left: {left:?}");
            Ok(Some(()))
        })
        .unwrap();
    }

    fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = groups(&self.group)
            .into_iter()
            .chain(processes_with(&self.mark))
            .chain(processes_with(&format!("{}/", self.folder.display())))
            .map(|path| path.display().to_string())
            .collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.display().to_string();
        left.extend(mounts.lines().filter(|line| line.contains(&folder)).map(str::to_owned));
        if networks().contains(&self.network) {
            left.push(self.network.display().to_string());
        }
        if self.folder.exists() {
            left.push(folder);
        }
        left
    }
}

#[test]
fn pods_run_beside_played_nodes_their_logs_are_read_and_nothing_stays() {
    let Some(tools) = tools() else { return };
    let workdir = tempfile::tempdir().unwrap();
    let cluster = start_in(workdir.path(), &tools);
    let mark = mark(std::process::id());
    // busybox speaks no TLS that the API server takes; its refusal of plain text is an answer, too.
    let ask = "echo GET / | nc -w 60 $KUBERNETES_SERVICE_HOST 443";
    cluster
        .apply(&[pod("hello", "echo from a container"), pod("asks", ask)].join("\n---\n"))
        .unwrap();
    cluster
        .apply(&pod("endless", &format!("echo {mark}; sleep {mark}")))
        .unwrap();
    wait_for_phase(&cluster, "hello", "Succeeded");
    assert_eq!(cluster.run(["logs", "hello"]).unwrap(), "from a container\n");
    wait_for_phase(&cluster, "asks", "Succeeded");
    let answer = cluster.run(["logs", "asks"]).unwrap();
    assert!(answer.contains("to an HTTPS server"), "{answer}");
    wait_for_phase(&cluster, "endless", "Running");

    cluster.stop_kubelet().unwrap();
    assert!(!processes_with(&mark).is_empty(), "the container went with its kubelet");
    cluster.start_kubelet().unwrap();
    // The new kubelet hears of its Pods a moment after it answers.
    let logs = until("the log", DEADLINE, || cluster.run(["logs", "endless"]).map(Some)).unwrap();
    assert_eq!(logs, format!("{mark}\n"));

    let traces = Traces::of(cluster.folder(), &mark);
    drop(cluster);
    traces.wait_until_gone();
}

/// Not a test of its own: the owner that the next test kills.
#[test]
fn owner_of_a_node_that_is_killed() {
    let Some(workdir) = std::env::var_os("REAL_NODE_WORKDIR") else {
        return;
    };
    let Some(tools) = tools() else { return };
    let workdir = PathBuf::from(workdir);
    let cluster = start_in(&workdir, &tools);
    let script = format!("sleep {}", mark(std::process::id()));
    cluster.apply(&pod("endless", &script)).unwrap();
    wait_for_phase(&cluster, "endless", "Running");
    // Under another name first: whoever finds the file finds all of it.
    fs::write(workdir.join("folder"), cluster.folder().to_str().unwrap()).unwrap();
    fs::rename(workdir.join("folder"), workdir.join("running")).unwrap();
    // It may return at any time.
    loop {
        std::thread::park();
    }
}

#[test]
fn nothing_stays_when_the_owner_is_killed() {
    if tools().is_none() {
        return;
    }
    let workdir = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", OWNER, "--nocapture"])
        .env("REAL_NODE_WORKDIR", workdir.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let running = workdir.path().join("running");
    until("the Pod of the other process", DEADLINE * 2, || {
        assert!(owner.try_wait().unwrap().is_none(), "the other process has ended");
        Ok(running.exists().then_some(()))
    })
    .unwrap();
    let folder = PathBuf::from(fs::read_to_string(&running).unwrap());
    let traces = Traces::of(&folder, &mark(owner.id()));
    owner.kill().unwrap();
    owner.wait().unwrap();
    traces.wait_until_gone();
}
