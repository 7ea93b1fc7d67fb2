//! The scene of all tests here: a thousand nodes, one DaemonJob that has run on all of them, and the calls that the
//! process has sent since it started.

use std::ops::{Deref, DerefMut, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use daemonjob_cluster::{AuditLog, Call, Component, ExtraArg, Node, Options, until};
use serde_json::Value;

use crate::calls::kind;
use crate::support::DEADLINE;
use crate::support::manifest::{changed, daemon_job, on, replacing};
use crate::support::operator::logs;
use crate::support::trial::show;
use crate::support::world::{Duty, World};

/// How many nodes there are.
pub(crate) const NODES: usize = 1000;
/// Where the DaemonJob is.
pub(crate) const NAMESPACE: &str = "scale";
/// Its name.
pub(crate) const NAME: &str = "it";
/// The nodes that it selects have `test` with this value.
const SELECTED: &str = "scale";
/// Twenty seconds on two idle cores, nearly all of it the control plane's own work.
const ROLLOUT: &str = "300s";

/// The nodes, the DaemonJob and the log.
pub(crate) struct Scene {
    pub(crate) world: World,
    log: AuditLog,
    calls: Vec<Call>,
    rollout: Range<usize>,
    replacement: Option<Range<usize>>,
}

static SCENE: Mutex<Option<Scene>> = Mutex::new(None);

/// The scene, for as long as a test has it.
pub(crate) struct Act(MutexGuard<'static, Option<Scene>>);

impl Act {
    /// Waits for the scene, which the first test sets.
    pub(crate) fn begin() -> Self {
        let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
        scene.get_or_insert_with(Scene::set);
        Self(scene)
    }
}

impl Deref for Act {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        self.0.as_ref().expect("it is set until the act ends")
    }
}

impl DerefMut for Act {
    fn deref_mut(&mut self) -> &mut Scene {
        self.0.as_mut().expect("it is set until the act ends")
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        // What went wrong for one test must not go wrong for the next. The logs are kept as the cluster goes.
        if std::thread::panicking()
            && let Some(scene) = self.0.take()
        {
            show(&logs(scene.world.cluster.folder(), NAMESPACE));
        }
    }
}

impl Scene {
    fn set() -> Self {
        let nodes = Node::several(NODES);
        let options = Options {
            nodes: nodes.into_iter().map(|node| node.label("test", SELECTED)).collect(),
            extra_args: vec![ExtraArg::new(
                Component::KubeControllerManager,
                "concurrent-job-syncs",
                "20",
            )],
            ..Options::default()
        };
        let world = World::with(Duty::All, options);
        let mut scene = Self {
            log: world.cluster.audit_log(),
            world,
            calls: Vec::new(),
            rollout: 0..0,
            replacement: None,
        };
        scene.run(&format!("create namespace {NAMESPACE}"));
        // A Pod that comes before its service account is refused, and tried again only after a second.
        scene.run("wait --for=create serviceaccount/default --timeout=60s");
        scene.rollout = scene.completes(&on(daemon_job(NAME), SELECTED));
        scene
    }

    /// Applies the DaemonJob and waits until it is complete; the calls that this took.
    fn completes(&mut self, manifest: &Value) -> Range<usize> {
        let begin = self.settle();
        let args = ["apply", "--namespace", NAMESPACE, "-f", "-"];
        let applied = self.world.cluster.kubectl_stdin(args, &manifest.to_string());
        applied.and_then(|output| output.checked()).expect("it is accepted");
        self.run(&format!("wait --for=condition=Complete dj/{NAME} --timeout={ROLLOUT}"));
        begin..self.settle()
    }

    /// The calls of the first rollout.
    pub(crate) fn rollout(&self) -> &[Call] {
        &self.calls[self.rollout.clone()]
    }

    /// The calls of a rollout of another template with `replace: true`, which the first who asks begins.
    pub(crate) fn replacement(&mut self) -> &[Call] {
        let range = match self.replacement.clone() {
            Some(range) => range,
            None => self.completes(&replacing(changed(on(daemon_job(NAME), SELECTED)))),
        };
        self.replacement = Some(range.clone());
        &self.calls[range]
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Waits until whatever the process was about to write must be in the log; how many calls are there.
    /// The first renewal of its Lease may have been on its way before; the second comes 2 s later, which is more than
    /// the second for which a status of this size is held back.
    pub(crate) fn settle(&mut self) -> usize {
        self.read();
        let begin = self.calls.len();
        until("the Lease to be renewed", DEADLINE, || {
            self.read();
            let renewals = self.calls[begin..].iter().filter(|call| kind(call) == "update leases");
            Ok((renewals.count() >= 2).then_some(()))
        })
        .expect("the process renews its Lease");
        self.calls.len()
    }

    fn read(&mut self) {
        self.calls.extend(self.log.news().expect("the log can be read"));
    }

    /// Runs kubectl in the namespace of the DaemonJob.
    pub(crate) fn run(&self, line: &str) -> String {
        let args = line.split_whitespace().chain(["--namespace", NAMESPACE]);
        self.world.cluster.run(args).expect("kubectl succeeds")
    }

    /// The DaemonJob, byte by byte as the API server sends it.
    pub(crate) fn daemon_job(&self) -> String {
        let path = format!("/apis/daemon.justk8s.com/v1alpha1/namespaces/{NAMESPACE}/daemonjobs/{NAME}");
        self.world.cluster.run(["get", "--raw", &path]).expect("it is there")
    }

    /// Its status.
    pub(crate) fn status(&self) -> Value {
        let mut it: Value = serde_json::from_str(&self.daemon_job()).expect("it is JSON");
        it["status"].take()
    }

    /// How many plans the process has made.
    pub(crate) fn plans(&self) -> f64 {
        self.metric(r#"controller_runtime_reconcile_total{controller="daemonjob",result="success"}"#)
    }

    /// How many events of Nodes the process has seen.
    pub(crate) fn node_events(&self) -> f64 {
        self.metric(r#"daemonjob_watch_events_total{kind="Node"}"#)
    }

    fn metric(&self, series: &str) -> f64 {
        let operator = self.world.operator();
        let operator = operator.as_ref().expect("the process runs");
        operator.metric(series).expect("the process tells")
    }

    /// Does something that makes the process plan, and waits until it has.
    pub(crate) fn makes_it_plan(&self, line: &str) {
        let before = self.plans();
        self.run(line);
        until(&format!("a plan after {line}"), DEADLINE, || {
            Ok((self.plans() > before).then_some(()))
        })
        .expect("it plans");
    }
}

/// A status that counts all nodes as succeeded, and none as anything else.
pub(crate) fn assert_all_succeeded(status: &Value) {
    let shown = ["desired", "succeeded", "active", "failed", "waiting", "outdated"]
        .map(|name| status[name].as_u64().unwrap_or_default());
    let all = u64::try_from(NODES).expect("a small number");
    assert_eq!(shown, [all, all, 0, 0, 0, 0], "{}", status["summary"]);
}
