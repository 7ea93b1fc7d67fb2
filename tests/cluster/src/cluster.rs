//! A running cluster.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::audit::AuditLog;
use crate::command::{Output, run};
use crate::component::{Component, Home, Slot};
use crate::environment::Environment;
use crate::launch::{self, Options};
use crate::network::Network;
use crate::node::{self, Node};
use crate::program::Program;
use crate::real::RealNode;
use crate::reaper::Reaper;
use crate::registry;
use crate::tools::Tools;
use crate::wait::until;

/// Seconds on an idle machine; generous, because several clusters may share two cores.
pub(crate) const USABLE_DEADLINE: Duration = Duration::from_secs(120);
/// A node takes 10 to 20 ms.
const NODE_DEADLINE: Duration = Duration::from_millis(60);
/// A request of ours that polls: shorter than the deadline, so that a hung server is asked again.
pub(crate) const REQUEST_TIMEOUT: &str = "--request-timeout=5s";

/// A cluster that lives as long as this value, unless it is kept.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
    home: Home,
    tools: Tools,
    reaper: Reaper,
    pub(crate) real: Option<RealNode>,
    slots: Mutex<BTreeMap<Component, Slot>>,
}

impl Cluster {
    /// Starts a cluster and waits until it is usable: nodes ready, `default` service account there.
    /// Clusters that earlier processes left behind in the same folder are deleted first.
    ///
    /// # Errors
    /// When the name is taken, or something does not come up in time; nothing is left running,
    /// and the logs are in the folder that the error names.
    pub fn start(tools: &Tools, options: &Options) -> Result<Self> {
        let workdir = launch::prepare_workdir(&options.workdir.clone().unwrap_or_else(registry::default_workdir))?;
        registry::sweep(&workdir)?;
        let (name, folder) = claim(&workdir, options.name.as_deref())?;
        let reaper = Reaper::arm(&folder)?;
        let prepare = |node: &String| RealNode::prepare(node, tools, &folder);
        let real = options.real_node.as_ref().map(prepare).transpose()?;
        let home = Home {
            folder: folder.join("kwok/clusters").join(&name),
            network: real
                .as_ref()
                .map_or(Network::Loopback, |node| Network::OfNode(node.entry())),
        };
        let cluster = Self {
            name,
            folder,
            home,
            tools: tools.clone(),
            reaper,
            real,
            slots: Mutex::default(),
        };
        match cluster.bring_up(options) {
            Ok(()) => Ok(cluster),
            Err(error) => {
                let logs = cluster.collect_logs(&cluster.failure_logs());
                let place = logs.map_or_else(
                    |e| format!("no logs: {e:#}"),
                    |()| cluster.failure_logs().display().to_string(),
                );
                Err(error.context(format!("cluster {} could not be started (logs: {place})", cluster.name)))
            }
        }
    }

    fn bring_up(&self, options: &Options) -> Result<()> {
        launch::launch(
            &self.tools,
            &Environment::of_process(),
            &self.folder,
            &self.home,
            &self.name,
            options,
        )?;
        self.wait_usable()?;
        if let Some(node) = &self.real {
            node.start(&self.home.folder.join("pki"), &self.kubeconfig())?;
            self.wait_for_real_node(node)?;
        }
        self.add_nodes(&options.nodes)
    }

    /// The service account stands for API server and controller manager; the nodes, later, for the rest.
    fn wait_usable(&self) -> Result<()> {
        self.wait_for_answer(
            "the service account `default`",
            &["get", "serviceaccount", "default", "-n", "default", REQUEST_TIMEOUT],
        )
    }

    /// Asks until kubectl succeeds.
    /// It fails at once when a component that should run has ended: waiting would not bring it back.
    fn wait_for_answer(&self, what: &str, question: &[&str]) -> Result<()> {
        until(what, USABLE_DEADLINE, || {
            if let Err(error) = self.home.check_alive(self.expected()) {
                return Ok(Some(Err(error)));
            }
            self.run(question).map(|_| Some(Ok(())))
        })?
    }

    /// The components that nobody has stopped.
    fn expected(&self) -> Vec<Component> {
        let slots = self.slots();
        let is_stopped = |one: &Component| matches!(slots.get(one), Some(Slot::Stopped(_)));
        Component::ALL.into_iter().filter(|one| !is_stopped(one)).collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that holds all of it, and that goes with it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How to reach it, as cluster administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The audit log, to be read from its beginning, if an audit policy was given.
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.home.logs().join("audit.log"))
    }

    /// Runs kubectl.
    ///
    /// # Errors
    /// When it cannot be run; whether it succeeded is in the output.
    pub fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        run(self.command(Program::Kubectl).args(args), None)
    }

    /// Runs kubectl with an input, as in `["apply", "-f", "-"]`.
    ///
    /// # Errors
    /// When it cannot be run; whether it succeeded is in the output.
    pub fn kubectl_stdin<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &str) -> Result<Output> {
        run(self.command(Program::Kubectl).args(args), Some(input))
    }

    /// Runs Helm.
    ///
    /// # Errors
    /// When it cannot be run; whether it succeeded is in the output.
    pub fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        run(self.command(Program::Helm).args(args), None)
    }

    /// Runs Helm 3; it comes with the tools of a real node.
    ///
    /// # Errors
    /// When it cannot be run; whether it succeeded is in the output.
    pub fn helm3<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        run(self.command(Program::Helm3).args(args), None)
    }

    /// Standard output of a kubectl that succeeds.
    ///
    /// # Errors
    /// When it does not, with everything it printed.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        self.kubectl(args)?.checked()
    }

    /// Applies manifests.
    ///
    /// # Errors
    /// When the API server refuses them, with its words.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_stdin(["apply", "-f", "-"], manifests)?.checked()
    }

    /// The JSON that a kubectl prints; `-o json` is added.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<serde_json::Value> {
        let text = run(self.command(Program::Kubectl).args(args).args(["-o", "json"]), None)?.checked()?;
        serde_json::from_str(&text).context("kubectl printed no JSON")
    }

    /// Makes nodes and waits until they are ready (lifeless ones: only made).
    ///
    /// # Errors
    /// When a node is refused or does not become ready in time.
    pub fn add_nodes(&self, nodes: &[Node]) -> Result<()> {
        if nodes.is_empty() {
            return Ok(());
        }
        self.kubectl_stdin(["create", "-f", "-"], &node::manifests(nodes)?)?
            .checked()?;
        self.wait_for_nodes(nodes)
    }

    fn wait_for_nodes(&self, nodes: &[Node]) -> Result<()> {
        let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
        let deadline = USABLE_DEADLINE.saturating_add(NODE_DEADLINE.saturating_mul(count));
        until("the nodes to be ready", deadline, || self.check_nodes(nodes).map(Some))
    }

    pub(crate) fn check_nodes(&self, nodes: &[Node]) -> Result<()> {
        let seen = self.run(["get", "nodes", REQUEST_TIMEOUT, "-o", node::READINESS])?;
        let unready = node::unready(nodes, &seen);
        match unready.first() {
            None => Ok(()),
            Some(first) => bail!("{} of {} not ready, the first is {first}", unready.len(), nodes.len()),
        }
    }

    /// Deletes a node and waits until it is gone.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn remove_node(&self, name: &str) -> Result<()> {
        self.run(["delete", "node", name]).map(drop)
    }

    /// Labels a node, `KEY=VALUE`, replacing what the label was.
    ///
    /// # Errors
    /// When there is no such node, or the label is not valid.
    pub fn label(&self, node: &str, label: &str) -> Result<()> {
        self.run(["label", "node", node, label, "--overwrite"]).map(drop)
    }

    /// Takes a label off a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn unlabel(&self, node: &str, key: &str) -> Result<()> {
        self.run(["label", "node", node, &format!("{key}-")]).map(drop)
    }

    /// Taints a node: `KEY=VALUE:EFFECT` or `KEY:EFFECT`.
    ///
    /// # Errors
    /// When there is no such node, or the taint is not valid.
    pub fn taint(&self, node: &str, taint: &str) -> Result<()> {
        self.run(["taint", "node", node, taint, "--overwrite"]).map(drop)
    }

    /// Takes the taints with a key off a node.
    ///
    /// # Errors
    /// When there is no such node or taint.
    pub fn untaint(&self, node: &str, key: &str) -> Result<()> {
        self.run(["taint", "node", node, &format!("{key}-")]).map(drop)
    }

    /// Forbids new Pods on a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn cordon(&self, node: &str) -> Result<()> {
        self.run(["cordon", node]).map(drop)
    }

    /// Allows new Pods on a node again.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn uncordon(&self, node: &str) -> Result<()> {
        self.run(["uncordon", node]).map(drop)
    }

    /// Kills a component, as a crash would.
    ///
    /// # Errors
    /// When it is not running.
    pub fn stop_component(&self, component: Component) -> Result<()> {
        let command = self.home.kill(component)?;
        let mut slots = self.slots();
        if let Some(Slot::Ours(mut child)) = slots.insert(component, Slot::Stopped(command)) {
            child.wait()?;
        }
        Ok(())
    }

    /// Starts a component that was stopped, with the same command line, and waits until the API server answers again.
    /// The other components find it again by themselves, with a back-off that grows with the outage:
    /// at once after a second, but a minute later after half a minute.
    /// Whoever cannot wait for that stops and starts them too.
    ///
    /// # Errors
    /// When it was not stopped, or does not come back in time.
    pub fn start_component(&self, component: Component) -> Result<()> {
        let mut slots = self.slots();
        let Some(Slot::Stopped(command)) = slots.get(&component) else {
            bail!("{} was not stopped", component.name());
        };
        let child = self.home.start(component, command)?;
        slots.insert(component, Slot::Ours(child));
        drop(slots);
        let expected = self.expected();
        let can_answer = [Component::Etcd, Component::KubeApiserver]
            .iter()
            .all(|one| expected.contains(one));
        if can_answer { self.wait_ready() } else { Ok(()) }
    }

    /// Freezes a component: its connections stay open, nothing answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause_component(&self, component: Component) -> Result<()> {
        self.home.pause(component)
    }

    /// Lets a frozen component go on.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resume_component(&self, component: Component) -> Result<()> {
        self.home.resume(component)
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// When it does not in time, or a component has ended.
    pub fn wait_ready(&self) -> Result<()> {
        self.wait_for_answer(
            "the API server to be ready",
            &["get", "--raw", "/readyz", REQUEST_TIMEOUT],
        )
    }

    /// Copies the logs of all components to a folder, and writes beside them what the API server still tells.
    ///
    /// # Errors
    /// When the folder cannot be written; a component that does not answer is no error.
    pub fn collect_logs(&self, to: &Path) -> Result<()> {
        fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
        let mut sources = vec![self.folder.join("kwokctl.log"), self.folder.join("kwokctl.json")];
        if let Ok(entries) = fs::read_dir(self.home.logs()) {
            sources.extend(entries.flatten().map(|entry| entry.path()));
        }
        sources.extend(self.real.iter().flat_map(RealNode::logs));
        for source in sources.iter().filter(|source| source.is_file()) {
            if let Some(name) = source.file_name() {
                fs::copy(source, to.join(name)).with_context(|| format!("{} cannot be copied", source.display()))?;
            }
        }
        for (file, what) in [("objects.txt", "nodes,jobs,pods"), ("events.txt", "events")] {
            let output = self.kubectl(["get", what, "-A", "-o", "wide", REQUEST_TIMEOUT])?;
            fs::write(to.join(file), output.stdout + &output.stderr)?;
        }
        Ok(())
    }

    /// Leaves the cluster running when this value and this process end; [`crate::remove`] deletes it.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn keep(&mut self) -> Result<()> {
        registry::keep(&self.folder)?;
        self.reaper.disarm()
    }

    /// Where the logs of a cluster go when it fails: a place that outlives it.
    fn failure_logs(&self) -> PathBuf {
        let workdir = self.folder.parent().unwrap_or(&self.folder);
        workdir.with_file_name("cluster-logs").join(&self.name)
    }

    /// A program for this cluster alone: nothing of the user's own settings, and no trace in the user's folders.
    fn command(&self, program: Program) -> Command {
        self.connect(self.tools.path(program))
    }

    /// Any program, such as a shell, that reaches the cluster, and whose kubectl and helm mean this cluster alone.
    pub fn connect(&self, program: &Path) -> Command {
        let mut command = self.home.network.command(program);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"))
            .env("KUBERC", "off")
            .env("HELM_CACHE_HOME", self.folder.join("helm/cache"))
            .env("HELM_CONFIG_HOME", self.folder.join("helm/config"))
            .env("HELM_DATA_HOME", self.folder.join("helm/data"));
        command
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Component, Slot>> {
        // The map is whole at every step, so a panic elsewhere leaves nothing half done in it.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let place = self.failure_logs();
            let said = match self.collect_logs(&place) {
                Ok(()) => format!("logs of cluster {}: {}\n", self.name, place.display()),
                Err(error) => format!("no logs of cluster {}: {error:#}\n", self.name),
            };
            // The test is already failing; a closed standard error adds nothing.
            drop(std::io::stderr().write_all(said.as_bytes()));
        }
        self.reaper.fire();
        // A cluster that is kept stays, and with it its processes.
        if self.folder.exists() {
            return;
        }
        if let Some(node) = &self.real {
            node.wait_for_children();
        }
        let slots = std::mem::take(&mut *self.slots());
        for slot in slots.into_values() {
            if let Slot::Ours(mut child) = slot {
                drop(child.wait());
            }
        }
    }
}

/// A folder of a name of its own.
fn claim(workdir: &Path, name: Option<&str>) -> Result<(String, PathBuf)> {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    if let Some(name) = name {
        launch::check_name(name)?;
        return match registry::claim(workdir, name)? {
            Some(folder) => Ok((name.to_owned(), folder)),
            None => bail!(
                "there is a cluster `{name}` already: use another name, or delete it with `daemonjob-cluster down --name {name}`"
            ),
        };
    }
    loop {
        let name = format!("c-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        if let Some(folder) = registry::claim(workdir, &name)? {
            return Ok((name, folder));
        }
    }
}
