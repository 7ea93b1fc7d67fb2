//! A child process that deletes the cluster when its owner ends, in whatever way.
//!
//! It waits for the end of its standard input, a pipe whose other end only the owner holds:
//! the system closes that on return, panic, Ctrl-C and kill -9 alike.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

const SCRIPT: &str = include_str!("reap.sh");

/// Watches over one cluster.
#[derive(Debug)]
pub(crate) struct Reaper {
    child: Option<Child>,
}

impl Reaper {
    /// From now on the folder and its processes live only as long as this value.
    pub(crate) fn arm(folder: &Path) -> Result<Self> {
        let child = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "reap"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A process group of its own: Ctrl-C goes to the group of the terminal.
            .process_group(0)
            .spawn()
            .context("the reaper of the cluster could not be started")?;
        Ok(Self { child: Some(child) })
    }

    /// Deletes the cluster and waits until it is gone.
    pub(crate) fn fire(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            // A reaper that is already gone has nothing left to tell.
            drop(child.wait());
        }
    }

    /// Leaves the cluster alone.
    pub(crate) fn disarm(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            if let Some(mut pipe) = child.stdin.take() {
                pipe.write_all(b"keep\n")
                    .context("the reaper of the cluster does not listen")?;
            }
            child.wait()?;
        }
        Ok(())
    }
}

/// Deletes the cluster in a folder, whoever started it.
pub(crate) fn reap(folder: &Path) -> Result<()> {
    Reaper::arm(folder)?.fire();
    Ok(())
}
