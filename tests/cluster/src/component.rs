//! The processes of a cluster, and what is needed to start one again.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::network::Network;
use crate::process::Process;
use crate::wait::until;

const DEADLINE: Duration = Duration::from_secs(20);

/// A process of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The built-in controllers.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// Plays the nodes.
    KwokController,
}

impl Component {
    /// All components.
    pub const ALL: [Self; 5] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::KwokController,
    ];

    /// Its name, also that of its log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::KwokController => "kwok-controller",
        }
    }
}

/// A component that was stopped, or that we started again.
#[derive(Debug)]
pub(crate) enum Slot {
    /// The command line to start it with.
    Stopped(Vec<String>),
    /// Our child, to be awaited once it ends.
    Ours(Child),
}

/// Where the launcher keeps the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) folder: PathBuf,
    pub(crate) network: Network,
}

impl Home {
    /// The program file of a component: no other process has it as its first argument.
    fn program(&self, component: Component) -> PathBuf {
        self.folder.join("bin").join(component.name())
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(crate) fn process(&self, component: Component) -> Result<Process> {
        Process::of_program(&self.program(component)).with_context(|| format!("{} is not running", component.name()))
    }

    /// Fails if one of these components has ended, with the last line of its log.
    pub(crate) fn check_alive(&self, components: impl IntoIterator<Item = Component>) -> Result<()> {
        for component in components {
            if self.process(component).is_err() {
                let log = fs::read_to_string(self.log(component)).unwrap_or_default();
                let last = log
                    .lines()
                    .rfind(|line| !line.trim().is_empty())
                    .unwrap_or("its log is empty");
                bail!("{} ended: {last}", component.name());
            }
        }
        Ok(())
    }

    fn log(&self, component: Component) -> PathBuf {
        self.logs().join(format!("{}.log", component.name()))
    }

    /// Kills a component, as a crash would; returns its command line.
    pub(crate) fn kill(&self, component: Component) -> Result<Vec<String>> {
        let process = self.process(component)?;
        let command = process.command();
        process.signal("KILL")?;
        until(&format!("the end of {}", component.name()), DEADLINE, || {
            Ok((!process.is_alive()).then_some(()))
        })?;
        Ok(command)
    }

    /// Starts a component with a command line, its output appended to its log.
    pub(crate) fn start(&self, component: Component, command: &[String]) -> Result<Child> {
        let Some((program, arguments)) = command.split_first() else {
            bail!("{} has no command line", component.name());
        };
        let log = append_to(&self.log(component))?;
        let mut child = self
            .network
            .command(Path::new(program))
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} could not be started again", component.name()))?;
        // The system lets us go on before it shows the new command line, by which we find the process.
        until(&format!("{} to appear", component.name()), DEADLINE, || {
            let is_there = self.process(component).is_ok() || child.try_wait()?.is_some();
            Ok(is_there.then_some(()))
        })?;
        Ok(child)
    }

    pub(crate) fn pause(&self, component: Component) -> Result<()> {
        let process = self.process(component)?;
        process.signal("STOP")?;
        until(&format!("the pause of {}", component.name()), DEADLINE, || {
            Ok(process.is_paused().then_some(()))
        })
    }

    pub(crate) fn resume(&self, component: Component) -> Result<()> {
        let process = self.process(component)?;
        process.signal("CONT")?;
        until(&format!("the resumption of {}", component.name()), DEADLINE, || {
            Ok((!process.is_paused()).then_some(()))
        })
    }
}

fn append_to(file: &Path) -> Result<File> {
    let open = OpenOptions::new().create(true).append(true).open(file);
    open.with_context(|| format!("{} cannot be written", file.display()))
}
