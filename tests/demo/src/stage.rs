//! The cluster, the chart on it and the program beside it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use daemonjob_cluster::{Cluster, Node, Options, Output, Tools, default_workdir, until};

use crate::screen::Screen;

/// The program, and the name of its log and of its process id file.
pub(crate) const PROGRAM: &str = "daemonjob";
/// Ready comes 3 s after the certificate is published; the rest is for a busy machine.
const READY_DEADLINE: Duration = Duration::from_secs(60);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Enough of a log to see the cause, short enough for a terminal.
const SHOWN_LINES: usize = 15;

/// A cluster with everything on it and beside it; dropped, all of that ends.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) screen: &'a Screen,
    pub(crate) cluster: Cluster,
}

/// So that each of the examples meets a node that it treats differently.
fn nodes() -> Vec<Node> {
    vec![
        Node::new("linux-a").label("os", "linux"),
        Node::new("linux-b").label("os", "linux"),
        Node::new("edge").label("os", "linux").label("ingress", "true"),
        Node::new("plain"),
        Node::new("gpu").taint("team=gpu:NoSchedule"),
        Node::new("resting").cordoned(),
    ]
}

/// The program, built beside this one.
fn built_program() -> Result<PathBuf> {
    let built = std::env::current_exe()?.with_file_name(PROGRAM);
    ensure!(built.is_file(), "{} is missing: run `make demo`", built.display());
    Ok(built)
}

impl<'a> Stage<'a> {
    /// Boots the control plane.
    pub(crate) fn boot(screen: &'a Screen, tools: &Tools, name: String) -> Result<Self> {
        // A cluster that boots for nothing would be a pity.
        built_program()?;
        let options = Options {
            name: Some(name),
            nodes: nodes(),
            ..Options::default()
        };
        let cluster = Cluster::start(tools, &options)?;
        Ok(Self { screen, cluster })
    }

    /// Installs the chart and starts the program.
    pub(crate) fn open(&self) -> Result<()> {
        self.show("kubectl get nodes -L os,ingress")?;
        self.screen.notice(
            "Three nodes carry os=linux, one of them ingress=true as well. gpu has the taint team=gpu:NoSchedule, which \
             the examples do not tolerate, and resting is cordoned: it takes no new Pods now.",
        )?;
        let ports = (free_port()?, free_port()?);
        let (webhook, admin) = (ports.0.local_addr()?, ports.1.local_addr()?);
        self.show(&format!(
            "helm install {PROGRAM} charts/daemonjob -n daemonjob-system --create-namespace --hide-notes \
             --set webhook.url=https://{webhook}"
        ))?;
        // Held until now so that nobody else is given these ports.
        drop(ports);
        let mut program = self.start_program(webhook, admin)?;
        self.wait_ready(&mut program, admin)?;
        self.screen.notice(
            "With webhook.url the chart installs all but the Deployment: the program runs beside the cluster, made \
             its own certificate authority, and is ready once the API server's configuration trusts it.",
        )
    }

    /// Starts the program by a path in the cluster's folder: by that the cluster knows it as its own and ends it.
    fn start_program(&self, webhook: SocketAddr, admin: SocketAddr) -> Result<Child> {
        let built = built_program()?;
        let program = self.cluster.folder().join(PROGRAM);
        symlink(&built, &program)?;
        let (address, url) = (webhook.to_string(), format!("https://{webhook}"));
        let arguments = ["run", "--webhook-address", &address, "--webhook-url", &url];
        self.screen.command(&format!("{PROGRAM} {}", arguments.join(" ")))?;
        let log = File::create(self.program_log())?;
        let child = Command::new(&program)
            .args(arguments)
            // Nothing of the user's own settings, and the rest of ours.
            .env_clear()
            .env("DAEMONJOB_ADMIN_ADDRESS", admin.to_string())
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group of its own: Ctrl-C must not reach a program that is kept.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} could not be run", built.display()))?;
        fs::write(self.cluster.folder().join("daemonjob.pid"), format!("{}\n", child.id()))?;
        Ok(child)
    }

    fn wait_ready(&self, program: &mut Child, admin: SocketAddr) -> Result<()> {
        let ended = until("the program to be ready", READY_DEADLINE, || {
            Ok(match program.try_wait()? {
                Some(status) => Some(Some(status)),
                None => is_ready(admin)?.then_some(None),
            })
        })?;
        match ended {
            Some(status) => bail!("`{PROGRAM} run` ended with {status}"),
            None => self.screen.output(&format!("http://{admin}/readyz says ok")),
        }
    }

    /// Shows and runs a command that must succeed; gives its standard output.
    pub(crate) fn show(&self, line: &str) -> Result<String> {
        let output = self.show_any(line)?;
        self.screen.output(&output.stderr)?;
        self.screen.output(&output.stdout)?;
        output.checked()
    }

    /// Shows and runs a command that must be refused with these words.
    pub(crate) fn show_refusal(&self, line: &str, words: &str) -> Result<()> {
        let output = self.show_any(line)?;
        self.screen.output(&output.stderr)?;
        ensure!(!output.is_success(), "`{line}` should have been refused");
        ensure!(output.stderr.contains(words), "the refusal does not say `{words}`");
        Ok(())
    }

    fn show_any(&self, line: &str) -> Result<Output> {
        self.screen.command(line)?;
        match line.split_once(' ') {
            Some(("helm", arguments)) => self.cluster.helm(words(arguments)),
            Some(("kubectl", arguments)) => self.cluster.kubectl(words(arguments)),
            Some(_) | None => bail!("`{line}` is a command of neither helm nor kubectl"),
        }
    }

    pub(crate) fn program_log(&self) -> PathBuf {
        self.cluster.folder().join("daemonjob.log")
    }

    /// On a failure shows the end of the program's log, and saves all logs before the cluster goes.
    pub(crate) fn or_tell_why<T>(&self, result: Result<T>) -> Result<T> {
        let Err(error) = result else { return result };
        let place = default_workdir()
            .with_file_name("cluster-logs")
            .join(self.cluster.name());
        self.cluster.collect_logs(&place)?;
        let mut told = format!("{error:#}\nAll logs are in {}", place.display());
        if let Ok(log) = fs::read_to_string(self.program_log()) {
            fs::write(place.join("daemonjob.log"), &log)?;
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
            told += &format!("; the last lines of daemonjob.log:\n  {}", tail.join("\n  "));
        }
        bail!(told)
    }
}

/// The words of a command line, as a shell splits it where it has no other signs than single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in line.split('\'').enumerate() {
        let is_quoted = index % 2 == 1;
        let mut pieces = if is_quoted {
            vec![part]
        } else {
            part.split(' ').collect()
        }
        .into_iter();
        if let (Some(word), Some(piece)) = (words.last_mut(), pieces.next()) {
            word.push_str(piece);
        }
        words.extend(pieces.map(str::to_owned));
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A port that nobody uses, held as long as this value.
fn free_port() -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port on 127.0.0.1")
}

fn is_ready(admin: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect_timeout(&admin, PROBE_TIMEOUT)?;
    stream.set_read_timeout(Some(PROBE_TIMEOUT))?;
    write!(stream, "GET /readyz HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1."), "/readyz does not speak HTTP");
    Ok(answer.split(' ').nth(1) == Some("200"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_at_spaces_that_are_not_quoted() {
        assert_eq!(
            words("get dj -o jsonpath='{a b}'c  -w"),
            ["get", "dj", "-o", "jsonpath={a b}c", "-w"]
        );
    }
}
