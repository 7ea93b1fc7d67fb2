//! The programs that a cluster needs, and the variables that name ready-made ones.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::environment::Environment;

/// The folder of ready-made programs, as controller-runtime's envtest calls it.
pub(crate) const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// A program that the cluster or its user runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// Runs the containers of a real node.
    Containerd,
    /// Watches over the containers of one Pod.
    ContainerdShim,
    /// The command line client of containerd.
    Ctr,
    /// The store of the API server.
    Etcd,
    /// Helm 4.
    Helm,
    /// Helm 3, which many still use.
    Helm3,
    /// The API server.
    KubeApiserver,
    /// The built-in controllers, among them the Job controller and garbage collection.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// The command line client.
    Kubectl,
    /// The agent of a real node.
    Kubelet,
    /// Plays the kubelets.
    Kwok,
    /// Starts and stops the others.
    Kwokctl,
    /// Sends requests at a steady rate and tells how they went.
    Vegeta,
}

impl Program {
    /// What a cluster with played nodes needs.
    pub const ALL: [Self; 9] = [
        Self::Etcd,
        Self::Helm,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::Kubectl,
        Self::Kwok,
        Self::Kwokctl,
        Self::Vegeta,
    ];

    /// What a real node, and the tests on it, need beside that.
    pub const OF_A_REAL_NODE: [Self; 5] = [
        Self::Containerd,
        Self::ContainerdShim,
        Self::Ctr,
        Self::Helm3,
        Self::Kubelet,
    ];

    /// The name of its file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::ContainerdShim => "containerd-shim-runc-v2",
            Self::Ctr => "ctr",
            Self::Etcd => "etcd",
            Self::Helm => "helm",
            Self::Helm3 => "helm3",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kubelet => "kubelet",
            Self::Kwok => "kwok",
            Self::Kwokctl => "kwokctl",
            Self::Vegeta => "vegeta",
        }
    }

    /// The variable that names a ready-made file, such as `TEST_ASSET_KUBE_APISERVER`.
    pub fn variable(self) -> String {
        format!("TEST_ASSET_{}", self.name().to_uppercase().replace('-', "_"))
    }

    /// The ready-made file, if the environment names one.
    pub(crate) fn ready_made(self, environment: &Environment) -> Result<Option<PathBuf>> {
        let variable = self.variable();
        if let Some(file) = environment.value(&variable) {
            let file = Path::new(file);
            if !file.is_file() {
                bail!(
                    "{variable} names {}, and there is no such file: correct or unset it",
                    file.display()
                );
            }
            return Ok(Some(std::path::absolute(file)?));
        }
        let Some(folder) = environment.value(ASSETS) else {
            return Ok(None);
        };
        let folder = Path::new(folder);
        if !folder.is_dir() {
            bail!(
                "{ASSETS} names {}, and there is no such folder: correct or unset it",
                folder.display()
            );
        }
        let file = folder.join(self.name());
        Ok(if file.is_file() {
            Some(std::path::absolute(file)?)
        } else {
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        folder
    }

    #[test]
    fn variables_follow_envtest() {
        assert_eq!(Program::KubeApiserver.variable(), "TEST_ASSET_KUBE_APISERVER");
        assert_eq!(Program::Etcd.variable(), "TEST_ASSET_ETCD");
    }

    #[test]
    fn nothing_set_names_nothing() {
        assert_eq!(Program::Etcd.ready_made(&Environment::default()).unwrap(), None);
    }

    #[test]
    fn a_folder_offers_what_it_holds() {
        let folder = folder_with(&["etcd"]);
        let environment = Environment::from([(ASSETS, folder.path().to_str().unwrap())]);
        assert_eq!(
            Program::Etcd.ready_made(&environment).unwrap(),
            Some(folder.path().join("etcd"))
        );
        assert_eq!(Program::Helm.ready_made(&environment).unwrap(), None);
    }

    #[test]
    fn a_file_wins_over_the_folder() {
        let folder = folder_with(&["etcd", "other"]);
        let other = folder.path().join("other");
        let environment = Environment::from([
            (ASSETS, folder.path().to_str().unwrap()),
            ("TEST_ASSET_ETCD", other.to_str().unwrap()),
        ]);
        assert_eq!(Program::Etcd.ready_made(&environment).unwrap(), Some(other));
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_that_names_its_variable() {
        let environment = Environment::from([("TEST_ASSET_ETCD", "/nowhere/etcd")]);
        let error = Program::Etcd.ready_made(&environment).unwrap_err().to_string();
        assert!(
            error.contains("TEST_ASSET_ETCD") && error.contains("/nowhere/etcd"),
            "{error}"
        );
        let environment = Environment::from([(ASSETS, "/nowhere")]);
        let error = Program::Etcd.ready_made(&environment).unwrap_err().to_string();
        assert!(error.contains(ASSETS), "{error}");
    }
}
