//! `make demo`: boots a control plane, installs the chart, runs the program, applies the examples one after another
//! and says what to notice.
//!
//! Everything that it starts belongs to its cluster, so whatever ends it (Ctrl-C, a panic, `kill -9`) ends that too.

mod kept;
mod scenes;
mod screen;
mod stage;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand};
use daemonjob_cluster::Tools;

use crate::screen::Screen;
use crate::stage::Stage;

/// Shows DaemonJobs on a real control plane.
#[derive(Debug, Parser)]
#[command(name = "daemonjob-demo", version)]
struct Cli {
    /// Leave everything running; `daemonjob-demo down` removes it
    #[arg(long, env = "KEEP", value_parser = FalseyValueParser::new())]
    keep: bool,
    /// Anything but nothing: print no colours
    #[arg(long, env = "NO_COLOR", value_name = "ANYTHING")]
    no_color: Option<OsString>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Remove a demo that was kept, also one that is partly dead
    Down,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_plain = cli.no_color.is_some_and(|value| !value.is_empty());
    let screen = Screen::new(std::io::stdout().is_terminal() && !is_plain);
    let ended = match cli.action {
        Some(Action::Down) => kept::remove(&screen),
        None => play(&screen, cli.keep),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(&format!("demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(screen: &Screen, is_kept: bool) -> Result<()> {
    let begin = Instant::now();
    // The commands that the demo shows name files of the repository.
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::set_current_dir(&repository).with_context(|| format!("{} is gone", repository.display()))?;
    let name = if is_kept {
        kept::claim()?;
        kept::NAME.to_owned()
    } else {
        // A name of its own: demos beside each other, and beside one that is kept, do not collide.
        format!("{}-{}", kept::NAME, std::process::id())
    };
    scenes::opening(screen)?;
    let tools = Tools::ensure(&mut |line| {
        // Only what takes time is worth a line.
        if !line.ends_with(": found") {
            tell(line);
        }
    })?;
    let stage = Stage::boot(screen, &tools, name)?;
    stage.or_tell_why(stage.open().and_then(|()| scenes::play(&stage)))?;
    if is_kept {
        kept::publish(stage, &tools, begin)
    } else {
        drop(stage);
        scenes::closing(screen, begin)
    }
}

/// Progress and errors go to standard error.
fn tell(line: &str) {
    // Nobody is left to tell when standard error is closed.
    drop(writeln!(std::io::stderr(), "{line}"));
}
