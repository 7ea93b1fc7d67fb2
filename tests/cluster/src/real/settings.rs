//! The configuration files of containerd and the kubelet.

use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::images::PAUSE;

/// The addresses of Pods.
const POD_RANGE: &str = "10.89.0.0/24";

/// containerd's, and that of the Pods' network.
pub(crate) fn write_containerd(folder: &Path, network_plugins: &Path) -> Result<()> {
    let networks = folder.join("networks");
    fs::create_dir_all(&networks)?;
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }],
    });
    fs::write(networks.join("10-pods.conflist"), network.to_string())?;
    fs::write(
        folder.join("containerd.toml"),
        containerd(&folder.join("bin/runc"), network_plugins, &networks),
    )?;
    Ok(())
}

/// Every path is that of the node's own mounts; the native snapshotter works on any file system.
fn containerd(runc: &Path, network_plugins: &Path, networks: &Path) -> String {
    // A JSON string is a TOML string.
    let text = |path: &Path| json!(path.to_string_lossy()).to_string();
    format!(
        r#"version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "native"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [{}]
conf_dir = {}

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
snapshotter = "native"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
BinaryName = {}
"#,
        text(network_plugins),
        text(networks),
        text(runc)
    )
}

/// The kubelet's: as strict to its callers as a real cluster's, and calm about a full disk.
pub(crate) fn write_kubelet(folder: &Path, cgroup: &str, pki: &Path) -> Result<()> {
    let names = folder.join("resolv.conf");
    // No name service, and never that of the machine.
    fs::write(&names, "")?;
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.join("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": names,
        "readOnlyPort": 0,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
    });
    fs::write(folder.join("kubelet.yaml"), config.to_string())?;
    Ok(())
}
