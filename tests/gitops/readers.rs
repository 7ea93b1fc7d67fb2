//! GitOps tools' own code, which is Go: `readers/` holds what calls it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// How kstatus reads an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Current,
    Failed,
    InProgress,
}

impl State {
    const fn kstatus(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::Failed => "Failed",
            Self::InProgress => "InProgress",
        }
    }

    /// The same in Argo CD's words.
    const fn argo(self) -> &'static str {
        match self {
            Self::Current => "Healthy",
            Self::Failed => "Degraded",
            Self::InProgress => "Progressing",
        }
    }
}

/// An object, and how it must be read.
pub(crate) struct Situation {
    pub(crate) name: String,
    pub(crate) object: Value,
    pub(crate) state: State,
    /// Whether every node has run it, which a current one need not say.
    pub(crate) is_complete: bool,
}

impl Situation {
    fn json(&self) -> Value {
        let is_unfinished = self.state == State::Current && !self.is_complete;
        let by_complete = if is_unfinished { State::InProgress } else { self.state };
        json!({
            "name": self.name,
            "object": self.object,
            "kstatus": self.state.kstatus(),
            "complete": by_complete.kstatus(),
            "argo": self.state.argo(),
        })
    }
}

/// Runs one of the Go tests; what it printed.
fn go_test(name: &str, variables: &[(&str, &OsStr)]) -> Result<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut go: Command = daemonjob_cluster::go(&repository.join("tests/gitops/readers"))?;
    go.args(["test", "-count=1", "-v", "-run", &format!("^{name}$"), "."])
        .env("REPOSITORY", repository)
        .envs(variables.iter().copied());
    let output = go.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success() && said.contains(&format!("--- PASS: {name} (")),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Writes a file for a Go test, in a folder that goes with the value.
fn file(text: &str) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("input");
    fs::write(&file, text)?;
    Ok((folder, file))
}

/// Has kstatus, Flux's expressions and Argo CD's Lua read all of these.
///
/// # Errors
/// If there is no Go, or one of them is read otherwise.
pub(crate) fn read(situations: &[Situation]) -> Result<()> {
    let all: Vec<Value> = situations.iter().map(Situation::json).collect();
    let (_folder, file) = file(&json!(all).to_string())?;
    let said = go_test("TestSituations", &[("SITUATIONS", file.as_os_str())])?;
    for Situation { name, .. } in situations {
        let line = format!("--- PASS: TestSituations/{name} (");
        ensure!(said.contains(&line), "{name} was not read: {said}");
    }
    Ok(())
}

/// Has Flux's own code apply manifests ten times.
///
/// # Errors
/// If anything is changed after the first time.
pub(crate) fn flux_syncs(kubeconfig: &Path, namespace: &str, manifests: &str) -> Result<()> {
    let (_folder, file) = file(manifests)?;
    let variables = [
        ("KUBECONFIG", kubeconfig.as_os_str()),
        ("MANIFESTS", file.as_os_str()),
        ("NAMESPACE", OsStr::new(namespace)),
    ];
    go_test("TestFluxSyncs", &variables).map(drop)
}
