//! Builds the program so that its bytes depend on the sources and the tools alone.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::layer::PROGRAM;

/// glibc's static library has all that the program calls, resolving names included.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The library's sources, below the toolchain's folder, where the component rust-src is installed.
const LIBRARY: &str = "lib/rustlib/src/rust";
/// How variables begin that are kept from cargo. The first two come from the cargo that runs this program: ring's build
/// script looks at them, and would have half of the program built anew.
const UNHEARD: [&str; 5] = [
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PROFILE_",
    "CFLAGS",
    "TARGET_CFLAGS",
];

/// How the program is compiled: a profile of the root Cargo.toml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What is shipped: minutes of compiling.
    Dist,
    /// What tests run in containers: built soon, large and slow.
    Dev,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Dev => "dev",
        }
    }

    /// Where cargo puts what it makes.
    const fn folder(self) -> &'static str {
        match self {
            Self::Dist => "dist",
            Self::Dev => "debug",
        }
    }
}

/// Builds the program of the workspace in this folder and returns its path.
/// What cargo makes on the way goes into `target`, or where it goes anyway.
///
/// # Errors
///
/// When a tool is missing or the build fails.
pub fn build(workspace: &Path, profile: Profile, target: Option<&Path>) -> Result<PathBuf> {
    let metadata = metadata(workspace)?;
    let folder = target.or_else(|| metadata["target_directory"].as_str().map(Path::new));
    let folder = folder.context("cargo names no target folder")?;
    let status = cargo(workspace)
        .args(["build", "--locked", "--profile", profile.name(), "--target", TARGET])
        .args(["--package", PROGRAM, "--bin", PROGRAM, "--target-dir"])
        .arg(folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, &metadata)?.join("\x1f"))
        .status()
        .context("cargo cannot be run")?;
    ensure!(status.success(), "the program was not built");
    Ok([TARGET, profile.folder(), PROGRAM]
        .iter()
        .fold(folder.to_owned(), |path, part| path.join(part)))
}

/// cargo, which hears of the user's own settings none that would change the program.
fn cargo(workspace: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if UNHEARD.iter().any(|start| text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    command
}

/// What cargo knows of the packages; fetches those that are missing.
fn metadata(workspace: &Path) -> Result<Value> {
    let mut command = cargo(workspace);
    command.args([
        "metadata",
        "--locked",
        "--format-version=1",
        "--filter-platform",
        TARGET,
    ]);
    serde_json::from_str(&output(&mut command)?).context("cargo's metadata cannot be read")
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("{name} cannot be run"))?;
    ensure!(output.status.success(), "{name} failed");
    Ok(String::from_utf8(output.stdout)?)
}

/// Static, and every folder that may be elsewhere on another machine has a name that is not.
fn flags(workspace: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    let mut rename = |from: &Path, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    let root = metadata["workspace_root"]
        .as_str()
        .context("cargo names no workspace")?;
    rename(Path::new(root), "/daemonjob");
    for folder in library_folders(metadata)? {
        rename(&folder, "/crates");
    }
    let toolchain = rustc(workspace, &["--print", "sysroot"])?;
    let version = rustc(workspace, &["-vV"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let commit = commit.context("rustc does not tell its commit")?;
    // So the library calls its files where those sources are not installed.
    rename(
        &Path::new(toolchain.trim_end()).join(LIBRARY),
        &format!("/rustc/{commit}"),
    );
    Ok(flags)
}

fn rustc(workspace: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    output(command.current_dir(workspace).args(arguments))
}

/// The folders that hold the sources of libraries, wherever cargo has its home or finds them.
fn library_folders(metadata: &Value) -> Result<BTreeSet<PathBuf>> {
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let manifests = packages
        .iter()
        .filter(|package| !package["source"].is_null())
        .filter_map(|package| package["manifest_path"].as_str());
    // FOLDER/NAME-VERSION/Cargo.toml
    let folders = manifests.filter_map(|manifest| Path::new(manifest).ancestors().nth(2));
    Ok(folders.map(Path::to_owned).collect())
}
