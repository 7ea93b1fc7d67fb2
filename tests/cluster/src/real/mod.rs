//! A node that nobody plays: containerd and a kubelet of its own, in namespaces that end with the cluster.
//!
//! Root is needed, for namespaces and control groups.
//! The kubelet and containerd are built like the other tools; runc, the network plugins and a static busybox are
//! Debian's packages, installed when they are missing.
//! The whole control plane of such a cluster runs in the node's network namespace: no address of the machine is used,
//! and there is neither a kube-proxy nor a name service.

mod cgroup;
mod images;
mod namespace;
mod requirements;
mod settings;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{Output, run};
use crate::process::Process;
use crate::program::Program;
use crate::tools::Tools;
use crate::wait::until;

pub(crate) use self::namespace::Entry;
use self::namespace::Namespace;
use self::requirements::Requirements;
pub use self::requirements::obstacle;

/// The node's own address, on the loopback device of its network namespace; the API server tells it, too.
pub(crate) const NODE_ADDRESS: &str = "10.88.0.1";
/// The Service `kubernetes`, which is dialled without a kube-proxy.
pub(crate) const SERVICE_ADDRESS: &str = "10.96.0.1";
/// All Services.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";

const DEADLINE: Duration = Duration::from_secs(60);

/// The programs of a real node and the namespaces that they run in.
#[derive(Debug)]
pub(crate) struct RealNode {
    name: String,
    /// Its folder, in that of the cluster.
    folder: PathBuf,
    namespace: Namespace,
    /// What was started, to be awaited once it has ended.
    children: Mutex<Vec<Child>>,
}

impl RealNode {
    /// Makes the namespaces and lays out the programs; nothing runs yet.
    pub(crate) fn prepare(name: &str, tools: &Tools, cluster: &Path) -> Result<Self> {
        if !tools.has_real_node() {
            bail!("the tools are without those of a real node: use `Tools::ensure_for_real_node`");
        }
        let requirements = Requirements::ensure()?;
        requirements::check_folder(cluster)?;
        let folder = cluster.join("node");
        let bin = folder.join("bin");
        fs::create_dir_all(&bin)?;
        // Started by paths in our folder, so that the reaper knows them as ours.
        for program in Program::OF_A_REAL_NODE {
            symlink(tools.path(program), bin.join(program.name()))?;
        }
        for (file, program) in requirements.programs() {
            symlink(program, bin.join(file))?;
        }
        let namespace = Namespace::make(&folder, &bin)?;
        // Where the reaper looks for what to remove.
        fs::write(cluster.join("cgroup"), namespace.cgroup())?;
        cgroup::make(&namespace.cgroup())?;
        settings::write_containerd(&folder, &requirements.network_plugins)?;
        Ok(Self {
            name: name.to_owned(),
            folder,
            namespace,
            children: Mutex::default(),
        })
    }

    /// Starts everything, once there is an API server; `pki` holds the launcher's certificates.
    pub(crate) fn start(&self, pki: &Path, kubeconfig: &Path) -> Result<()> {
        settings::write_kubelet(&self.folder, &self.namespace.cgroup(), pki)?;
        self.spawn(
            Program::Containerd,
            &["--config", &self.folder.join("containerd.toml").to_string_lossy()],
        )?;
        until("containerd to answer", DEADLINE, || self.ctr(&["version"]).map(Some))?;
        let layout = self.folder.join("images.tar");
        images::write(&self.folder.join("bin/busybox"), &layout)?;
        self.import(&layout)?;
        for image in [images::BUSYBOX, images::PAUSE] {
            self.wait_for_image(image)?;
        }
        fs::copy(kubeconfig, self.folder.join("kubeconfig"))?;
        self.start_kubelet()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The way into its network.
    pub(crate) fn entry(&self) -> Entry {
        self.namespace.entry().clone()
    }

    /// The logs of its programs.
    pub(crate) fn logs(&self) -> [PathBuf; 2] {
        [self.log(Program::Containerd), self.log(Program::Kubelet)]
    }

    fn log(&self, program: Program) -> PathBuf {
        self.folder.join(program.name()).with_extension("log")
    }

    /// Starts the kubelet; the containers that an earlier one started are taken over.
    pub(crate) fn start_kubelet(&self) -> Result<()> {
        if self.process(Program::Kubelet).is_some() {
            bail!("the kubelet is running");
        }
        let path = |file: &str| self.folder.join(file).to_string_lossy().into_owned();
        self.spawn(
            Program::Kubelet,
            &[
                "--config",
                &path("kubelet.yaml"),
                "--kubeconfig",
                &path("kubeconfig"),
                "--hostname-override",
                &self.name,
                "--node-ip",
                NODE_ADDRESS,
                "--root-dir",
                "/var/lib/kubelet",
                "--cert-dir",
                "/var/lib/kubelet/pki",
            ],
        )
    }

    /// Kills the kubelet, as a crash would; its containers go on.
    pub(crate) fn stop_kubelet(&self) -> Result<()> {
        let process = self.process(Program::Kubelet).context("the kubelet is not running")?;
        process.signal("KILL")?;
        until("the end of the kubelet", DEADLINE, || {
            Ok((!process.is_alive()).then_some(()))
        })
    }

    /// Fails if the kubelet has ended, with the last line of its log.
    pub(crate) fn check_alive(&self) -> Result<()> {
        for program in [Program::Containerd, Program::Kubelet] {
            if self.process(program).is_none() {
                let log = fs::read_to_string(self.log(program)).unwrap_or_default();
                let last = log.lines().rfind(|line| !line.trim().is_empty());
                bail!("{} ended: {}", program.name(), last.unwrap_or("its log is empty"));
            }
        }
        Ok(())
    }

    /// Puts the images of an OCI layout, a tar file, into the node's store.
    pub(crate) fn import(&self, layout: &Path) -> Result<()> {
        let file = fs::File::open(layout).with_context(|| format!("{} cannot be read", layout.display()))?;
        // Through standard input, so that the file may lie where the node sees another folder.
        let mut command = self.command(Program::Ctr);
        command.args([
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "--local",
            "--snapshotter",
            "native",
            "-",
        ]);
        let status = command
            .stdin(file)
            .stdout(Stdio::null())
            .stderr(self.append(Program::Ctr)?)
            .status()
            .context("ctr could not be run")?;
        if !status.success() {
            bail!(
                "{} could not be imported: {}",
                layout.display(),
                fs::read_to_string(self.log(Program::Ctr)).unwrap_or_default().trim()
            );
        }
        Ok(())
    }

    /// Waits until the kubelet would find an image; before, it would try to pull it.
    pub(crate) fn wait_for_image(&self, name: &str) -> Result<()> {
        until(&format!("the image {name}"), DEADLINE, || {
            let filter = format!("name=={name}");
            let list = self.ctr(&["--namespace", "k8s.io", "images", "list", &filter])?;
            Ok(list.contains("io.cri-containerd.image=managed").then_some(()))
        })
    }

    /// What ctr prints.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> Result<String> {
        let output: Output = run(self.command(Program::Ctr).args(arguments), None)?;
        output.checked()
    }

    /// Awaits what has been killed.
    pub(crate) fn wait_for_children(&self) {
        for mut child in self.children().drain(..) {
            drop(child.wait());
        }
        self.namespace.wait();
    }

    fn children(&self) -> std::sync::MutexGuard<'_, Vec<Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A program in all of the node's namespaces.
    fn command(&self, program: Program) -> Command {
        let bin = self.folder.join("bin");
        let mut command = self.namespace.entry().enter(&bin.join(program.name()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{}", bin.display(), path.to_string_lossy()));
        command
    }

    fn append(&self, program: Program) -> Result<fs::File> {
        let file = self.log(program);
        let open = OpenOptions::new().create(true).append(true).open(&file);
        open.with_context(|| format!("{} cannot be written", file.display()))
    }

    fn process(&self, program: Program) -> Option<Process> {
        Process::of_program(&self.folder.join("bin").join(program.name()))
    }

    fn spawn(&self, program: Program, arguments: &[&str]) -> Result<()> {
        let log = self.append(program)?;
        let mut child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} could not be started", program.name()))?;
        until(&format!("{} to appear", program.name()), DEADLINE, || {
            let is_there = self.process(program).is_some() || child.try_wait()?.is_some();
            Ok(is_there.then_some(()))
        })?;
        self.children().push(child);
        Ok(())
    }
}
