//! `make bench`: prints the webhook beside the echo and under half-open connections, and fails if a gate is missed.

mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use daemonjob_bench::{Arm, serve};

use crate::report::Plan;

/// The webhook under load, beside a bare echo of the same stack.
#[derive(Debug, Parser)]
#[command(name = "daemonjob-bench", version)]
struct Cli {
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Serve until standard input ends: the process that is measured
    #[command(hide = true)]
    Serve {
        /// What to serve
        arm: Arm,
        /// Open no more files than this
        #[arg(long)]
        files: Option<u64>,
    },
}

fn main() -> ExitCode {
    match act(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether all gates were met.
fn act(cli: &Cli) -> Result<bool> {
    match cli.action {
        Some(Action::Serve { arm, files }) => serve(arm, files).map(|()| true),
        None => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(report::print(&cli.plan))
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of the process, for the person who started it"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("bench: {error:#}");
}
