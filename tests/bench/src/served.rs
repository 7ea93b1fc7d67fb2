//! The process that is measured, seen from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use rustls::pki_types::CertificateDer;

use crate::client::Client;
use crate::serve::Arm;

/// A server in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct Served {
    process: Child,
    client: Client,
}

impl Served {
    /// Starts it; `program` is `daemonjob-bench`, and `files` its limit of open files if it is to have one of its own.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start(program: &Path, arm: Arm, files: Option<u64>) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["serve", arm.as_str()]);
        if let Some(files) = files {
            command.arg(format!("--files={files}"));
        }
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let mut line = String::new();
        let output = process.stdout.take().context("its output is a pipe")?;
        BufReader::new(output).read_line(&mut line)?;
        let (address, certificate) = line.trim_end().split_once(' ').context("it did not come up")?;
        let address: SocketAddr = address.parse()?;
        let certificate = CertificateDer::from(HEXLOWER.decode(certificate.as_bytes())?);
        let client = Client::new(address, certificate)?;
        Ok(Self { process, client })
    }

    /// Who can talk to it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What its threads have spent of a processor.
    ///
    /// # Errors
    /// If it has ended.
    pub fn processor_time(&self) -> Result<Duration> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).context("it has ended")?;
        let mut nanoseconds = 0;
        for task in tasks {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let spent = text.split(' ').next().context("the first number is there")?;
            nanoseconds += spent.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// From now on it cannot open more than so many files; those that it has stay open.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn limit_files(&self, files: u64) -> Result<()> {
        let limit = Rlimit {
            current: Some(files),
            ..getrlimit(Resource::Nofile)
        };
        prlimit(Some(Pid::from_child(&self.process)), Resource::Nofile, limit)?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends with its input, and nobody is left to tell if it did not.
        drop(self.process.stdin.take());
        drop(self.process.wait());
    }
}

/// Lets this process open so many files, or as many as the system allows. How many that is.
///
/// # Errors
/// If it is too few for anything.
pub fn allow_files(wanted: u64) -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(wanted);
    let now = limit.current.unwrap_or(u64::MAX);
    if now < most {
        let raised = Rlimit {
            current: Some(most),
            ..limit
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    let allowed = now.max(most).min(wanted);
    ensure!(allowed >= 512, "only {allowed} files may be open");
    Ok(allowed)
}
