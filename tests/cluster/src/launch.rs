//! What a cluster is started with, and how that is said to kwokctl.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::command::run;
use crate::component::{Component, Home};
use crate::environment::Environment;
use crate::node::{FAKE, Node};
use crate::ports::Ports;
use crate::program::Program;
use crate::tools::Tools;

const STAGES: &str = include_str!("../stages.yaml");
/// For starting the processes, three seconds on an idle machine; whether they are usable we watch ourselves.
const LAUNCH_DEADLINE: &str = "60s";

/// One more argument for a component; it overrides what the launcher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraArg {
    /// Whose argument it is.
    pub component: Component,
    /// The flag, without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl ExtraArg {
    /// `--KEY=VALUE` for a component.
    pub fn new(component: Component, key: &str, value: &str) -> Self {
        Self {
            component,
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// What a cluster is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its name; a unique one by default.
    pub name: Option<String>,
    /// Its first nodes; none by default.
    pub nodes: Vec<Node>,
    /// An audit policy; the audit log is then at [`crate::Cluster::audit_log`].
    pub audit_policy: Option<String>,
    /// Further arguments of components.
    pub extra_args: Vec<ExtraArg>,
    /// The kwok Stages that say how nodes and Pods behave, whole; `tests/cluster/stages.yaml` by default.
    pub stages: Option<String>,
    /// The name of a node with a kubelet and containers of its own, beside the others; none by default.
    /// It needs root, and [`Tools::ensure_for_real_node`].
    pub real_node: Option<String>,
    /// The folder that holds a folder for each cluster; `target/clusters` by default.
    pub workdir: Option<PathBuf>,
}

impl Options {
    /// Defaults, with `node-1` to `node-COUNT`.
    pub fn with_nodes(count: usize) -> Self {
        Self {
            nodes: Node::several(count),
            ..Self::default()
        }
    }
}

/// Writes the files of the launcher and runs it to its end.
pub(crate) fn launch(
    tools: &Tools,
    environment: &Environment,
    folder: &Path,
    home: &Home,
    name: &str,
    options: &Options,
) -> Result<()> {
    let ports = home.network.ports(environment, folder)?;
    let policy = folder.join("audit-policy.yaml");
    if let Some(text) = &options.audit_policy {
        std::fs::write(&policy, text)?;
    }
    let audit_policy = options.audit_policy.as_ref().map(|_| policy.as_path());
    let config = folder.join("kwokctl.json");
    let stages = folder.join("stages.yaml");
    std::fs::write(
        &config,
        configuration(tools, ports, audit_policy, home, &options.extra_args).to_string(),
    )?;
    std::fs::write(&stages, options.stages.as_deref().unwrap_or(STAGES))?;

    // Started by a path in our folder, so that the reaper knows it as ours while it is still starting the others.
    let launcher = folder.join("kwokctl");
    std::os::unix::fs::symlink(tools.path(Program::Kwokctl), &launcher)?;
    let mut command = home.network.command(&launcher);
    for variable in environment.names_with("KWOK_") {
        command.env_remove(variable);
    }
    command
        .env("KWOK_WORKDIR", folder.join("kwok"))
        .args(["--name", name, "create", "cluster", "--timeout", LAUNCH_DEADLINE])
        .arg("--config")
        .arg(&config)
        .arg("--config")
        .arg(&stages)
        .arg("--kubeconfig")
        .arg(folder.join("kubeconfig"));
    let output = run(&mut command, None)?;
    std::fs::write(folder.join("kwokctl.log"), &output.stderr)?;
    if !output.is_success() {
        bail!("the control plane did not start: {}", last_message(&output.stderr));
    }
    Ok(())
}

/// The message of the launcher's last log line.
fn last_message(log: &str) -> String {
    let line = log
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("kwokctl printed nothing");
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        return line.to_owned();
    };
    let text = |key: &str| entry.get(key).and_then(Value::as_str).map(str::to_owned);
    [text("msg"), text("err")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ")
}

/// The launcher's configuration: JSON, which is YAML.
fn configuration(
    tools: &Tools,
    ports: Ports,
    audit_policy: Option<&Path>,
    home: &Home,
    extra_args: &[ExtraArg],
) -> Value {
    let mut options = json!({
        "runtime": "binary",
        "disableQPSLimits": true,
        "etcdBinary": tools.path(Program::Etcd),
        "etcdPort": ports.etcd(),
        "etcdPeerPort": ports.etcd_peer(),
        "kubeApiserverBinary": tools.path(Program::KubeApiserver),
        "kubeApiserverPort": ports.apiserver(),
        "kubeControllerManagerBinary": tools.path(Program::KubeControllerManager),
        "kubeControllerManagerPort": ports.controller_manager(),
        "kubeSchedulerBinary": tools.path(Program::KubeScheduler),
        "kubeSchedulerPort": ports.scheduler(),
        "kwokControllerBinary": tools.path(Program::Kwok),
        "kwokControllerPort": ports.kwok(),
    });
    for (key, value) in home.network.options() {
        options[key] = value;
    }
    if let Some(policy) = audit_policy {
        options["kubeAuditPolicy"] = json!(policy);
    }
    let arguments: Vec<ExtraArg> = own_args()
        .into_iter()
        .chain(home.network.arguments(&home.folder))
        .chain(extra_args.iter().cloned())
        .collect();
    json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
        "componentsPatches": patches(&arguments),
    })
}

/// Arguments by component, in their order: the last of equal flags counts.
fn patches(arguments: &[ExtraArg]) -> Value {
    let mut patches: BTreeMap<Component, Vec<Value>> = BTreeMap::new();
    for arg in arguments {
        patches
            .entry(arg.component)
            .or_default()
            .push(json!({"key": arg.key, "value": arg.value}));
    }
    patches
        .into_iter()
        .map(|(component, args)| json!({"name": component.name(), "extraArgs": args}))
        .collect()
}

fn own_args() -> [ExtraArg; 5] {
    let (key, value) = FAKE;
    [
        // A process that is killed loses nothing; only a power failure would.
        ExtraArg::new(Component::Etcd, "unsafe-no-fsync", "true"),
        // There is one of each. A leader that cannot renew ends itself, and nobody would start it again:
        // the cluster would not survive an API server that is stopped for 10 seconds.
        ExtraArg::new(Component::KubeControllerManager, "leader-elect", "false"),
        ExtraArg::new(Component::KubeScheduler, "leader-elect", "false"),
        // Lifeless nodes, and real ones, live beside the fake ones.
        ExtraArg::new(Component::KwokController, "manage-all-nodes", "false"),
        ExtraArg::new(
            Component::KwokController,
            "manage-nodes-with-annotation-selector",
            &format!("{key}={value}"),
        ),
    ]
}

/// Refuses what would not do as a folder and as part of a kubeconfig's names.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_plain) || name.starts_with('-') {
        bail!("`{name}` is no name for a cluster: use 1 to 40 of a-z, 0-9 and -, not starting with -");
    }
    Ok(())
}

/// The folder of all clusters, absolute and without links: processes are recognised by paths below it.
pub(crate) fn prepare_workdir(workdir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(workdir).with_context(|| format!("{} cannot be made", workdir.display()))?;
    workdir
        .canonicalize()
        .with_context(|| format!("{} cannot be read", workdir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_argument_follows_ours_and_so_overrides_it() {
        let leader_elect = |value: &str| ExtraArg::new(Component::KubeScheduler, "leader-elect", value);
        let patches = patches(&[leader_elect("false"), leader_elect("true")]);
        let scheduler = patches
            .as_array()
            .unwrap()
            .iter()
            .find(|patch| patch["name"] == "kube-scheduler")
            .unwrap();
        let of = |value: &str| json!({"key": "leader-elect", "value": value});
        assert_eq!(scheduler["extraArgs"], json!([of("false"), of("true")]));
    }

    #[test]
    fn names_are_plain() {
        for good in ["a", "dj-1-2", "0"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a/b", "..", "a b", &"a".repeat(41)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_last_message_of_the_launcher_is_shown_without_its_json() {
        let log = "{\"msg\":\"one\"}\n{\"msg\":\"Failed to start\",\"err\":\"port in use\"}\n\n";
        assert_eq!(last_message(log), "Failed to start: port in use");
        assert_eq!(last_message("panic: x"), "panic: x");
        assert_eq!(last_message(""), "kwokctl printed nothing");
    }
}
