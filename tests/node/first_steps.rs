//! The first steps of the README, typed as they stand there: on the real node with the Deployment, and on a played one
//! with the process outside the cluster, which the chapter on installing tells.

use std::fs::{self, File};
use std::io::{Read as _, pipe};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use daemonjob_cluster::{Cluster, Options, Program, Tools, until};

use crate::console::{Command, commands, shows};
use crate::stage::{self, DEADLINE};
use crate::support::operator::{free_port, page, signal, wait_ended};
use crate::support::trial::show;
use crate::support::world;

/// The port of the README; the test takes a free one.
const PORT: &str = "9443";
/// The program of the README, which is built beside this test.
const PROGRAM: &str = "target/release/daemonjob";

fn is_shown(step: &Command, printed: &str) -> bool {
    shows(&step.output, &printed.lines().collect::<Vec<_>>())
}

#[test]
fn the_first_steps_of_the_readme_are_as_it_says_on_a_real_node() {
    let Some(tools) = stage::tools() else { return };
    let desk = Desk::new(stage::cluster(tools), tools);
    let mut steps = first_steps();
    // The image is the one of the tests, in the place of that which these make and import.
    let rest = steps.split_off(2);
    let replaced: Vec<&str> = steps
        .iter()
        .map(|step| step.line.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(replaced, ["make", "ctr"]);
    desk.follow(&rest);
}

#[test]
fn the_first_steps_of_the_readme_are_as_it_says_on_a_played_node() {
    let tools = world::tools();
    let cluster = Cluster::start(tools, &Options::with_nodes(1)).expect("a cluster starts");
    let desk = Desk::new(cluster, tools);
    let [_build, install, run] = outside();
    let port = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
    let number = port.local_addr().expect("it is bound").port().to_string();
    desk.type_line(&install.replace(PORT, &number));
    drop(port);
    let process = desk.start(&run.replace(PORT, &number));
    // It installs the chart in another way, and played containers say nothing.
    let steps = first_steps().into_iter().skip(2);
    let is_the_same = |step: &Command| !step.line.starts_with("helm install") && !step.line.starts_with("kubectl logs");
    desk.follow(&steps.filter(is_the_same).collect::<Vec<_>>());
    drop(process);
}

fn readme() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(file).expect("it is committed")
}

fn chapter(title: &str) -> String {
    let readme = readme();
    let (_, rest) = readme
        .split_once(&format!("\n## {title}\n"))
        .expect("the chapter is there");
    rest.split("\n## ").next().expect("there is a first part").to_owned()
}

fn first_steps() -> Vec<Command> {
    let steps = commands(&chapter("First steps"));
    assert!(steps.len() >= 12, "{steps:?}");
    steps
}

/// The commands for a process outside the cluster.
fn outside() -> [String; 3] {
    let install = chapter("Install");
    let (_, rest) = install.split_once("```console\n").expect("there is a console");
    let block = rest.split("```").next().expect("it is closed");
    let lines: Vec<String> = block.lines().map(str::to_owned).collect();
    lines.try_into().expect("three commands")
}

/// A folder that looks like the repository with its programs built, and a shell in it that reaches a cluster.
struct Desk {
    cluster: Cluster,
    folder: PathBuf,
}

impl Desk {
    fn new(cluster: Cluster, tools: &Tools) -> Self {
        let folder = cluster.folder().join("desk");
        let target = folder.join("target/release");
        let bin = folder.join("bin");
        for folder in [&target, &bin] {
            fs::create_dir_all(folder).expect("the cluster's folder can be written");
        }
        let link = |from: &Path, to: PathBuf| symlink(from, to).expect("the folder is new");
        for name in ["charts", "examples"] {
            link(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), folder.join(name));
        }
        for program in [Program::Helm, Program::Kubectl] {
            link(tools.path(program), bin.join(program.name()));
        }
        link(Path::new(env!("CARGO_BIN_EXE_daemonjob")), folder.join(PROGRAM));
        Self { cluster, folder }
    }

    fn shell(&self, line: &str) -> std::process::Command {
        let mut shell = self.cluster.connect(Path::new("/bin/bash"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&path));
        shell
            .args(["-c", line])
            .env("PATH", std::env::join_paths(folders).expect("they were joined before"))
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        shell
    }

    /// Runs a command to its end, which must be a good one.
    fn type_line(&self, line: &str) {
        let output = self.shell(line).output().expect("there is a shell");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "$ {line}\n{said}");
    }

    /// Types the commands one after another; each must print what stands there.
    fn follow(&self, steps: &[Command]) {
        for step in steps {
            let mut typed = Typed::start(self.shell(&step.line));
            let ended = until("the end of the command", DEADLINE, || {
                let is_enough = step.is_interrupted && is_shown(step, &typed.so_far());
                Ok((is_enough || typed.child.try_wait()?.is_some()).then_some(()))
            });
            let printed = typed.end();
            show(&format!("$ {}\n{printed}", step.line));
            ended.expect("it ends in time");
            assert!(
                is_shown(step, &printed),
                "the README shows:\n{}",
                step.output.join("\n")
            );
        }
    }

    /// Starts the program of the README and waits until it is ready.
    fn start(&self, line: &str) -> Process {
        // Under its whole path it ends with the cluster, however this test ends.
        let whole = self.folder.join(PROGRAM).display().to_string();
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = File::create(self.cluster.folder().join("daemonjob.log")).expect("the folder can be written");
        let child = self
            .shell(&line.replace(PROGRAM, &whole))
            .env("DAEMONJOB_ADMIN_ADDRESS", admin.to_string())
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("there is a shell");
        let process = Process(child);
        until("the process to be ready", DEADLINE, || {
            let (code, _) = page(admin, "/readyz")?;
            Ok((code == 200).then_some(()))
        })
        .expect("it becomes ready");
        process
    }
}

/// A command that runs, and what it has printed so far, as a terminal shows it.
struct Typed {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Typed {
    fn start(mut shell: std::process::Command) -> Self {
        let (mut output, input) = pipe().expect("there are pipes");
        shell
            .stdout(input.try_clone().expect("a pipe can be opened twice"))
            .stderr(input);
        let child = shell.spawn().expect("there is a shell");
        // It holds the ends of the pipe that are written to: with it they are closed here.
        drop(shell);
        let printed: Arc<Mutex<Vec<u8>>> = Arc::default();
        let sink = Arc::clone(&printed);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut part) {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(&part[..count]);
            }
        });
        Self {
            child,
            printed,
            reader: Some(reader),
        }
    }

    /// Ends the command, unless it has ended; all that it has printed.
    fn end(&mut self) -> String {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.reader.take().map(JoinHandle::join));
        self.so_far()
    }

    fn so_far(&self) -> String {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&printed).into_owned()
    }
}

/// A process that is asked to end with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        signal("TERM", self.0.id());
        if wait_ended(&mut self.0, DEADLINE).is_err() {
            // Nothing more can be done about a process that cannot be killed.
            drop(self.0.kill().and_then(|()| self.0.wait()));
        }
    }
}
