//! What a cluster can do with the containers of its real node.

use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::{Cluster, REQUEST_TIMEOUT, USABLE_DEADLINE};
use crate::node::Node;
use crate::real::RealNode;
use crate::wait::until;

impl Cluster {
    /// Puts an image into the store of the real node: an OCI layout in a tar file, which names it `name`.
    ///
    /// # Errors
    /// When there is no real node, or the file is no such layout.
    pub fn import_image(&self, layout: &Path, name: &str) -> Result<()> {
        let node = self.real_node()?;
        node.import(layout)?;
        node.wait_for_image(name)
    }

    /// What containerd's `ctr`, in the namespace of Kubernetes, tells on the real node.
    ///
    /// # Errors
    /// When there is no real node, or ctr fails.
    pub fn ctr(&self, args: &[&str]) -> Result<String> {
        self.real_node()?.ctr(args)
    }

    /// Kills the kubelet of the real node; its containers go on.
    ///
    /// # Errors
    /// When there is no real node, or its kubelet is not running.
    pub fn stop_kubelet(&self) -> Result<()> {
        self.real_node()?.stop_kubelet()
    }

    /// Starts the kubelet of the real node again, and waits until the node is ready.
    ///
    /// # Errors
    /// When there is no real node, its kubelet is running, or the node does not become ready in time.
    pub fn start_kubelet(&self) -> Result<()> {
        let node = self.real_node()?;
        node.start_kubelet()?;
        self.wait_for_real_node(node)
    }

    fn real_node(&self) -> Result<&RealNode> {
        self.real.as_ref().context("the cluster has no real node")
    }

    /// It fails at once when the kubelet has ended.
    pub(crate) fn wait_for_real_node(&self, node: &RealNode) -> Result<()> {
        let nodes = [Node::new(node.name())];
        // A node that was ready before its kubelet was killed looks so for a while: the kubelet itself must answer.
        let health = format!("/api/v1/nodes/{}/proxy/healthz", node.name());
        until("the real node to be ready", USABLE_DEADLINE, || {
            if let Err(ended) = node.check_alive() {
                return Ok(Some(Err(ended)));
            }
            self.run(["get", "--raw", &health, REQUEST_TIMEOUT])?;
            self.check_nodes(&nodes).map(|()| Some(Ok(())))
        })?
    }
}
