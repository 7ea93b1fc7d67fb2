//! The namespaces of a real node: mounts, processes and network, held open by one process.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::{DEADLINE, NODE_ADDRESS, SERVICE_ADDRESS};
use crate::process::Process;
use crate::wait::until;

const SCRIPT: &str = include_str!("namespace.sh");

/// Namespaces that are there as long as their first process.
#[derive(Debug)]
pub(crate) struct Namespace {
    entry: Entry,
    unshare: Mutex<Option<Child>>,
}

/// The way into namespaces.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Their first process, as this process sees it.
    first: u32,
    nsenter: PathBuf,
}

impl Namespace {
    /// Makes them and waits until they are laid out.
    pub(crate) fn make(folder: &Path, bin: &Path) -> Result<Self> {
        let log = folder.join("namespace.log");
        let shell = bin.join("sh");
        let output = fs::File::create(&log)?;
        let mut child = Command::new(bin.join("unshare"))
            .args(["--net", "--mount", "--pid", "--mount-proc", "--kill-child", "--fork"])
            .arg(&shell)
            .args(["-c", SCRIPT, "node"])
            .arg(folder)
            .args([NODE_ADDRESS, SERVICE_ADDRESS])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("unshare could not be run")?;
        let ready = folder.join("ready");
        let said = || fs::read_to_string(&log).unwrap_or_default().trim().to_owned();
        until("the namespaces of the node", DEADLINE, || {
            Ok((ready.exists() || child.try_wait()?.is_some()).then_some(()))
        })?;
        if child.try_wait()?.is_some() {
            bail!("the namespaces of the node could not be made: {}", said());
        }
        let first = Process::first_of_namespace(&shell).context("the node's first process is not there")?;
        let entry = Entry {
            first: first.pid,
            nsenter: bin.join("nsenter"),
        };
        Ok(Self {
            entry,
            unshare: Mutex::new(Some(child)),
        })
    }

    pub(crate) const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// A name for the node's control groups that no other node of this machine has.
    pub(crate) fn cgroup(&self) -> String {
        format!("daemonjob-node-{}", self.entry.first)
    }

    /// Awaits the process that made them, once they have been killed.
    pub(crate) fn wait(&self) {
        let child = self.unshare.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut child) = child {
            drop(child.wait());
        }
    }
}

impl Entry {
    /// A program in the network namespace alone: it sees the machine's files and processes.
    pub(crate) fn connect(&self, program: &Path) -> Command {
        self.nsenter(&["net"], program.as_os_str())
    }

    /// A program in all namespaces.
    pub(crate) fn enter(&self, program: &Path) -> Command {
        self.nsenter(&["net", "mnt", "pid"], program.as_os_str())
    }

    fn nsenter(&self, kinds: &[&str], program: &OsStr) -> Command {
        let mut command = Command::new(&self.nsenter);
        for kind in kinds {
            let option = match *kind {
                "mnt" => "mount",
                other => other,
            };
            command.arg(format!("--{option}=/proc/{}/ns/{kind}", self.first));
        }
        command.arg("--").arg(program);
        command
    }
}
