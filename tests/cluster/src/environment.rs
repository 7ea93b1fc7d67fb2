//! The environment, read once and handed on, so that everything below is a function of its arguments.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use anyhow::{Context, Result};

/// Whether `SOAK=1` asks tests for the full numbers.
pub fn is_soak() -> bool {
    Environment::of_process()
        .value("SOAK")
        .is_some_and(|value| value == "1")
}

/// The variables of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The variables of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
        }
    }

    /// The value of a variable; one that is set to nothing counts as unset.
    pub(crate) fn value(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The names of all variables that start with a prefix.
    pub(crate) fn names_with(&self, prefix: &str) -> Vec<OsString> {
        let has_prefix = |name: &&OsString| name.to_string_lossy().starts_with(prefix);
        self.variables.keys().filter(has_prefix).cloned().collect()
    }

    /// Our folder in the user's cache, so that every clone on the machine finds the same tools and ports.
    pub(crate) fn cache(&self) -> Result<PathBuf> {
        let folder = self
            .value("DAEMONJOB_TOOLS_DIR")
            .or_else(|| self.value("XDG_CACHE_HOME"))
            .map(PathBuf::from)
            .or_else(|| self.value("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .context("there is no folder for the tools: set DAEMONJOB_TOOLS_DIR or HOME")?;
        Ok(std::path::absolute(folder)?.join("daemonjob"))
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(pairs: [(&str, &str); N]) -> Self {
        Self {
            variables: pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_the_first_of_three_variables() {
        let home = ("HOME", "/home/a");
        let xdg = ("XDG_CACHE_HOME", "/cache");
        let own = ("DAEMONJOB_TOOLS_DIR", "/own");
        let cache = |environment: Environment| environment.cache().unwrap();
        assert_eq!(cache([home].into()), PathBuf::from("/home/a/.cache/daemonjob"));
        assert_eq!(cache([home, xdg].into()), PathBuf::from("/cache/daemonjob"));
        assert_eq!(cache([home, xdg, own].into()), PathBuf::from("/own/daemonjob"));
        assert_eq!(
            cache([home, ("XDG_CACHE_HOME", "")].into()),
            PathBuf::from("/home/a/.cache/daemonjob")
        );
    }

    #[test]
    fn without_any_of_them_the_error_names_the_way_out() {
        let error = Environment::default().cache().unwrap_err().to_string();
        assert!(error.contains("DAEMONJOB_TOOLS_DIR"), "{error}");
    }
}
