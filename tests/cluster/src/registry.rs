//! Which clusters there are: a folder each, with a file that names the owner.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::environment::Environment;
use crate::launch::check_name;
use crate::process::Process;
use crate::reaper;

const OWNER: &str = "owner";
const KEPT: &str = "kept\n";

/// Whose a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its owner is gone: the next start deletes it.
    Abandoned,
    /// It stays until somebody deletes it.
    Kept,
    /// Its owner runs and will delete it.
    Owned,
}

impl State {
    /// A word for a table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Abandoned => "abandoned",
            Self::Kept => "kept",
            Self::Owned => "owned",
        }
    }
}

/// A cluster that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub state: State,
    /// How to reach it.
    pub kubeconfig: PathBuf,
}

/// `target/clusters` of this checkout.
pub fn default_workdir() -> PathBuf {
    let environment = Environment::of_process();
    let checkout = || {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .unwrap_or(Path::new("."))
            .join("target")
    };
    let target = environment
        .value("CARGO_TARGET_DIR")
        .map_or_else(checkout, PathBuf::from);
    target.join("clusters")
}

/// The clusters in a folder, by name.
///
/// # Errors
/// When the folder is there and cannot be read.
pub fn list(workdir: &Path) -> Result<Vec<Entry>> {
    if !workdir.exists() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(workdir).with_context(|| format!("{} cannot be read", workdir.display()))? {
        let folder = entry?.path();
        if let (Some(state), Some(name)) = (state(&folder), folder.file_name()) {
            let name = name.to_string_lossy().into_owned();
            entries.push(Entry {
                name,
                state,
                kubeconfig: folder.join("kubeconfig"),
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Deletes a cluster, whoever started it.
///
/// # Errors
/// When there is no such cluster, or it cannot be deleted.
pub fn remove(workdir: &Path, name: &str) -> Result<()> {
    check_name(name)?;
    let folder = workdir.join(name);
    if !folder.is_dir() {
        bail!("there is no cluster `{name}` in {}", workdir.display());
    }
    let folder = folder.canonicalize()?;
    reaper::reap(&folder)?;
    if folder.exists() {
        bail!(
            "cluster `{name}` could not be deleted: {} is still there",
            folder.display()
        );
    }
    Ok(())
}

/// Deletes the clusters whose owners are gone.
pub(crate) fn sweep(workdir: &Path) -> Result<()> {
    for entry in list(workdir)? {
        if entry.state == State::Abandoned {
            reaper::reap(&workdir.join(&entry.name))?;
        }
    }
    Ok(())
}

/// Makes the folder of a new cluster; none if the name is taken.
pub(crate) fn claim(workdir: &Path, name: &str) -> Result<Option<PathBuf>> {
    let folder = workdir.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be made", folder.display())),
    }
    let this = Process::current().context("this process is not under /proc: the cluster needs Linux")?;
    fs::write(folder.join(OWNER), this.write())?;
    Ok(Some(folder))
}

/// From now on the cluster has no owner.
pub(crate) fn keep(folder: &Path) -> Result<()> {
    fs::write(folder.join(OWNER), KEPT).with_context(|| format!("{} cannot be written", folder.display()))
}

/// None for a folder without an owner file: no cluster, or one in the instant of its birth.
fn state(folder: &Path) -> Option<State> {
    let text = fs::read_to_string(folder.join(OWNER)).ok()?;
    if text == KEPT {
        return Some(State::Kept);
    }
    let owner = Process::parse(&text)?;
    Some(if owner.is_alive() {
        State::Owned
    } else {
        State::Abandoned
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_claimed_once() {
        let workdir = tempfile::tempdir().unwrap();
        assert!(claim(workdir.path(), "a").unwrap().is_some());
        assert!(claim(workdir.path(), "a").unwrap().is_none());
    }

    #[test]
    fn only_clusters_whose_owner_is_gone_are_swept_away() {
        let workdir = tempfile::tempdir().unwrap();
        let workdir = workdir.path();
        claim(workdir, "mine").unwrap();
        keep(&claim(workdir, "kept").unwrap().unwrap()).unwrap();
        let gone = claim(workdir, "gone").unwrap().unwrap();
        // Our pid with another start time: the pid of the owner was reused.
        fs::write(gone.join(OWNER), format!("{} 1\n", std::process::id())).unwrap();
        fs::create_dir(workdir.join("stranger")).unwrap();
        sweep(workdir).unwrap();
        let found: Vec<_> = list(workdir)
            .unwrap()
            .into_iter()
            .map(|entry| (entry.name, entry.state))
            .collect();
        assert_eq!(
            found,
            [("kept".to_owned(), State::Kept), ("mine".to_owned(), State::Owned)]
        );
        assert!(workdir.join("stranger").exists());
    }

    #[test]
    fn removing_what_is_not_there_is_one_sentence() {
        let workdir = tempfile::tempdir().unwrap();
        let error = remove(workdir.path(), "nobody").unwrap_err().to_string();
        assert!(error.contains("there is no cluster `nobody`"), "{error}");
    }
}
