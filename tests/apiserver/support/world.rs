//! A cluster with the chart installed by helm, and the process with the permissions of the chart.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Result;
use daemonjob_cluster::{Cluster, Node, Options, Output, Tools, until};
use serde_json::{Value, json};

use super::DEADLINE;
use super::manifest::daemon_job;
use super::monitor::{AUDIT_POLICY, Monitor};
use super::operator::{Operator, Start, complaints, free_port};
pub(crate) use super::rules::SYSTEM;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/daemonjob");
/// The name of the process on the Lease. One that is killed and started again goes on as itself.
pub(crate) const IDENTITY: &str = "first";

/// What the process of a world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// All of it, as one replica in production.
    All,
    /// Reviews alone: the test starts controllers of its own.
    Webhook,
}

impl Duty {
    fn flags(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::Webhook => &["--controller=false"],
        }
    }
}

/// A cluster, the chart in it and the process beside it, until the test binary ends: the reaper of the cluster takes
/// the process along.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// The port that the webhook configurations name.
    port: u16,
    pub(crate) kubeconfig: PathBuf,
    duty: Duty,
    monitor: Monitor,
    operator: Mutex<Option<Operator>>,
    /// A test took something of the chart away: [`Self::heal`] puts it back.
    pub(crate) is_disturbed: AtomicBool,
    /// Lines of the logs that a test has brought about: they are no complaints.
    pub(crate) excused: Mutex<HashSet<String>>,
}

/// The programs, built once if need be.
pub(crate) fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let mut progress = |line: &str| {
            use std::io::Write as _;
            // The only sign of life of a cold build; a closed stderr is no reason to fail.
            drop(writeln!(std::io::stderr(), "{line}"));
        };
        Tools::ensure(&mut progress).expect("the tools are there or can be built")
    })
}

/// Nodes of mixed labels for the seed manifests, of which one has a taint that they do not tolerate.
fn mixed_nodes() -> Vec<Node> {
    vec![
        Node::new("edge").label("os", "linux").label("ingress", "true"),
        Node::new("guarded").taint("team=other:NoSchedule"),
        Node::new("linux-1").label("os", "linux"),
        Node::new("linux-2").label("os", "linux"),
        Node::new("plain"),
    ]
}

/// As many as two cores carry.
const WORLDS: usize = 2;

/// The worlds that nobody uses, and how many there are altogether.
struct Pool {
    idle: Vec<World>,
    made: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    idle: Vec::new(),
    made: 0,
});
static RETURNED: Condvar = Condvar::new();

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a world: an idle one, a new one, or the first that somebody gives back.
/// All tests of a binary ask for the same duty.
pub(crate) fn take(duty: Duty) -> World {
    let mut pool = pool();
    loop {
        if let Some(world) = pool.idle.pop() {
            assert_eq!(world.duty, duty);
            return world;
        }
        if pool.made < WORLDS {
            break;
        }
        pool = RETURNED.wait(pool).unwrap_or_else(PoisonError::into_inner);
    }
    pool.made += 1;
    drop(pool);
    std::panic::catch_unwind(|| World::start(duty)).unwrap_or_else(|panic| {
        give_up();
        std::panic::resume_unwind(panic)
    })
}

/// Gives a world back, if it could be put right; else another one may be made in its place.
pub(crate) fn give_back(world: World) -> Result<()> {
    match world.heal() {
        Ok(()) => {
            pool().idle.push(world);
            RETURNED.notify_one();
            Ok(())
        }
        Err(error) => {
            drop(world);
            give_up();
            Err(error)
        }
    }
}

fn give_up() {
    pool().made -= 1;
    RETURNED.notify_one();
}

impl World {
    fn start(duty: Duty) -> Self {
        let options = Options {
            nodes: mixed_nodes(),
            ..Options::default()
        };
        Self::with(duty, options)
    }

    /// A world of its own kind, which is none of the pool.
    pub(crate) fn with(duty: Duty, options: Options) -> Self {
        let options = Options {
            audit_policy: Some(AUDIT_POLICY.to_owned()),
            ..options
        };
        let cluster = Cluster::start(tools(), &options).expect("a cluster starts");
        let port = free_port();
        install(&cluster, port);
        let kubeconfig = kubeconfig_of(&cluster, "daemonjob", SYSTEM);
        let world = Self {
            monitor: Monitor::new(&cluster),
            cluster,
            port,
            kubeconfig,
            duty,
            operator: Mutex::default(),
            is_disturbed: AtomicBool::new(false),
            excused: Mutex::default(),
        };
        world.heal().expect("the process becomes ready and leads");
        world
    }

    /// Starts a process that is not ready yet.
    pub(crate) fn spawn(&self, identity: &str, port: u16) -> Operator {
        self.spawn_with(&self.kubeconfig, identity, port, &[])
    }

    pub(crate) fn spawn_with(&self, kubeconfig: &Path, identity: &str, port: u16, flags: &[&str]) -> Operator {
        Operator::start(&Start {
            folder: self.cluster.folder(),
            kubeconfig,
            identity,
            port,
            url_port: self.port,
            log_level: "info,daemonjob=debug",
            drain_seconds: "1",
            flags,
        })
    }

    /// Starts the process with the controller switched off, in the place of the one that was taken.
    pub(crate) fn spawn_without_controller(&self) -> Operator {
        self.spawn_with(&self.kubeconfig, IDENTITY, self.port, Duty::Webhook.flags())
    }

    /// Starts a second process that leads beside the first: it has a Lease of its own. The chart's account may not
    /// have that one.
    pub(crate) fn spawn_rival(&self) -> Operator {
        let flags = ["--webhook=false", "--lease-name=rival"];
        self.spawn_with(&self.cluster.kubeconfig(), "rival", free_port(), &flags)
    }

    /// The process that serves this world; it stays there.
    pub(crate) fn operator(&self) -> MutexGuard<'_, Option<Operator>> {
        self.operator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, for a test that ends it.
    pub(crate) fn take_operator(&self) -> Operator {
        self.operator().take().expect("the process runs")
    }

    /// Starts the process again and waits until it leads; the webhook takes some seconds more.
    pub(crate) fn restart(&self) {
        let operator = self.spawn(IDENTITY, self.port);
        operator.wait_leading(DEADLINE).expect("the process leads");
        *self.operator() = Some(operator);
    }

    /// Waits until the process is ready to be asked for reviews.
    pub(crate) fn wait_ready(&self) {
        let mut operator = self.operator();
        let ready = operator.as_mut().map(Operator::wait_ready);
        ready.expect("the process runs").expect("it becomes ready");
    }

    /// What the process has complained of, or has sent though it should not: since the start of the cluster, and since
    /// the last time.
    pub(crate) fn complaint(&self) -> Option<String> {
        let sent = || self.monitor.complaint().expect("the audit log can be read");
        let excused = self.excused.lock().unwrap_or_else(PoisonError::into_inner);
        let told = complaints(self.cluster.folder());
        told.into_iter().find(|line| !excused.contains(line)).or_else(sent)
    }

    /// Takes the webhook configurations away.
    pub(crate) fn remove_webhook(&self) {
        self.is_disturbed.store(true, Ordering::Relaxed);
        let line = "delete mutatingwebhookconfiguration,validatingwebhookconfiguration daemonjob";
        self.cluster.run(line.split(' ')).expect("the chart made them");
        let refused = json!({
            "apiVersion": "daemon.justk8s.com/v1alpha1", "kind": "DaemonJob",
            "metadata": {"name": "probe", "namespace": SYSTEM},
            "spec": {"jobTemplate": {}},
        });
        until("the webhook not to be asked any more", DEADLINE, || {
            self.try_create(&refused).map(Some)
        })
        .expect("the API server notices");
    }

    fn try_create(&self, daemon_job: &Value) -> Result<String> {
        let args = ["create", "--namespace", SYSTEM, "--dry-run=server", "-f", "-"];
        self.cluster.kubectl_stdin(args, &daemon_job.to_string())?.checked()
    }

    /// The chart's objects, as `helm template` prints them for this world.
    pub(crate) fn render(&self) -> String {
        let url = url(self.port);
        let args = [
            "template",
            "daemonjob",
            CHART,
            "--skip-tests",
            "--namespace",
            SYSTEM,
            "--set",
            &url,
        ];
        self.cluster
            .helm(args)
            .and_then(Output::checked)
            .expect("helm renders the chart")
    }

    /// Puts right what a test disturbed, so that the next one finds what it expects.
    pub(crate) fn heal(&self) -> Result<()> {
        let is_disturbed = self.is_disturbed.swap(false, Ordering::Relaxed);
        if is_disturbed {
            install(&self.cluster, self.port);
        }
        let mut slot = self.operator();
        let running = slot.take().and_then(Operator::if_running);
        let start = || self.spawn_with(&self.kubeconfig, IDENTITY, self.port, self.duty.flags());
        let mut operator = running.unwrap_or_else(start);
        operator.wait_ready()?;
        if self.duty == Duty::All {
            operator.wait_leading(DEADLINE)?;
        }
        *slot = Some(operator);
        drop(slot);
        if is_disturbed {
            // The process was ready all the time, or so it thought until it looked again.
            let accepted = daemon_job("probe");
            until("the webhook to be trusted", DEADLINE, || {
                self.try_create(&accepted).map(Some)
            })?;
        }
        Ok(())
    }
}

/// The value of the chart for a process that listens there.
fn url(port: u16) -> String {
    format!("webhook.url=https://127.0.0.1:{port}")
}

/// Installs the chart, or puts back what is missing of it.
pub(crate) fn install(cluster: &Cluster, port: u16) {
    install_with(cluster, port, &[]);
}

/// The same with values of the test's own.
pub(crate) fn install_with(cluster: &Cluster, port: u16, flags: &[&str]) {
    let url = url(port);
    let args = [
        "upgrade",
        "--install",
        "daemonjob",
        CHART,
        "--namespace",
        SYSTEM,
        "--create-namespace",
        "--set",
        &url,
    ];
    cluster
        .helm(args.into_iter().chain(flags.iter().copied()))
        .and_then(Output::checked)
        .expect("helm installs the chart");
    let established = "wait --for=condition=Established crd/daemonjobs.daemon.justk8s.com --timeout=30s";
    // kubectl gives up on an object that has no conditions yet.
    until("the CRD", DEADLINE, || cluster.run(established.split(' ')).map(Some)).expect("the CRD is established");
    // Discovery learns of it a moment later, and kubectl remembers for hours what it discovered.
    until("kubectl to know it", DEADLINE, || {
        let known = cluster.run(["api-resources", "--api-group=daemon.justk8s.com", "--output=name"])?;
        Ok(known.contains("daemonjobs").then_some(()))
    })
    .expect("discovery learns of the CRD");
}

/// A kubeconfig of a service account: whoever uses it may do what that account may.
pub(crate) fn kubeconfig_of(cluster: &Cluster, account: &str, namespace: &str) -> PathBuf {
    let token = cluster.run(["create", "token", account, "--namespace", namespace, "--duration=2h"]);
    let token = token.expect("the service account is there");
    let mut config = cluster
        .json(["config", "view", "--raw", "--flatten"])
        .expect("there is a kubeconfig");
    config["users"] = json!([{"name": account, "user": {"token": token.trim()}}]);
    let contexts = config["contexts"].as_array_mut().expect("a kubeconfig has contexts");
    for context in contexts {
        context["context"]["user"] = json!(account);
    }
    let file = cluster.folder().join(format!("{namespace}-{account}.kubeconfig"));
    std::fs::write(&file, config.to_string()).expect("the folder can be written");
    file
}
