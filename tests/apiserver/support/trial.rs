//! A namespace of its own for one test, and the words in which tests are written.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;

use anyhow::{Context as _, Result, bail, ensure};
use daemonjob_cluster::{Node, Output, until};
use serde_json::Value;

use super::DEADLINE;
use super::operator::logs;
use super::world::{self, Duty, World};

/// The annotation that both DaemonJobs and Jobs carry.
pub(crate) const HASH: &str = "daemon.justk8s.com/template-hash";

/// The label of nodes that a test made.
const MADE: &str = "made-by-a-test";

/// The counters of a status, in the order in which [`Trial::shows`] names them.
const COUNTERS: [&str; 7] = [
    "desired",
    "active",
    "succeeded",
    "failed",
    "waiting",
    "outdated",
    "skipped",
];

/// One test: its world and its namespace.
pub(crate) struct Trial {
    /// There until the trial is dropped.
    world: Option<World>,
    pub(crate) namespace: String,
    made_nodes: Cell<bool>,
}

/// A Job of a DaemonJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) hash: String,
    pub(crate) is_deleted: bool,
}

impl Deref for Trial {
    type Target = World;

    fn deref(&self) -> &World {
        self.world.as_ref().expect("it is there until the trial is dropped")
    }
}

impl Trial {
    /// Takes a world, in which nobody else is, and makes a namespace there.
    /// Its nodes: `edge`, `linux-1` and `linux-2` (os=linux, and `edge` ingress=true), `plain`, and `guarded`, which
    /// is tainted.
    pub(crate) fn begin() -> Self {
        Self::begin_with(Duty::All)
    }

    /// The same in a world whose process does this much.
    pub(crate) fn begin_with(duty: Duty) -> Self {
        let trial = Self {
            world: Some(world::take(duty)),
            namespace: namespace_of_this_test(),
            made_nodes: Cell::new(false),
        };
        trial
            .cluster
            .run(["create", "namespace", &trial.namespace])
            .expect("the namespace is new");
        // A Pod that comes before its service account is refused, and tried again only after a second.
        trial.run("wait --for=create serviceaccount/default --timeout=60s");
        trial
    }

    /// Runs kubectl in the namespace of this test.
    pub(crate) fn kubectl(&self, line: &str) -> Output {
        self.kubectl_with(line, "")
    }

    /// Runs kubectl in the namespace of this test, with an input.
    pub(crate) fn kubectl_with(&self, line: &str, input: &str) -> Output {
        let args = line.split_whitespace().chain(["--namespace", &self.namespace]);
        self.cluster.kubectl_stdin(args, input).expect("kubectl runs")
    }

    /// What a kubectl prints that succeeds.
    pub(crate) fn run(&self, line: &str) -> String {
        self.kubectl(line).checked().expect("kubectl succeeds")
    }

    /// The JSON that a kubectl prints.
    pub(crate) fn json(&self, line: &str) -> Value {
        self.try_json(line).expect("kubectl prints JSON")
    }

    fn try_json(&self, line: &str) -> Result<Value> {
        let text = self.kubectl(&format!("{line} -o json")).checked()?;
        serde_json::from_str(&text).context("kubectl printed no JSON")
    }

    /// Applies a manifest that the API server must accept; what kubectl said, warnings included.
    pub(crate) fn accepts(&self, manifest: &impl ToString) -> Output {
        let output = self.kubectl_with("apply -f -", &manifest.to_string());
        assert!(output.is_success(), "refused: {}", output.stderr);
        output
    }

    /// Applies a manifest that the API server must refuse; its words.
    pub(crate) fn rejects(&self, manifest: &impl ToString) -> String {
        let output = self.kubectl_with("apply -f -", &manifest.to_string());
        assert!(!output.is_success(), "accepted: {}", output.stdout);
        output.stderr
    }

    /// Asks until there is a value.
    pub(crate) fn eventually<T>(&self, what: &str, probe: impl FnMut() -> Result<Option<T>>) -> T {
        until(what, DEADLINE, probe).expect("it comes in time")
    }

    /// Waits until the condition is true.
    pub(crate) fn wait_for(&self, condition: &str, daemon_job: &str) {
        self.run(&format!(
            "wait --for=condition={condition} dj/{daemon_job} --timeout=60s"
        ));
    }

    /// A DaemonJob as it is stored.
    pub(crate) fn daemon_job(&self, name: &str) -> Value {
        self.json(&format!("get dj {name}"))
    }

    /// Waits until the status of the current generation shows these counters, and no others above zero:
    /// `4 desired, 4 succeeded, 1 skipped`.
    pub(crate) fn shows(&self, name: &str, expected: &str) -> Value {
        self.eventually(expected, || {
            let it = self.try_json(&format!("get dj {name}"))?;
            ensure!(
                it["status"]["observedGeneration"] == it["metadata"]["generation"],
                "the status is of an older generation"
            );
            assert_counters_add_up(&it);
            let shown = counters(&it);
            if shown != expected {
                bail!("it shows {shown}; conditions: {}", it["status"]["conditions"]);
            }
            Ok(Some(it))
        })
    }

    /// The Jobs of a DaemonJob by node, those being deleted included. More than one on a node is a failure in itself.
    pub(crate) fn jobs(&self, name: &str) -> BTreeMap<String, Job> {
        let list = self.json(&format!("get jobs -l daemon.justk8s.com/daemonjob={name}"));
        let mut jobs = BTreeMap::new();
        for item in items(&list) {
            let job = Job {
                name: text(&item["metadata"]["name"]),
                uid: text(&item["metadata"]["uid"]),
                hash: text(&item["metadata"]["annotations"][HASH]),
                is_deleted: !item["metadata"]["deletionTimestamp"].is_null(),
            };
            let node = text(&item["metadata"]["annotations"]["daemon.justk8s.com/node-name"]);
            let other = jobs.insert(node, job);
            assert!(other.is_none(), "two Jobs on a node (G1): {other:?} and {item}");
        }
        jobs
    }

    /// Ends the Pod of a DaemonJob on a node as its kubelet would: `Succeeded` or `Failed`.
    pub(crate) fn end_pod(&self, daemon_job: &str, node: &str, phase: &str) {
        let job = self.jobs(daemon_job).remove(node).expect("the node has a Job");
        let of_job = format!("get pods -l batch.kubernetes.io/controller-uid={}", job.uid);
        let pod = self.eventually("the Pod to run", || {
            let pods = self.try_json(&of_job)?;
            let is_running =
                |pod: &&Value| pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
            let running = items(&pods).iter().find(is_running);
            Ok(running.map(|pod| text(&pod["metadata"]["name"])))
        });
        let status = format!(r#"{{"status":{{"phase":"{phase}"}}}}"#);
        self.run(&format!(
            "patch pod {pod} --subresource=status --type=merge -p {status}"
        ));
    }

    /// Waits until there are Events with this reason; their notes.
    pub(crate) fn event(&self, reason: &str) -> Vec<String> {
        self.eventually(&format!("an Event {reason}"), || {
            let list = self.try_json(&format!("get events.events.k8s.io --field-selector reason={reason}"))?;
            let notes: Vec<String> = items(&list).iter().map(|event| text(&event["note"])).collect();
            Ok((!notes.is_empty()).then_some(notes))
        })
    }

    /// Makes the controller look again at a finished DaemonJob in the one way that would bring out any urge to run
    /// it again, and waits until it has: with `replace: true`, whatever is not on the current template runs.
    pub(crate) fn replans(&self, name: &str, expected: &str) -> Value {
        self.run(&format!(
            r#"patch dj {name} --type=merge -p {{"spec":{{"replace":true}}}}"#
        ));
        self.shows(name, expected)
    }

    /// The sum of the series of the process that begin so.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let operator = self.operator();
        let operator = operator.as_ref().expect("the process runs");
        operator.metric(series).expect("it tells its metrics")
    }

    /// Makes nodes, waits until they are ready, and deletes them when the test ends.
    pub(crate) fn add_nodes(&self, nodes: &[Node]) {
        self.made_nodes.set(true);
        let nodes: Vec<Node> = nodes.iter().map(|node| node.clone().label(MADE, "")).collect();
        self.cluster.add_nodes(&nodes).expect("the nodes become ready");
    }

    /// Makes a node whose label `test` has this value.
    pub(crate) fn add_node(&self, name: &str, test: &str) {
        self.add_nodes(&[Node::new(name).label("test", test)]);
    }

    /// Takes away what would keep the controller busy while other tests run, and the nodes that are not theirs.
    fn clean_up(&self) -> Result<()> {
        self.kubectl("delete dj --all --wait=false").checked()?;
        if self.made_nodes.get() {
            // One request: by name, kubectl takes a fifth of a second for each.
            let all = format!("/api/v1/nodes?labelSelector={MADE}");
            self.cluster.run(["delete", "--raw", &all])?;
        }
        Ok(())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if std::thread::panicking() {
            show(&logs(self.cluster.folder(), &self.namespace));
            let objects = self.kubectl("get dj,jobs,pods,events -o wide");
            show(&(objects.stdout + &objects.stderr));
        }
        let complaint = self.complaint();
        let cleaned = self.clean_up();
        let world = self.world.take().expect("it is dropped once");
        if let Err(error) = world::give_back(world).and(cleaned) {
            show(&format!(
                "the world could not be put right for the next test: {error:#}"
            ));
        }
        let is_quiet = complaint.is_none() || std::thread::panicking();
        assert!(is_quiet, "the process complains: {complaint:?}");
    }
}

/// For a human: the test harness keeps it for a test that fails, or shows it on demand.
#[expect(clippy::print_stderr, reason = "the test harness captures it")]
pub(crate) fn show(text: &str) {
    eprintln!("{text}");
}

/// The name of the test, as a name that Kubernetes takes.
pub(crate) fn namespace_of_this_test() -> String {
    const LONGEST: usize = 50;
    let thread = std::thread::current();
    let name = thread.name().expect("a test runs in a thread with its name");
    let name = name.rsplit("::").next().unwrap_or(name).replace('_', "-");
    let name = name.get(..LONGEST).unwrap_or(&name);
    name.trim_end_matches('-').to_owned()
}

/// The items of a list.
pub(crate) fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text that must be there.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().expect("it is a text").to_owned()
}

/// A condition of a DaemonJob; null if it has none of that type.
pub(crate) fn condition<'a>(daemon_job: &'a Value, type_: &str) -> &'a Value {
    let conditions = daemon_job["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == type_));
    found.unwrap_or(&Value::Null)
}

/// `TYPE=STATUS (REASON)` of a condition, or `none`.
pub(crate) fn told(daemon_job: &Value, type_: &str) -> String {
    let condition = condition(daemon_job, type_);
    if condition.is_null() {
        return "none".to_owned();
    }
    format!(
        "{type_}={} ({})",
        text(&condition["status"]),
        text(&condition["reason"])
    )
}

fn counter(daemon_job: &Value, name: &str) -> i64 {
    daemon_job["status"][name].as_i64().unwrap_or_default()
}

fn counters(daemon_job: &Value) -> String {
    let shown = COUNTERS.iter().map(|name| (counter(daemon_job, name), name));
    let shown: Vec<String> = shown
        .filter(|(count, _)| *count != 0)
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join(", ")
    }
}

/// G5, at every look.
fn assert_counters_add_up(daemon_job: &Value) {
    let sum: i64 = ["active", "succeeded", "failed", "waiting"]
        .iter()
        .map(|name| counter(daemon_job, name))
        .sum();
    assert_eq!(counter(daemon_job, "desired"), sum, "G5: {}", daemon_job["status"]);
}
