//! The demo that stays: one per checkout, in `target/demo`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use daemonjob_cluster::{Program, State, Tools, default_workdir, list, remove as remove_cluster};

use crate::screen::Screen;
use crate::stage::{PROGRAM, Stage};

/// The name of its cluster and of its folder.
pub(crate) const NAME: &str = "demo";

fn folder() -> PathBuf {
    default_workdir().with_file_name(NAME)
}

/// Makes way for a new one, unless there is one.
pub(crate) fn claim() -> Result<()> {
    let there = list(&default_workdir())?.into_iter().find(|entry| entry.name == NAME);
    match there.map(|entry| entry.state) {
        Some(State::Kept) => bail!(
            "a demo is running already: use it with `export KUBECONFIG={}`, or remove it with `make demo-down`",
            folder().join("kubeconfig").display()
        ),
        Some(State::Owned) => bail!("another `KEEP=1 make demo` of this checkout is running now: wait for its end"),
        Some(State::Abandoned) | None => remove_folder(),
    }
}

/// Leaves everything running, and lays out what one needs to go on by hand.
pub(crate) fn publish(mut stage: Stage<'_>, tools: &Tools, begin: Instant) -> Result<()> {
    let folder = folder();
    lay_out(&stage, tools, &folder).with_context(|| format!("{} cannot be written", folder.display()))?;
    stage.cluster.keep()?;
    let (screen, folder) = (stage.screen, folder.display());
    screen.title(&format!("It goes on running (after {} s)", begin.elapsed().as_secs()))?;
    screen.command(&format!(
        "export KUBECONFIG={folder}/kubeconfig PATH={folder}/bin:$PATH"
    ))?;
    screen.command("kubectl get dj,jobs,nodes")?;
    screen.command("kubectl apply -f examples/01-sample.yaml")?;
    screen.command("kubectl explain dj.spec")?;
    screen.command(&format!("tail -f {folder}/daemonjob.log"))?;
    screen.command("make demo-down")?;
    screen.say(&format!(
        "\nbin holds kubectl and helm, NAME.log and NAME.pid belong to {PROGRAM} and to each part of the control plane."
    ))
}

/// Logs are links, because they grow; the rest is written.
fn lay_out(stage: &Stage<'_>, tools: &Tools, folder: &Path) -> Result<()> {
    let cluster = &stage.cluster;
    fs::create_dir_all(folder.join("bin"))?;
    for program in [Program::Helm, Program::Kubectl] {
        symlink(tools.path(program), folder.join("bin").join(program.name()))?;
    }
    let kubeconfig = cluster.run(["config", "view", "--raw", "--flatten", "--minify"])?;
    let file = folder.join("kubeconfig");
    fs::write(&file, kubeconfig)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    symlink(stage.program_log(), folder.join("daemonjob.log"))?;
    fs::copy(cluster.folder().join("daemonjob.pid"), folder.join("daemonjob.pid"))?;
    // Where kwokctl keeps them.
    let home = cluster.folder().join("kwok/clusters").join(cluster.name());
    for entry in fs::read_dir(home.join("logs"))? {
        let entry = entry?;
        symlink(entry.path(), folder.join(entry.file_name()))?;
    }
    for entry in fs::read_dir(home.join("pids"))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(())
}

/// Removes whatever is left of it.
pub(crate) fn remove(screen: &Screen) -> Result<()> {
    let is_there = default_workdir().join(NAME).is_dir();
    if is_there {
        remove_cluster(&default_workdir(), NAME)?;
    }
    remove_folder()?;
    screen.say(if is_there {
        "The demo is removed."
    } else {
        "There is no demo to remove."
    })
}

fn remove_folder() -> Result<()> {
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
    }
    Ok(())
}
