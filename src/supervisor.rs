//! Starts every part and awaits every part: the first that ends early ends the process, and none dies unseen.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use daemonjob_certs::{MountedPair, Resolver};
use daemonjob_webhook::TlsVersion;
use http::header::{self, HeaderValue};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admin::{self, Readiness};
use crate::certificates::Keeper;
use crate::config::{CertsMode, MinTls, RunArgs};
use crate::controller::{self, Clients};
use crate::lease::Elector;
use crate::metrics::Metrics;
use crate::webhook::Webhook;

/// A part of the process: its name and how it ended.
type Ended = (&'static str, anyhow::Result<()>);

/// How the process ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything was finished.
    Finished,
    /// A second signal came before everything was finished.
    Interrupted,
}

/// Runs the process until a signal, or until a part of it ends.
///
/// # Errors
/// The first part that could not start or ended early.
pub(crate) async fn run(args: RunArgs) -> anyhow::Result<End> {
    let stop = CancellationToken::new();
    let mut parts = JoinSet::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let started = start(args, &mut parts, &stop);
    tokio::select! {
        started = started => started?,
        _ = terminate.recv() => return Ok(End::Interrupted),
        _ = interrupt.recv() => return Ok(End::Interrupted),
    }
    let first = tokio::select! {
        ended = parts.join_next() => ended,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    if first.is_none() {
        info!("stopping; a second signal stops at once");
    }
    stop.cancel();
    let rest = async {
        let mut ended = first.map(|ended| early(&ended)).transpose();
        while let Some(part) = parts.join_next().await {
            let part = part
                .context("a part of the process panicked")
                .and_then(|(_, ended)| ended);
            ended = ended.and_then(|_| part.map(Some));
        }
        ended
    };
    tokio::select! {
        ended = rest => ended.map(|_| End::Finished),
        _ = terminate.recv() => Ok(End::Interrupted),
        _ = interrupt.recv() => Ok(End::Interrupted),
    }
}

/// No part may end before it is told to.
fn early(ended: &Result<Ended, tokio::task::JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok((part, Ok(()))) => anyhow::bail!("the {part} ended by itself"),
        Ok((part, Err(error))) => anyhow::bail!("the {part} failed: {error:#}"),
        Err(error) => anyhow::bail!("a part of the process panicked: {error}"),
    }
}

async fn start(args: RunArgs, parts: &mut JoinSet<Ended>, stop: &CancellationToken) -> anyhow::Result<()> {
    let config = cluster(args.kubeconfig.as_ref()).await?;
    let url = config.cluster_url.to_string();
    let clients = Clients {
        watch: Client::try_from(config.clone())?,
        write: Client::try_from(config)?,
    };
    let metrics = Arc::new(Metrics::new());
    let readiness = Readiness::default();
    // Ports first: a port in use should be told before anything touches the cluster.
    let listener = admin::bind(args.admin_address).await?;
    let page = Arc::clone(&metrics);
    let (ready, until) = (readiness.clone(), stop.clone());
    parts.spawn(async move {
        admin::serve(listener, page, ready, until).await;
        ("server of health and metrics", Ok(()))
    });
    if args.webhook {
        start_webhook(&args, &clients.write, &metrics, &readiness, parts, stop).await?;
    }
    if args.controller {
        controller::preflight(&clients.write, &args.scopes(), &url).await?;
        start_controller(&args, clients, &metrics, parts, stop);
    }
    if !args.webhook {
        readiness.set(true);
    }
    info!(
        webhook = args.webhook,
        controller = args.controller,
        cluster = url,
        "started"
    );
    Ok(())
}

/// How the process calls itself.
const USER_AGENT: &str = concat!("daemonjob/", env!("CARGO_PKG_VERSION"));

/// An answer that does not begin for so long is not waited for any more: a connection may die without a word.
/// A first list of Nodes may take a minute (cases.md F8), and of a watch something is heard more often than that.
const SILENCE: Duration = Duration::from_secs(90);

/// The cluster to work in, with the client's own retries off: each would repeat a write that is planned anew anyway.
async fn cluster(kubeconfig: Option<&PathBuf>) -> anyhow::Result<kube::Config> {
    let mut config = match kubeconfig {
        Some(file) => {
            let read = Kubeconfig::read_from(file)
                .with_context(|| format!("cannot read the kubeconfig {}", file.display()))?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} names no usable cluster", file.display()))?
        }
        None => kube::Config::infer()
            .await
            .context("no cluster found: not running in one, and no kubeconfig (give one with --kubeconfig)")?,
    };
    config.default_retry = false;
    config.read_timeout = Some(SILENCE);
    // Or the time that a kept connection was idle would count.
    config.reset_reader_on_write = true;
    // Audit logs and API priority rules tell programs apart by it.
    config
        .headers
        .push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    Ok(config)
}

async fn start_webhook(
    args: &RunArgs,
    client: &Client,
    metrics: &Arc<Metrics>,
    readiness: &Readiness,
    parts: &mut JoinSet<Ended>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let settings = daemonjob_webhook::Settings {
        address: args.webhook_address,
        min_tls: match args.tls_min_version {
            MinTls::V1_2 => TlsVersion::V1_2,
            MinTls::V1_3 => TlsVersion::V1_3,
        },
        drain: args.drain(),
    };
    let observer: Arc<dyn daemonjob_webhook::Observer> = Arc::<Metrics>::clone(metrics);
    let webhook = Webhook::start(settings, observer).await?;
    info!(address = %webhook.address(), "the webhook listens");
    let resolver = Arc::new(Resolver::new());
    let serving: Arc<Resolver> = Arc::clone(&resolver);
    let until = stop.clone();
    parts.spawn(async move { ("webhook", webhook.serve(serving, until).await) });

    let keeper = Keeper {
        resolver: Arc::clone(&resolver),
        readiness: readiness.clone(),
        metrics: Arc::clone(metrics),
    };
    let (args, client, until) = (args.clone(), client.clone(), stop.clone());
    parts.spawn(async move {
        match (args.certs_mode, args.certs_dir.clone()) {
            (CertsMode::CertManager | CertsMode::ExistingSecret, Some(folder)) => {
                keeper.keep_mounted(MountedPair::new(folder, resolver), until).await;
            }
            (CertsMode::CertManager | CertsMode::ExistingSecret | CertsMode::Own, _) => {
                keeper.keep_own(client, &args, until).await;
            }
        }
        ("keeper of the certificate", Ok(()))
    });
    Ok(())
}

fn start_controller(
    args: &RunArgs,
    clients: Clients,
    metrics: &Arc<Metrics>,
    parts: &mut JoinSet<Ended>,
    stop: &CancellationToken,
) {
    let identity = args.identity();
    let (elector, fence, leading) = Elector::new(clients.write.clone(), &args.namespace, &args.lease_name, &identity);
    let until = stop.clone();
    parts.spawn(async move {
        elector.run(until).await;
        ("leader election", Ok(()))
    });
    let settings = controller::Settings {
        identity,
        scopes: args.scopes(),
        passing_taints: args.passing_taints.clone(),
        writes_per_second: args.writes_per_second,
    };
    let (metrics, until) = (Arc::clone(metrics), stop.clone());
    parts.spawn(async move {
        let followed = controller::follow_lead(clients, fence, leading, metrics, settings, until).await;
        ("controller", followed.map_err(Into::into))
    });
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use kube::Api;
    use kube::api::ListParams;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn f06_f13_a_list_that_is_never_answered_is_given_up() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", silent.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kubeconfig");
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {}}],
        });
        std::fs::write(&file, kubeconfig.to_string()).unwrap();

        let client = Client::try_from(cluster(Some(&file)).await.unwrap()).unwrap();
        let nodes: Api<Node> = Api::all(client);
        let listed = tokio::time::timeout(2 * SILENCE, nodes.list(&ListParams::default())).await;
        assert!(listed.expect("it does not wait for ever").is_err());
    }
}
