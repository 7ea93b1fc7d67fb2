//! `daemonjob`: an admission webhook and a controller that run one Job on every node, in one process.
//!
//! Domain decisions are made in `daemonjob-core`, admission in `daemonjob-webhook`, certificates in
//! `daemonjob-certs`; here they meet a cluster.

mod admin;
mod certificates;
mod clock;
mod commands;
mod config;
mod controller;
mod lease;
mod metrics;
mod supervisor;
mod telemetry;
mod webhook;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Cli, Command, RunArgs};
use crate::supervisor::End;

/// Stopped by a second signal, as a shell would say it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    // Before anything speaks TLS: with two providers in the tree rustls would panic at the first handshake.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing installs a provider before main");
    let ended = match Cli::parse().command {
        Command::Run(args) => run(*args),
        Command::Crd => commands::print_crd(&mut std::io::stdout()).map(|()| End::Finished),
        Command::Hash { file } => commands::print_hashes(&file, &mut std::io::stdout()).map(|()| End::Finished),
    };
    match ended {
        Ok(End::Finished) => ExitCode::SUCCESS,
        Ok(End::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of the process, for the person who started it"
)]
fn report(error: &anyhow::Error) {
    eprintln!("daemonjob: {error:#}");
}

fn run(args: RunArgs) -> anyhow::Result<End> {
    telemetry::start(args.log_format, &args.log_level)?;
    allow_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(supervisor::run(args));
    // A look at mounted files may hang on a dead volume; the process does not wait for it.
    runtime.shutdown_background();
    ended
}

/// Processes start with 1,024 where the container runtime leaves it at that, for the sake of programs that use
/// `select`. With more, the webhook keeps more connections before it has to displace one.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
