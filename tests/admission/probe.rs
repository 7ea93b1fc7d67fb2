//! An API server of our own, for what the real one does too seldom: a handshake with every replica that is asked, many
//! times a second, trusting what both configurations say just then (I15).

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::balancer::Endpoint;

const NAME: &str = "daemonjob";
const PAUSE: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(10);

/// Handshakes until it is stopped.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Shaken>>,
}

/// What came of them.
#[derive(Debug, Default)]
pub(crate) struct Shaken {
    /// How many succeeded.
    pub(crate) count: u64,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
    /// What went wrong after the probe itself had been kept waiting, with trust older than any API server's may be.
    pub(crate) stale: Vec<String>,
}

impl Probe {
    /// Begins with these replicas. `fresh` is for how long an API server may go by what it has read: the soak.
    pub(crate) fn start(kubeconfig: &Path, endpoints: Vec<Endpoint>, fresh: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let kubeconfig = kubeconfig.to_owned();
        let thread = std::thread::spawn(move || shake(&kubeconfig, &endpoints, fresh, &until));
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Shaken {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .expect("it does not panic")
            .expect("the configurations can be read")
    }
}

fn shake(kubeconfig: &Path, endpoints: &[Endpoint], fresh: Duration, stop: &AtomicBool) -> Result<Shaken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = runtime.block_on(client(kubeconfig))?;
    let mut shaken = Shaken::default();
    while !stop.load(Ordering::Relaxed) {
        let read_at = Instant::now();
        for bundle in runtime.block_on(bundles(&client))? {
            let config = trusting(&bundle)?;
            for endpoint in endpoints {
                let shaken_hands = handshake(Arc::clone(&config), endpoint.webhook);
                let told = |error| format!("{}: {error:#}", endpoint.webhook);
                match shaken_hands.map_err(told) {
                    Ok(()) => shaken.count += 1,
                    Err(error) if read_at.elapsed() < fresh => shaken.failures.push(error),
                    Err(error) => shaken.stale.push(error),
                }
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(shaken)
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

async fn bundles(client: &Client) -> Result<[Vec<u8>; 2]> {
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone())
        .get(NAME)
        .await?;
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone())
        .get(NAME)
        .await?;
    let first = mutating
        .webhooks
        .and_then(|mut hooks| hooks.pop())
        .map(|hook| hook.client_config);
    let second = validating
        .webhooks
        .and_then(|mut hooks| hooks.pop())
        .map(|hook| hook.client_config);
    let bundle = |config: Option<WebhookClientConfig>| config.and_then(|config| config.ca_bundle).map(|bytes| bytes.0);
    Ok([bundle(first), bundle(second)].map(Option::unwrap_or_default))
}

fn trusting(bundle: &[u8]) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn handshake(config: Arc<ClientConfig>, address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).context("connect")?;
    stream.set_read_timeout(Some(ANSWER))?;
    let mut connection = ClientConnection::new(config, ServerName::from(address.ip()))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).context("handshake")?;
    }
    Ok(())
}
