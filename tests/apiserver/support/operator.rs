//! The process under test: the real binary, outside the cluster.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use daemonjob_cluster::until;

use super::DEADLINE;

/// The binary that cargo built for this test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_daemonjob");

/// A port on loopback that nobody listens on.
/// Below the range from which the system takes the ports of outgoing connections: one of those might be in the way
/// by the time the port is used.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 24_000;
    const COUNT: u16 = 6_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin at different places.
    let begin = std::process::id() % 300 * 20;
    let begin = u16::try_from(begin).expect("less than 6,000");
    (0..COUNT)
        .map(|_| FIRST + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("one of 6,000 ports is free")
}

/// How a process is started.
pub(crate) struct Start<'a> {
    /// Where its log goes and from where it is started: the cluster takes it along when it is deleted.
    pub(crate) folder: &'a Path,
    pub(crate) kubeconfig: &'a Path,
    /// Its name on the Lease.
    pub(crate) identity: &'a str,
    /// Where its webhook listens.
    pub(crate) port: u16,
    /// The port that the chart's webhook configurations name.
    pub(crate) url_port: u16,
    /// What it logs.
    pub(crate) log_level: &'a str,
    /// How long it goes on answering when it is asked to end.
    pub(crate) drain_seconds: &'a str,
    /// Further flags.
    pub(crate) flags: &'a [&'a str],
}

/// A running process. Dropped, it is asked to end, and killed if it does not.
pub(crate) struct Operator {
    child: Child,
    /// Where its plain HTTP pages are.
    pub(crate) admin: SocketAddr,
}

impl Operator {
    /// Starts the process; it is not ready yet.
    pub(crate) fn start(start: &Start<'_>) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // The cluster's reaper kills what was started by a path in the cluster's folder, however this test ends.
        let program = start.folder.join("daemonjob");
        if !program.exists() {
            std::os::unix::fs::symlink(BINARY, &program).expect("the folder can be written");
        }
        let log = File::create(start.folder.join(format!("daemonjob-{number}.log"))).expect("the log can be written");
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let child = Command::new(program)
            .env_clear()
            .args([
                "run",
                "--log-level",
                start.log_level,
                "--drain-seconds",
                start.drain_seconds,
            ])
            .args(["--identity", start.identity])
            .args(["--admin-address", &admin.to_string()])
            .args(["--webhook-address", &format!("127.0.0.1:{}", start.port)])
            .args(["--webhook-url", &format!("https://127.0.0.1:{}", start.url_port)])
            .arg("--kubeconfig")
            .arg(start.kubeconfig)
            .args(start.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        Self { child, admin }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        until("the process to be ready", DEADLINE, || {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(Err(anyhow::anyhow!("the process ended with {status}"))));
            }
            let (code, body) = self.page("/readyz")?;
            if code != 200 {
                bail!("/readyz answers {code} {body}");
            }
            Ok(Some(Ok(())))
        })?
    }

    /// Waits until it leads.
    pub(crate) fn wait_leading(&self, deadline: Duration) -> Result<()> {
        until("the process to lead", deadline, || {
            let leads = self.metric(r#"leader_election_master_status{name="daemonjob"}"#)? > 0.0;
            Ok(leads.then_some(()))
        })
    }

    /// Status code and body of one of its plain HTTP pages.
    pub(crate) fn page(&self, path: &str) -> Result<(u16, String)> {
        page(self.admin, path)
    }

    /// The sum of the series that begin so; 0 if there is none.
    pub(crate) fn metric(&self, series: &str) -> Result<f64> {
        let (_, page) = self.page("/metrics")?;
        let values = page.lines().filter(|line| line.starts_with(series));
        let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Itself, unless it has ended.
    pub(crate) fn if_running(mut self) -> Option<Self> {
        self.is_running().then_some(self)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(self) -> ExitStatus {
        self.ask_to_end();
        self.wait()
    }

    /// Waits until it has ended, as it was asked to.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.wait_ended().expect("SIGTERM ends the process")
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        signal("TERM", self.pid());
    }

    fn wait_ended(&mut self) -> Result<ExitStatus> {
        wait_ended(&mut self.child, Duration::from_secs(20))
    }
}

/// Status code and body of a plain HTTP page of a process.
pub(crate) fn page(admin: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    code.zip(body).context("the answer is not HTTP")
}

/// Sends a signal to a process that a test started.
pub(crate) fn signal(name: &str, pid: u32) {
    // The shell's own `kill`: small images lack the program.
    let sent = Command::new("/bin/sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name, &pid.to_string()])
        .status();
    assert!(sent.expect("there is a shell").success(), "SIG{name} could not be sent");
}

/// How a process ended, within a deadline.
pub(crate) fn wait_ended(child: &mut Child, deadline: Duration) -> Result<ExitStatus> {
    until("the process to end", deadline, || Ok(child.try_wait()?))
}

impl Drop for Operator {
    fn drop(&mut self) {
        if !self.is_running() {
            return;
        }
        self.ask_to_end();
        if self.wait_ended().is_err() {
            // Nothing more can be done about a process that cannot be killed.
            drop(self.child.kill().and_then(|()| self.child.wait()));
        }
    }
}

/// The names and texts of the logs of all processes that were started from this folder.
fn log_files(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("daemonjob-") && name.ends_with(".log"))
        .collect();
    names.sort();
    let read = |name: String| {
        let text = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        (name, text)
    };
    names.into_iter().map(read).collect()
}

/// What the logs say of `subject`, and of any trouble.
pub(crate) fn logs(folder: &Path, subject: &str) -> String {
    const SHOWN: usize = 80;
    let concerns = |line: &&str| {
        let words = [subject, "WARN", "ERROR", "panicked", "leading"];
        words.iter().any(|word| line.contains(word))
    };
    let mut shown = String::new();
    for (name, text) in log_files(folder) {
        let lines: Vec<&str> = text.lines().filter(concerns).collect();
        let tail = lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default();
        shown += &format!("--- {name}\n{}\n", tail.join("\n"));
    }
    shown
}

/// Whether a line says that the chart does not give the process a right that it asked for.
pub(crate) fn is_denied(line: &str) -> bool {
    line.contains("system:serviceaccount:") && line.contains("cannot")
}

/// Whether a line says that the process was denied something, or met a defect of its own: a second opinion on a plan
/// among them, which debug builds ask for.
pub(crate) fn is_complaint(line: &str) -> bool {
    is_denied(line) || line.contains("InternalError") || line.contains("panicked at")
}

/// Such lines of all processes that were started from this folder.
pub(crate) fn complaints(folder: &Path) -> Vec<String> {
    let texts = log_files(folder).into_iter().map(|(_, text)| text);
    texts
        .flat_map(|text| -> Vec<String> {
            text.lines()
                .filter(|line| is_complaint(line))
                .map(str::to_owned)
                .collect()
        })
        .collect()
}
