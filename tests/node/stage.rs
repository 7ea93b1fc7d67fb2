//! The stage of all tests here: one cluster whose only node runs containers, with the image in its store.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use daemonjob_cluster::{Cluster, Component, ExtraArg, Options, Output, Tools, until};
use serde_json::Value;

use crate::image;
use crate::release::{Helm, Release, chart, make_namespace};
use crate::support::monitor::{AUDIT_POLICY, Monitor};
use crate::support::operator::is_complaint;
use crate::support::trial::{items, namespace_of_this_test, show, text};
use crate::support::watch::{Event, Watch};
use crate::support::world::SYSTEM;

/// The node.
pub(crate) const NODE: &str = "node-1";
/// Containers start and end in seconds; a busy machine may take long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);

/// The label of the Pods that the chart makes.
const REPLICAS: &str = "app.kubernetes.io/name=daemonjob";

/// The programs; none, said aloud, where no real node can run.
pub(crate) fn tools() -> Option<&'static Tools> {
    static TOOLS: OnceLock<Option<Tools>> = OnceLock::new();
    let tools = TOOLS.get_or_init(|| Tools::of_a_real_node_or_skip().expect("the tools are there or can be built"));
    tools.as_ref()
}

/// What all tests share.
pub(crate) struct Stage {
    pub(crate) tools: &'static Tools,
    pub(crate) cluster: Cluster,
    monitor: Monitor,
    /// What is installed, between the tests as well.
    release: Option<Release>,
}

static STAGE: Mutex<Option<Stage>> = Mutex::new(None);

/// The stage, for as long as a test has it, and a namespace of the test's own.
pub(crate) struct Act {
    stage: MutexGuard<'static, Option<Stage>>,
    pub(crate) namespace: String,
}

impl Act {
    /// Waits for the stage, which the first test sets; nothing is installed on it.
    pub(crate) fn bare() -> Option<Self> {
        Self::begin(|stage| {
            if let Some(release) = stage.release.take() {
                release.remove(&stage.cluster);
            }
        })
    }

    /// The same with the chart installed, which may be the one that an earlier test left.
    pub(crate) fn installed() -> Option<Self> {
        Self::begin(|stage| {
            let install = || Release::install(&stage.cluster, Helm::FourServerSide, &chart());
            stage.release.get_or_insert_with(install);
        })
    }

    fn begin(prepare: impl FnOnce(&mut Stage)) -> Option<Self> {
        let tools = tools()?;
        let mut act = Self {
            stage: STAGE.lock().unwrap_or_else(PoisonError::into_inner),
            namespace: namespace_of_this_test(),
        };
        // What fails from here on takes the stage along.
        prepare(act.stage.get_or_insert_with(|| Stage::set(tools)));
        make_namespace(&act.cluster, &act.namespace);
        Some(act)
    }

    /// Runs kubectl in the namespace of this test.
    pub(crate) fn try_run(&self, line: &str) -> Result<String> {
        // In front: what follows `--` is another program.
        let words = ["--namespace", &self.namespace]
            .into_iter()
            .chain(line.split_whitespace());
        self.cluster.run(words)
    }

    /// The same; it must succeed.
    pub(crate) fn run(&self, line: &str) -> String {
        self.try_run(line).expect("kubectl succeeds")
    }

    /// The JSON that a kubectl prints in the namespace of this test.
    pub(crate) fn json(&self, line: &str) -> Value {
        let text = self.run(&format!("{line} -o json"));
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Applies a manifest that must be admitted.
    pub(crate) fn apply(&self, manifest: &impl ToString) {
        let words = ["apply", "--namespace", &self.namespace, "-f", "-"];
        let applied = self.cluster.kubectl_stdin(words, &manifest.to_string());
        applied.and_then(Output::checked).expect("it is admitted");
    }

    /// Waits until a condition of a DaemonJob is true.
    pub(crate) fn wait_for(&self, daemon_job: &str, condition: &str) {
        self.run(&format!(
            "wait dj/{daemon_job} --for=condition={condition} --timeout=180s"
        ));
    }

    /// What a watch has seen, once it has seen so many events of this type.
    pub(crate) fn seen(&self, watch: &Watch, type_: &str, count: usize) -> Vec<Event> {
        self.eventually(&format!("{count} events {type_}"), || {
            let seen = watch.seen();
            let those = seen.iter().filter(|event| event.type_ == type_).count();
            Ok((those >= count).then_some(seen))
        })
    }

    /// Waits until two replicas are ready, and no third one is there.
    pub(crate) fn wait_for_replicas(&self) {
        self.eventually("two replicas", || {
            let replicas = self.replicas()?;
            let words = ["get", "deployment", "daemonjob", "--namespace", SYSTEM];
            let deployment = self.cluster.json(words)?;
            Ok((replicas.len() == 2 && deployment["status"]["readyReplicas"] == 2).then_some(()))
        });
    }

    /// Records what becomes of the objects of a kind.
    pub(crate) fn watch(&self, what: &str) -> Watch {
        Watch::start_in(&self.cluster, self.tools, &self.namespace, what, 0)
    }
}

impl Deref for Act {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage.as_ref().expect("it is set until the act ends")
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What went wrong for one test must not go wrong for the next. The logs are kept as the cluster goes.
            if let Some(stage) = self.stage.take() {
                show(&stage.told());
            }
            return;
        }
        let sent = self.monitor.complaint().expect("the audit log can be read");
        let complaint = self.complaint().or(sent);
        let gone = self
            .cluster
            .run(["delete", "namespace", &self.namespace, "--wait=false"]);
        assert_eq!(complaint, None);
        gone.expect("it is there");
    }
}

/// A cluster with a real node and the image.
pub(crate) fn cluster(tools: &Tools) -> Cluster {
    let options = Options {
        real_node: Some(NODE.to_owned()),
        audit_policy: Some(AUDIT_POLICY.to_owned()),
        // A node counts as gone after three heartbeats that did not come.
        extra_args: vec![ExtraArg::new(
            Component::KubeControllerManager,
            "node-monitor-grace-period",
            "30s",
        )],
        ..Options::default()
    };
    let cluster = Cluster::start(tools, &options).expect("a cluster starts");
    cluster
        .import_image(image::file(), image::NAME)
        .expect("the node takes the image");
    cluster
}

impl Stage {
    fn set(tools: &'static Tools) -> Self {
        let cluster = cluster(tools);
        Self {
            tools,
            monitor: Monitor::new(&cluster),
            cluster,
            release: None,
        }
    }

    /// Asks until there is a value.
    pub(crate) fn eventually<T>(&self, what: &str, probe: impl FnMut() -> Result<Option<T>>) -> T {
        until(what, DEADLINE, probe).expect("it comes in time")
    }

    /// The names of the replicas' Pods, those that end included.
    pub(crate) fn replicas(&self) -> Result<Vec<String>> {
        let words = ["get", "pods", "--namespace", SYSTEM, "--selector", REPLICAS];
        let pods = self.cluster.json(words)?;
        let name = |pod: &Value| text(&pod["metadata"]["name"]);
        Ok(items(&pods).iter().map(name).collect())
    }

    /// The name of the replica that leads.
    pub(crate) fn leader(&self) -> Result<String> {
        let words = ["get", "lease", "daemonjob", "--namespace", SYSTEM];
        let lease = self.cluster.json(words)?;
        let holder = lease["spec"]["holderIdentity"].as_str().filter(|name| !name.is_empty());
        holder.map(str::to_owned).context("nobody leads")
    }

    /// What the replicas that are there have logged.
    fn logs(&self) -> String {
        let words = [
            "logs",
            "--namespace",
            SYSTEM,
            "--selector",
            REPLICAS,
            "--prefix",
            "--tail=-1",
        ];
        let logs = self.cluster.kubectl(words).expect("kubectl runs");
        logs.stdout
    }

    /// A line of the logs that tells of a defect, or of a right that the chart does not give.
    fn complaint(&self) -> Option<String> {
        self.logs().lines().find(|line| is_complaint(line)).map(str::to_owned)
    }

    /// Everything that may explain a failure.
    fn told(&self) -> String {
        const SHOWN: usize = 120;
        let logs = self.logs();
        let lines: Vec<&str> = logs.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default();
        let pods = self.cluster.kubectl(["get", "dj,jobs,pods,nodes", "-A", "-o", "wide"]);
        let events = self.cluster.kubectl(["get", "events", "-n", SYSTEM]);
        let [pods, events] = [pods, events].map(|output| output.map(|it| it.stdout).unwrap_or_default());
        format!("{pods}\n{events}\n{}\n", tail.join("\n"))
    }
}
