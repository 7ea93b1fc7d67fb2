//! Builds one tool into its content-addressed folder, atomically and once even when several processes ask.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::golang;
use crate::tools::Tool;

/// A cold build of Kubernetes takes minutes: say now and then that it is still going on.
const STILL_BUILDING: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// Enough of Go's output to see the cause, short enough for a terminal.
const SHOWN_LINES: usize = 12;

/// Signs of a network that fails, in what Go prints.
const NETWORK_SIGNS: [&str; 7] = [
    "dial tcp",
    "no such host",
    "connection refused",
    "i/o timeout",
    "TLS handshake",
    "proxyconnect",
    "module lookup disabled",
];

/// Makes sure that the folder is there and complete.
pub(crate) fn provide(tool: &Tool, folder: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
    if folder.is_dir() {
        progress("found");
        return Ok(());
    }
    let _lock = lock(&beside(folder, "lock"), progress)?;
    // Another process may have built it while we waited.
    if folder.is_dir() {
        progress("found");
        return Ok(());
    }
    progress("building …");
    let begin = Instant::now();
    let draft = beside(folder, "draft");
    remove_folder(&draft)?;
    let source = draft.join("source");
    let output = draft.join("programs");
    fs::create_dir_all(&source)?;
    fs::create_dir_all(&output)?;
    for (name, text) in tool.sources {
        fs::write(source.join(name), text)?;
    }
    compile(tool, &source, &output, &beside(folder, "log"), progress)?;
    link(tool, &output)?;
    fs::rename(&output, folder).with_context(|| format!("{} cannot be moved into place", output.display()))?;
    remove_folder(&draft)?;
    progress(&format!("built in {} s", begin.elapsed().as_secs()));
    Ok(())
}

/// A path next to the folder: `NAME.what`.
fn beside(folder: &Path, what: &str) -> PathBuf {
    folder.with_extension(what)
}

fn remove_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(())
}

/// Holds the file locked; the system releases it however this process ends.
fn lock(path: &Path, progress: &mut dyn FnMut(&str)) -> Result<File> {
    let file = File::create(path).with_context(|| format!("{} cannot be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress("waiting for another process that builds it …"),
        Err(TryLockError::Error(error)) => return Err(error).context("the tools cannot be locked"),
    }
    file.lock().context("the tools cannot be locked")?;
    Ok(file)
}

fn compile(tool: &Tool, source: &Path, output: &Path, log: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let mut log_file = File::create(log)?;
    for (file, package) in tool.targets {
        writeln!(log_file, "go build {package}")?;
        let child = golang::command(source)
            .args(["build", "-ldflags", &tool.linker_flags(), "-o"])
            .arg(output.join(file))
            .arg(package)
            .stdout(log_file.try_clone()?)
            .stderr(log_file.try_clone()?)
            .spawn()
            .context("`go build` could not be run")?;
        if !attend(child, progress)?.success() {
            bail!(explain(tool, log, &fs::read_to_string(log).unwrap_or_default()));
        }
    }
    Ok(())
}

/// Waits for a build, with a sign of life each half minute.
fn attend(mut child: Child, progress: &mut dyn FnMut(&str)) -> Result<ExitStatus> {
    let begin = Instant::now();
    let mut next = STILL_BUILDING;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if begin.elapsed() >= next {
            progress(&format!("still building, {} s …", next.as_secs()));
            next += STILL_BUILDING;
        }
        thread::sleep(POLL);
    }
}

/// One sentence, then the end of Go's output.
fn explain(tool: &Tool, log: &Path, output: &str) -> String {
    let cause = if NETWORK_SIGNS.iter().any(|sign| output.contains(sign)) {
        "a Go module could not be downloaded: check the network and GOPROXY, and run this again"
    } else {
        "`go build` failed: see below and the whole log"
    };
    let lines: Vec<&str> = output.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(SHOWN_LINES)..)
        .unwrap_or_default()
        .join("\n  ");
    format!(
        "{} {} could not be built: {cause} ({})\n  {tail}",
        tool.name,
        tool.version(),
        log.display()
    )
}

/// Gives the one binary its other names.
fn link(tool: &Tool, output: &Path) -> Result<()> {
    let Some((file, _)) = tool.targets.first() else {
        return Ok(());
    };
    for program in tool.links {
        std::os::unix::fs::symlink(file, output.join(program.name()))?;
    }
    Ok(())
}
