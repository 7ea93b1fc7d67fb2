//! Heartbeats as a kubelet sends them: a node's status with nothing new in it but the time.

use std::path::Path;

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::de::IgnoredAny;
use serde_json::json;

/// On their way at once.
const WIDTH: usize = 16;

/// Sends so many heartbeats for each node.
pub(crate) fn send(kubeconfig: &Path, nodes: &[String], times: u8) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        let beats = (0..times).flat_map(|minute| nodes.iter().map(move |node| (minute, node)));
        stream::iter(beats)
            .map(|(minute, node)| beat(&client, node, minute))
            .buffer_unordered(WIDTH)
            .try_collect::<()>()
            .await
    })
}

async fn beat(client: &Client, node: &str, minute: u8) -> Result<()> {
    // A time of its own for each: the API server stores nothing where nothing changes.
    let time = format!("2001-01-01T00:{minute:02}:00Z");
    let patch = json!({"status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": time}]}});
    let request = Request::patch(format!("/api/v1/nodes/{node}/status"))
        .header(http::header::CONTENT_TYPE, "application/strategic-merge-patch+json")
        .body(patch.to_string().into_bytes())?;
    client.request::<IgnoredAny>(request).await?;
    Ok(())
}
