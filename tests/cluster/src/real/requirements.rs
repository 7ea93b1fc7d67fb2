//! What a real node needs of the machine: root, namespaces, and programs of Debian's packages.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::command::run;
use crate::environment::Environment;
use crate::process::Process;

/// What is installed when something is missing.
const PACKAGES: [&str; 3] = ["busybox-static", "containernetworking-plugins", "runc"];
/// Where distributions have the network plugins.
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
const PLUGINS: [&str; 3] = ["bridge", "host-local", "loopback"];
/// The node sees folders of its own here.
const HIDDEN: [&str; 3] = ["/run", "/var/lib", "/var/log"];

/// Why no real node can run here whatever is installed; none if one can.
pub fn obstacle() -> Option<String> {
    if !Process::is_root() {
        return Some("a real node needs root: namespaces and control groups are not for users".to_owned());
    }
    let unshare = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "true"])
        .stdin(Stdio::null())
        .output();
    match unshare {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Some(format!(
                "a real node needs namespaces, and this machine gives none: {said}"
            ))
        }
        Err(error) => Some(format!("a real node needs the program unshare of util-linux: {error}")),
    }
}

/// Refuses a folder that the node would not see.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    for hidden in HIDDEN {
        if folder.starts_with(hidden) {
            bail!("a real node cannot live below {hidden}: set CARGO_TARGET_DIR to another folder");
        }
    }
    Ok(())
}

/// The programs that no tool builds.
#[derive(Debug)]
pub(crate) struct Requirements {
    busybox: PathBuf,
    nsenter: PathBuf,
    runc: PathBuf,
    unshare: PathBuf,
    /// The folder with bridge, host-local and loopback.
    pub(crate) network_plugins: PathBuf,
}

impl Requirements {
    /// Finds them, and has apt-get install what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        if let Some(obstacle) = obstacle() {
            bail!(obstacle);
        }
        if let Ok(found) = Self::find() {
            return Ok(found);
        }
        let shelf = Environment::of_process().cache()?;
        fs::create_dir_all(&shelf)?;
        let lock = File::create(shelf.join("packages.lock"))?;
        lock.lock().context("the packages cannot be locked")?;
        if let Ok(found) = Self::find() {
            return Ok(found);
        }
        install()?;
        Self::find()
    }

    fn find() -> Result<Self> {
        let mut plugins = PLUGIN_FOLDERS.map(PathBuf::from).into_iter();
        let has_all = |folder: &PathBuf| PLUGINS.iter().all(|plugin| folder.join(plugin).is_file());
        Ok(Self {
            busybox: static_busybox()?,
            nsenter: find("nsenter")?,
            runc: find("runc")?,
            unshare: find("unshare")?,
            network_plugins: plugins
                .find(has_all)
                .with_context(|| format!("no network plugins in {PLUGIN_FOLDERS:?}"))?,
        })
    }

    /// The names that they have in the folder of the node.
    pub(crate) fn programs(&self) -> [(&'static str, &Path); 5] {
        [
            ("busybox", &self.busybox),
            ("nsenter", &self.nsenter),
            ("runc", &self.runc),
            ("sh", &self.busybox),
            ("unshare", &self.unshare),
        ]
    }
}

/// A program in PATH, or where PATH of a user has none.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let mut files = folders.map(|folder| folder.join(name));
    let file = files
        .find(|file| file.is_file())
        .with_context(|| format!("there is no program {name}"))?;
    Ok(file.canonicalize()?)
}

/// One that also runs where there are no libraries: it does not name the loader of any.
fn static_busybox() -> Result<PathBuf> {
    let file = find("busybox")?;
    let mut head = Vec::new();
    File::open(&file)?.take(4096).read_to_end(&mut head)?;
    if head.windows(4).any(|bytes| bytes == b"/ld-") {
        bail!("{} is not static", file.display());
    }
    Ok(file)
}

fn install() -> Result<()> {
    let Ok(apt_get) = find("apt-get") else {
        bail!("a real node needs runc, the CNI plugins and a static busybox: install them");
    };
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new(&apt_get);
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"])
            .args(arguments);
        run(&mut command, None)?.checked().map(drop)
    };
    apt_get(&["update"])?;
    apt_get(&[["install", "--no-install-recommends"].as_slice(), &PACKAGES].concat())
        .context("the packages of a real node could not be installed")
}
