//! The local control plane from the command line.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use daemonjob_cluster::{Cluster, Options, Program, Tools, default_workdir, list, real_node_obstacle, remove};

/// A real Kubernetes control plane on loopback: etcd, API server, controller manager and scheduler, with nodes that kwok plays.
///
/// The programs are built from pinned Go modules into your cache folder, once:
/// minutes at first, nothing afterwards.
/// Jobs on the fake nodes succeed within a second or two;
/// a Pod label `outcome: fail` makes them fail, `outcome: hang` makes them run until they are deleted.
#[derive(Debug, Parser)]
#[command(name = "daemonjob-cluster", version, after_help = ENVIRONMENT)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

const ENVIRONMENT: &str = "Environment:
  DAEMONJOB_TOOLS_DIR    folder for the built programs (else $XDG_CACHE_HOME, else ~/.cache)
  KUBEBUILDER_ASSETS     folder of ready-made programs; what it lacks is built
  TEST_ASSET_<PROGRAM>   one ready-made program, such as TEST_ASSET_KUBE_APISERVER
  CARGO_TARGET_DIR       the clusters live below it, in `clusters`

Examples:
  daemonjob-cluster up --name play --nodes 5 --kubeconfig ./kubeconfig
  eval \"$(daemonjob-cluster tools --print-env)\"; KUBECONFIG=./kubeconfig \"$TEST_ASSET_KUBECTL\" get nodes
  daemonjob-cluster down --name play
  daemonjob-cluster run --nodes 3 -- sh -c 'exec \"$TEST_ASSET_KUBECTL\" get nodes'";

#[derive(Debug, Subcommand)]
enum Action {
    /// Delete a cluster: its processes and its folder
    Down {
        /// The name it was started with
        #[arg(long)]
        name: String,
    },
    /// Show the clusters of this checkout: name, state and kubeconfig
    List,
    /// Run a command with a cluster of its own, KUBECONFIG set, and delete the cluster when it ends
    Run {
        /// How many nodes, named node-1, node-2, …
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Build the programs that are missing and print where they are
    Tools {
        /// Those of a real node, too, where one can run
        #[arg(long)]
        real_node: bool,
        /// Print `export TEST_ASSET_…` lines for a shell instead
        #[arg(long)]
        print_env: bool,
    },
    /// Start a cluster that runs until `down`
    Up {
        /// Its name: a-z, 0-9 and -
        #[arg(long)]
        name: String,
        /// How many nodes, named node-1, node-2, …
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// Also run a real node of this name, with containers (root); its cluster is in a network of its own
        #[arg(long, value_name = "NAME")]
        real_node: Option<String>,
        /// Also write a kubeconfig with embedded certificates here
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            tell(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<ExitCode> {
    match action {
        Action::Down { name } => remove(&default_workdir(), &name)?,
        Action::List => print(&table()?)?,
        Action::Run { nodes, command } => return run(nodes, &command),
        Action::Tools { real_node, print_env } => print(&tools(real_node, print_env)?)?,
        Action::Up {
            name,
            nodes,
            real_node,
            kubeconfig,
        } => up(name, nodes, real_node, kubeconfig.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Where no real node can run, its programs are left out, with the reason.
fn tools(with_real_node: bool, is_export: bool) -> Result<String> {
    let mut programs = Program::ALL.to_vec();
    let tools = match real_node_obstacle() {
        None if with_real_node => {
            programs.extend(Program::OF_A_REAL_NODE);
            Tools::ensure_for_real_node(&mut tell)?
        }
        Some(obstacle) if with_real_node => {
            tell(&format!("without a real node: {obstacle}"));
            Tools::ensure(&mut tell)?
        }
        _ => Tools::ensure(&mut tell)?,
    };
    let line = |program: &Program| tool_line(*program, tools.path(*program), is_export);
    Ok(programs.iter().map(line).collect())
}

/// The exit code is the command's; 1 if a signal ended it.
fn run(nodes: usize, command: &[OsString]) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("there is no command to run")?;
    let tools = Tools::ensure(&mut tell)?;
    let cluster = Cluster::start(&tools, &Options::with_nodes(nodes))?;
    let status = Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig())
        .status()
        .with_context(|| format!("`{}` could not be run", program.display()))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .map_or(ExitCode::FAILURE, ExitCode::from))
}

fn up(name: String, nodes: usize, real_node: Option<String>, kubeconfig: Option<&Path>) -> Result<()> {
    let tools = if real_node.is_some() {
        Tools::ensure_for_real_node(&mut tell)?
    } else {
        Tools::ensure(&mut tell)?
    };
    let mut cluster = Cluster::start(
        &tools,
        &Options {
            name: Some(name),
            real_node,
            ..Options::with_nodes(nodes)
        },
    )?;
    let file = match kubeconfig {
        Some(file) => {
            let text = cluster.run(["config", "view", "--raw", "--flatten", "--minify"])?;
            fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))?;
            file.to_owned()
        }
        None => cluster.kubeconfig(),
    };
    cluster.keep()?;
    print(&format!("export KUBECONFIG={}\n", quoted(&std::path::absolute(file)?)))
}

fn table() -> Result<String> {
    let line = |entry: &daemonjob_cluster::Entry| {
        format!(
            "{:<24} {:<10} {}\n",
            entry.name,
            entry.state.word(),
            entry.kubeconfig.display()
        )
    };
    Ok(list(&default_workdir())?.iter().map(line).collect())
}

fn tool_line(program: Program, path: &Path, is_export: bool) -> String {
    if is_export {
        format!("export {}={}\n", program.variable(), quoted(path))
    } else {
        format!("{:<24} {}\n", program.name(), path.display())
    }
}

/// A word for a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

fn print(text: &str) -> Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("standard output is closed")
}

/// Progress and errors go to standard error, so that standard output can be used by a script.
fn tell(line: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "{line}"));
}
