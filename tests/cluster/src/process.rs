//! Processes, as Linux shows them under /proc.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// A process that a reused pid cannot be mistaken for: the pid and when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// In clock ticks since boot.
    started: u64,
}

impl Process {
    /// This process.
    pub(crate) fn current() -> Option<Self> {
        Self::with_pid(std::process::id())
    }

    /// The process that has this pid now; none if it is gone or a zombie.
    /// A zombie whose other threads are still ending counts as running: they hold its ports.
    pub(crate) fn with_pid(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        let is_over = matches!(stat.state, 'X' | 'Z') && stat.threads <= 1;
        (!is_over).then_some(Self {
            pid,
            started: stat.started,
        })
    }

    /// The running process whose first argument is this path.
    pub(crate) fn of_program(program: &Path) -> Option<Self> {
        pids_of(program).find_map(Self::with_pid)
    }

    /// The running process whose first argument is this path and that is the first in its process namespace.
    pub(crate) fn first_of_namespace(program: &Path) -> Option<Self> {
        let is_first = |pid: &u32| {
            // The pid in each namespace, ours first.
            let pids = status_of(*pid, "NSpid:").unwrap_or_default();
            pids.split_whitespace().skip(1).last() == Some("1")
        };
        pids_of(program).filter(is_first).find_map(Self::with_pid)
    }

    /// Whether this process has the rights of root.
    pub(crate) fn is_root() -> bool {
        let users = status_of(std::process::id(), "Uid:").unwrap_or_default();
        // The second is the effective one.
        users.split_whitespace().nth(1) == Some("0")
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Self {
            pid: pid.parse().ok()?,
            started: started.parse().ok()?,
        })
    }

    /// One line that names the process.
    pub(crate) fn write(self) -> String {
        format!("{} {}\n", self.pid, self.started)
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::with_pid(self.pid) == Some(self)
    }

    pub(crate) fn is_paused(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.state == 'T')
    }

    /// Its command line.
    pub(crate) fn command(self) -> Vec<String> {
        command_of(self.pid)
    }

    /// Sends a signal, such as `KILL`.
    pub(crate) fn signal(self, name: &str) -> Result<()> {
        // The shell's own `kill`: small images lack the program.
        let status = Command::new("/bin/sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "kill", name, &self.pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        if !status.success() && self.is_alive() {
            bail!("signal {name} could not be sent to process {}", self.pid);
        }
        Ok(())
    }
}

/// The processes whose first argument is this path.
fn pids_of(program: &Path) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(move |pid| {
        let command = command_of(*pid);
        command.first().is_some_and(|first| Path::new(first) == program)
    })
}

/// A line of /proc/PID/status, without its name.
fn status_of(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name).map(str::to_owned))
}

/// The memory of a process in KiB, by the name that Linux gives it: `VmRSS` for what it takes, `VmHWM` for the most
/// that it ever took. None if it is gone.
pub fn memory_of(pid: u32, name: &str) -> Option<u64> {
    let line = status_of(pid, &format!("{name}:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn command_of(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\0').unwrap_or(&text);
    if text.is_empty() {
        Vec::new()
    } else {
        text.split('\0').map(str::to_owned).collect()
    }
}

/// What we read of /proc/PID/stat.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    threads: u32,
    started: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The third field, the twentieth and the twenty-second.
    /// The second is the program's name in parentheses and may hold spaces and parentheses itself.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let threads = fields.nth(16)?.parse().ok()?;
        let started = fields.nth(1)?.parse().ok()?;
        Some(Self {
            state,
            threads,
            started,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_behind_the_last_parenthesis() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 12 0 4242 99 1";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                state: 'S',
                threads: 12,
                started: 4242
            })
        );
        assert_eq!(Stat::parse("7 (short) S 1"), None);
    }

    #[test]
    fn this_process_is_alive_and_survives_writing_and_parsing() {
        let this = Process::current().unwrap();
        assert!(this.is_alive());
        assert_eq!(Process::parse(&this.write()), Some(this));
    }

    #[test]
    fn a_reused_pid_is_another_process() {
        let this = Process::current().unwrap();
        assert!(
            !Process {
                started: this.started + 1,
                ..this
            }
            .is_alive()
        );
    }

    #[test]
    fn a_process_pauses_resumes_and_dies() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::with_pid(child.id()).unwrap();
        process.signal("STOP").unwrap();
        let second = std::time::Duration::from_secs(10);
        crate::until("the pause", second, || Ok(process.is_paused().then_some(()))).unwrap();
        process.signal("CONT").unwrap();
        crate::until("the resumption", second, || Ok((!process.is_paused()).then_some(()))).unwrap();
        process.signal("KILL").unwrap();
        child.wait().unwrap();
        assert!(!process.is_alive());
    }
}
