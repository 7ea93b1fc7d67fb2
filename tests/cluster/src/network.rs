//! The network that a cluster lives in: loopback, or that of its real node.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::component::Component;
use crate::environment::Environment;
use crate::launch::ExtraArg;
use crate::ports::Ports;
use crate::real::{Entry, NODE_ADDRESS, SERVICE_ADDRESS, SERVICE_RANGE};

const LOOPBACK: &str = "127.0.0.1";
/// The API server insists on an address that is not loopback, and looks for one in the routes: a machine without a
/// network has none. This one is reserved for documentation; nothing in the cluster dials it.
const ADVERTISED: &str = "192.0.2.1";

/// Where the components listen, and how they are reached.
#[derive(Clone, Debug)]
pub(crate) enum Network {
    /// Beside everything else on the machine.
    Loopback,
    /// A network namespace, the way into which this is.
    OfNode(Entry),
}

impl Network {
    /// A program that reaches the cluster.
    pub(crate) fn command(&self, program: &Path) -> Command {
        match self {
            Self::Loopback => Command::new(program),
            Self::OfNode(entry) => entry.connect(program),
        }
    }

    /// Ports for the cluster in a folder.
    pub(crate) fn ports(&self, environment: &Environment, folder: &Path) -> Result<Ports> {
        match self {
            Self::Loopback => Ports::reserve(&environment.cache()?, folder),
            Self::OfNode(_) => Ok(Ports::alone()),
        }
    }

    /// What the launcher is told.
    pub(crate) fn options(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Loopback => vec![("bindAddress", json!(LOOPBACK))],
            Self::OfNode(_) => vec![
                ("bindAddress", json!("0.0.0.0")),
                ("kubeApiserverCertSANs", json!([SERVICE_ADDRESS, NODE_ADDRESS])),
            ],
        }
    }

    /// Arguments of components; `home` is the launcher's folder.
    pub(crate) fn arguments(&self, home: &Path) -> Vec<ExtraArg> {
        let apiserver = |key: &str, value: &str| ExtraArg::new(Component::KubeApiserver, key, value);
        match self {
            Self::Loopback => vec![apiserver("advertise-address", ADVERTISED)],
            Self::OfNode(_) => {
                let key = |file: &str| home.join("pki").join(file).to_string_lossy().into_owned();
                vec![
                    apiserver("advertise-address", NODE_ADDRESS),
                    apiserver("service-cluster-ip-range", SERVICE_RANGE),
                    // Services of webhooks are dialled at their Pods: there is no kube-proxy.
                    apiserver("enable-aggregator-routing", "true"),
                    apiserver("kubelet-client-certificate", &key("admin.crt")),
                    apiserver("kubelet-client-key", &key("admin.key")),
                    apiserver("kubelet-preferred-address-types", "InternalIP"),
                ]
            }
        }
    }
}
