//! What we ask of Go: its version, its platform, and a few lines of a go.mod.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The flags of every build: reproducible (no paths, no repository), and never a change of go.mod.
pub(crate) const FLAGS: &str = "-mod=readonly -trimpath -buildvcs=false";

/// The Go that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Go {
    /// As Go prints it, such as `go1.26.8`.
    pub(crate) version: String,
    /// Operating system and processor, such as `linux/amd64`.
    pub(crate) platform: String,
}

impl Go {
    /// Asks the `go` in PATH.
    pub(crate) fn installed(folder: &Path, needed: &str) -> Result<Self> {
        let output = match command(folder).args(["env", "GOVERSION", "GOOS", "GOARCH"]).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!("Go is not installed (there is no `go` in PATH): install Go {needed} or newer")
            }
            Err(error) => return Err(error).context("`go env` could not be run"),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let (Some(version), Some(system), Some(processor)) = (lines.next(), lines.next(), lines.next()) else {
            bail!("`go env` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        };
        Ok(Self {
            version: version.to_owned(),
            platform: format!("{system}/{processor}"),
        })
    }

    /// Refuses a Go that is older than a module asks for.
    pub(crate) fn check(&self, needed: &str) -> Result<()> {
        if parse(&self.version) < parse(needed) {
            bail!("{} is too old: install Go {needed} or newer", self.version);
        }
        Ok(())
    }
}

/// A `go` command in the folder of a module, as the programs here are built.
///
/// # Errors
/// If no Go is installed, or one that is older than the module asks for.
pub fn go(module: &Path) -> Result<Command> {
    let file = module.join("go.mod");
    let go_mod = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let needed = needed(&go_mod).with_context(|| format!("{} names no version of Go", file.display()))?;
    Go::installed(module, needed)?.check(needed)?;
    Ok(command(module))
}

/// A `go` command that neither downloads another Go nor lets the user's settings or a workspace change the result.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(folder)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", FLAGS)
        .env("GOWORK", "off");
    command
}

/// The numbers of a Go version: `go1.26.8`, `1.27rc1`, `devel go1.28-0123abc …`.
fn parse(version: &str) -> Option<(u32, u32, u32)> {
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..end).and_then(|digits| digits.parse::<u32>().ok())
    };
    let word = version.split_whitespace().find(|word| *word != "devel")?;
    let mut parts = word.trim_start_matches("go").split('.');
    let major = number(parts.next()?)?;
    let minor = number(parts.next()?)?;
    Some((major, minor, parts.next().and_then(number).unwrap_or(0)))
}

/// The Go that a go.mod asks for: its `go` directive.
pub(crate) fn needed(go_mod: &str) -> Option<&str> {
    go_mod.lines().find_map(|line| line.strip_prefix("go ")).map(str::trim)
}

/// The version at which a go.mod requires a module.
pub(crate) fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.trim().trim_start_matches("require ").split_whitespace();
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
            .filter(|version| version.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(version: &str) -> Go {
        Go {
            version: version.into(),
            platform: "linux/amd64".into(),
        }
    }

    #[test]
    fn versions_compare_as_numbers() {
        for new_enough in [
            "go1.26.0",
            "go1.26.8",
            "go1.27rc1",
            "go1.100.0",
            "devel go1.28-0123abc Mon",
            "go2.0",
        ] {
            assert!(go(new_enough).check("1.26.0").is_ok(), "{new_enough}");
        }
        for too_old in ["go1.25.9", "go1.9", "go1.26.0", "nonsense"] {
            assert!(go(too_old).check("1.26.1").is_err(), "{too_old}");
        }
    }

    #[test]
    fn too_old_says_what_is_there_and_what_is_needed() {
        let error = go("go1.25.3").check("1.26.0").unwrap_err().to_string();
        assert!(error.contains("go1.25.3") && error.contains("1.26.0"), "{error}");
    }

    #[test]
    fn a_go_mod_tells_its_go_and_its_versions() {
        let text = "module x\n\ngo 1.26.0\n\nrequire a.b/one v1.2.3\nrequire (\n\ta.b/two v0.4.0 // indirect\n)\n\
                    replace a.b/three => a.b/three v9.9.9\n";
        assert_eq!(needed(text), Some("1.26.0"));
        assert_eq!(required(text, "a.b/one"), Some("v1.2.3"));
        assert_eq!(required(text, "a.b/two"), Some("v0.4.0"));
        assert_eq!(required(text, "a.b/three"), None);
    }
}
