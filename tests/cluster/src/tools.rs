//! The tools: which module gives which programs, and where they end up.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::builder;
use crate::environment::Environment;
use crate::golang::{self, Go};
use crate::process::Process;
use crate::program::{ASSETS, Program};
use crate::real;

/// One Go module: its own go.mod, because a shared one would force one Kubernetes version on all tools.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// The module whose version is the tool's.
    module: &'static str,
    /// The files of the module.
    pub(crate) sources: &'static [(&'static str, &'static str)],
    /// Output file and package of each build.
    pub(crate) targets: &'static [(&'static str, &'static str)],
    /// Further names of the first output file.
    pub(crate) links: &'static [Program],
    /// The programs that it gives.
    programs: &'static [Program],
    /// The linker's variables that hold the version.
    stamps: fn(&str) -> Vec<String>,
}

const KUBERNETES: [Program; 4] = [
    Program::KubeApiserver,
    Program::KubeControllerManager,
    Program::KubeScheduler,
    Program::Kubectl,
];

/// The slowest comes first: whoever watches learns early how long it takes.
static TOOLS: [Tool; 8] = [
    Tool {
        name: "kubernetes",
        module: "k8s.io/kubernetes",
        sources: &[
            ("go.mod", include_str!("../tools/kubernetes/go.mod")),
            ("go.sum", include_str!("../tools/kubernetes/go.sum")),
            ("main.go", include_str!("../tools/kubernetes/main.go")),
        ],
        targets: &[("kubernetes", ".")],
        links: &KUBERNETES,
        programs: &KUBERNETES,
        stamps: kubernetes_stamps,
    },
    Tool {
        name: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        sources: &[
            ("go.mod", include_str!("../tools/etcd/go.mod")),
            ("go.sum", include_str!("../tools/etcd/go.sum")),
        ],
        targets: &[("etcd", "go.etcd.io/etcd/server/v3")],
        links: &[],
        programs: &[Program::Etcd],
        stamps: |_| Vec::new(),
    },
    Tool {
        name: "kwok",
        module: "sigs.k8s.io/kwok",
        sources: &[
            ("go.mod", include_str!("../tools/kwok/go.mod")),
            ("go.sum", include_str!("../tools/kwok/go.sum")),
        ],
        targets: &[
            ("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
            ("kwokctl", "sigs.k8s.io/kwok/cmd/kwokctl"),
        ],
        links: &[],
        programs: &[Program::Kwok, Program::Kwokctl],
        stamps: |_| Vec::new(),
    },
    Tool {
        name: "helm",
        module: "helm.sh/helm/v4",
        sources: &[
            ("go.mod", include_str!("../tools/helm/go.mod")),
            ("go.sum", include_str!("../tools/helm/go.sum")),
        ],
        targets: &[("helm", "helm.sh/helm/v4/cmd/helm")],
        links: &[],
        programs: &[Program::Helm],
        stamps: |version| vec![format!("helm.sh/helm/v4/internal/version.version={version}")],
    },
    Tool {
        name: "vegeta",
        module: "github.com/tsenart/vegeta/v12",
        sources: &[
            ("go.mod", include_str!("../tools/vegeta/go.mod")),
            ("go.sum", include_str!("../tools/vegeta/go.sum")),
        ],
        targets: &[("vegeta", "github.com/tsenart/vegeta/v12")],
        links: &[],
        programs: &[Program::Vegeta],
        stamps: |_| Vec::new(),
    },
    Tool {
        name: "kubelet",
        module: "k8s.io/kubernetes",
        // The module of the control plane, so that both are of one version; a binary of its own, so that whoever needs
        // no real node waits for none.
        sources: &[
            ("go.mod", include_str!("../tools/kubernetes/go.mod")),
            ("go.sum", include_str!("../tools/kubernetes/go.sum")),
            ("main.go", include_str!("../tools/kubernetes/kubelet/main.go")),
        ],
        targets: &[("kubelet", ".")],
        links: &[],
        programs: &[Program::Kubelet],
        stamps: kubernetes_stamps,
    },
    Tool {
        name: "containerd",
        module: "github.com/containerd/containerd/v2",
        sources: &[
            ("go.mod", include_str!("../tools/containerd/go.mod")),
            ("go.sum", include_str!("../tools/containerd/go.sum")),
        ],
        targets: &[
            ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            (
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
        links: &[],
        programs: &[Program::Containerd, Program::ContainerdShim, Program::Ctr],
        stamps: |version| vec![format!("github.com/containerd/containerd/v2/version.Version={version}")],
    },
    Tool {
        name: "helm3",
        module: "helm.sh/helm/v3",
        sources: &[
            ("go.mod", include_str!("../tools/helm3/go.mod")),
            ("go.sum", include_str!("../tools/helm3/go.sum")),
        ],
        targets: &[("helm3", "helm.sh/helm/v3/cmd/helm")],
        links: &[],
        programs: &[Program::Helm3],
        stamps: |version| vec![format!("helm.sh/helm/v3/internal/version.version={version}")],
    },
];

/// Unstamped, the API server calls itself `v0.0.0-master` and Helm's version checks fail.
fn kubernetes_stamps(version: &str) -> Vec<String> {
    let mut numbers = version.trim_start_matches('v').split('.');
    let major = numbers.next().unwrap_or_default();
    let minor = numbers.next().unwrap_or_default();
    let of_package = |package: &str| {
        vec![
            format!("{package}.gitVersion={version}"),
            format!("{package}.gitMajor={major}"),
            format!("{package}.gitMinor={minor}"),
            format!("{package}.gitCommit=unknown"),
            format!("{package}.gitTreeState=clean"),
        ]
    };
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
        .into_iter()
        .flat_map(of_package)
        .collect()
}

impl Tool {
    fn go_mod(&self) -> &'static str {
        self.sources.first().map_or("", |(_, text)| text)
    }

    /// The version that go.mod pins.
    pub(crate) fn version(&self) -> &'static str {
        golang::required(self.go_mod(), self.module).unwrap_or("v0.0.0")
    }

    /// The Go that go.mod asks for.
    fn needed_go(&self) -> &'static str {
        golang::needed(self.go_mod()).unwrap_or("1.26.0")
    }

    /// The flags of the linker: no symbols, which halves the file, and the version.
    pub(crate) fn linker_flags(&self) -> String {
        let stamps = (self.stamps)(self.version());
        stamps
            .iter()
            .fold(String::from("-s -w"), |flags, stamp| format!("{flags} -X {stamp}"))
    }

    /// A hash of everything that decides what the files contain.
    fn key(&self, go: &Go) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        };
        for (name, text) in self.sources.iter().chain(self.targets) {
            add(name);
            add(text);
        }
        self.links.iter().for_each(|link| add(link.name()));
        for part in [&go.version, &go.platform, golang::FLAGS, &self.linker_flags()] {
            add(part);
        }
        let mut key = HEXLOWER.encode(&hash.finalize());
        key.truncate(16);
        key
    }

    fn folder(&self, shelf: &Path, go: &Go) -> PathBuf {
        shelf.join(format!("{}-{}", self.name, self.key(go)))
    }
}

/// Every program of the control plane, ready to run.
#[derive(Clone, Debug)]
pub struct Tools {
    paths: BTreeMap<Program, PathBuf>,
}

impl Tools {
    /// Finds the programs and builds what is missing; `progress` gets a line per tool, and one each half minute.
    ///
    /// # Errors
    /// One sentence that says what to do: Go is missing or too old, a download or a build failed,
    /// or a variable names a file that does not exist.
    pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<Self> {
        Self::provide(&Program::ALL, progress)
    }

    /// The same with the programs of a real node, which are minutes more of building.
    ///
    /// # Errors
    /// As [`Self::ensure`].
    pub fn ensure_for_real_node(progress: &mut dyn FnMut(&str)) -> Result<Self> {
        let programs = [Program::ALL.as_slice(), &Program::OF_A_REAL_NODE].concat();
        Self::provide(&programs, progress)
    }

    /// The same for tests: none, said aloud, where no real node can run.
    /// Continuous integration that is root must run one.
    ///
    /// # Errors
    /// As [`Self::ensure`], and when continuous integration that is root cannot run one.
    pub fn of_a_real_node_or_skip() -> Result<Option<Self>> {
        // Not `eprintln`, which the test runner keeps to itself; nobody is left to tell when standard error is closed.
        let mut tell = |line: &str| drop(writeln!(std::io::stderr(), "{line}"));
        let Some(obstacle) = real::obstacle() else {
            return Self::ensure_for_real_node(&mut tell).map(Some);
        };
        if Process::is_root() && std::env::var_os("CI").is_some() {
            bail!(obstacle);
        }
        tell(&format!("SKIPPED: {obstacle}"));
        Ok(None)
    }

    fn provide(programs: &[Program], progress: &mut dyn FnMut(&str)) -> Result<Self> {
        let environment = Environment::of_process();
        let mut paths = BTreeMap::new();
        for program in programs {
            if let Some(path) = program.ready_made(&environment)? {
                paths.insert(*program, path);
            }
        }
        let is_missing = |program: &Program| programs.contains(program) && !paths.contains_key(program);
        let wanted: Vec<&Tool> = TOOLS
            .iter()
            .filter(|tool| tool.programs.iter().any(is_missing))
            .collect();
        if let Some(first) = wanted.first() {
            let shelf = environment.cache()?.join("tools");
            std::fs::create_dir_all(&shelf)
                .with_context(|| format!("the folder for the tools, {}, cannot be made", shelf.display()))?;
            let go = Go::installed(&shelf, first.needed_go()).map_err(|error| or_ready_made(&error))?;
            for (index, tool) in wanted.iter().enumerate() {
                go.check(tool.needed_go()).map_err(|error| or_ready_made(&error))?;
                let folder = tool.folder(&shelf, &go);
                let prefix = format!("[{}/{}] {} {}", index + 1, wanted.len(), tool.name, tool.version());
                builder::provide(tool, &folder, &mut |line| progress(&format!("{prefix}: {line}")))?;
                for program in tool.programs {
                    paths.entry(*program).or_insert_with(|| folder.join(program.name()));
                }
            }
        }
        Ok(Self { paths })
    }

    /// Whether the programs of a real node are among them.
    pub fn has_real_node(&self) -> bool {
        Program::OF_A_REAL_NODE
            .iter()
            .all(|program| self.paths.contains_key(program))
    }

    /// The file of a program that was asked for.
    pub fn path(&self, program: Program) -> &Path {
        self.paths
            .get(&program)
            .expect("the programs of a real node are asked for by `ensure_for_real_node`")
    }
}

/// Go is not the only way to the programs.
fn or_ready_made(error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}, or name ready-made programs with {ASSETS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go() -> Go {
        Go {
            version: "go1.26.8".into(),
            platform: "linux/amd64".into(),
        }
    }

    #[test]
    fn every_program_comes_from_exactly_one_tool() {
        for program in Program::ALL.into_iter().chain(Program::OF_A_REAL_NODE) {
            assert_eq!(
                TOOLS.iter().filter(|tool| tool.programs.contains(&program)).count(),
                1,
                "{program:?}"
            );
        }
    }

    #[test]
    fn every_tool_pins_its_version_and_its_go() {
        for tool in &TOOLS {
            assert_eq!(
                tool.sources.first().map(|(name, _)| *name),
                Some("go.mod"),
                "{}",
                tool.name
            );
            assert!(golang::required(tool.go_mod(), tool.module).is_some(), "{}", tool.name);
            assert!(golang::needed(tool.go_mod()).is_some(), "{}", tool.name);
        }
    }

    #[test]
    fn the_key_changes_with_go_and_platform_and_differs_between_tools() {
        let [kubernetes, etcd, ..] = &TOOLS;
        let newer = Go {
            version: "go1.26.9".into(),
            ..go()
        };
        let other = Go {
            platform: "linux/arm64".into(),
            ..go()
        };
        let keys = [
            etcd.key(&go()),
            etcd.key(&newer),
            etcd.key(&other),
            kubernetes.key(&go()),
        ];
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), keys.len());
        assert_eq!(etcd.key(&go()), etcd.key(&go()));
    }

    #[test]
    fn kubernetes_is_stamped_with_the_version_of_its_go_mod() {
        let [kubernetes, ..] = &TOOLS;
        let flags = kubernetes.linker_flags();
        let version = kubernetes.version();
        assert!(
            flags.contains(&format!("k8s.io/component-base/version.gitVersion={version}")),
            "{flags}"
        );
        assert!(
            flags.contains(&format!("k8s.io/client-go/pkg/version.gitVersion={version}")),
            "{flags}"
        );
        assert!(flags.contains("version.gitMajor=1 "), "{flags}");
    }
}
