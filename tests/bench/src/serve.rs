//! The process that is measured.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use daemonjob_webhook::{Endpoint, Observer, Reviewed, Settings, TlsVersion, bind};
use data_encoding::HEXLOWER;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::echo;

/// The name in the certificate.
pub(crate) const NAME: &str = "webhook.bench";
/// As many as the program gives to its webhook.
const THREADS: usize = 2;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Arm {
    /// Reads a body and answers 200 bytes.
    Echo,
    /// The same once it has read the body as JSON: the least that any webhook does.
    Reader,
    /// Ours.
    Webhook,
}

impl Arm {
    /// As the command line has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Reader => "reader",
            Self::Webhook => "webhook",
        }
    }
}

/// Serves on loopback until standard input ends, after printing one line: the address, and the certificate in hex.
///
/// # Errors
/// If it cannot listen.
pub fn serve(arm: Arm, files: Option<u64>) -> Result<()> {
    if let Some(files) = files {
        let limit = Rlimit {
            current: Some(files),
            ..getrlimit(Resource::Nofile)
        };
        setrlimit(Resource::Nofile, limit).context("the limit of open files cannot be lowered")?;
    }
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)?;
    let resolver = SingleCertAndKey::from(CertifiedKey::new(vec![made.cert.der().clone()], key));
    let certificate = HEXLOWER.encode(made.cert.der());

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    let address = runtime.block_on(start(
        arm,
        Arc::new(resolver),
        stop.clone(),
        &mut serving,
        runtime.handle(),
    ))?;
    writeln!(std::io::stdout(), "{address} {certificate}")?;
    // The owner says nothing; it only ends.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    stop.cancel();
    runtime.block_on(serving.join_next()).context("one task serves")??
}

async fn start(
    arm: Arm,
    resolver: Arc<dyn ResolvesServerCert>,
    stop: CancellationToken,
    serving: &mut JoinSet<Result<()>>,
    runtime: &tokio::runtime::Handle,
) -> Result<SocketAddr> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    match arm {
        Arm::Echo | Arm::Reader => {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            serving.spawn_on(echo::serve(listener, resolver, stop, echo::router(arm)), runtime);
            Ok(address)
        }
        Arm::Webhook => {
            let settings = Settings {
                address,
                min_tls: TlsVersion::V1_3,
                drain: Duration::ZERO,
            };
            let bound = bind(settings, Arc::new(Counts::default())).await?;
            let address = bound.local_address();
            serving.spawn_on(async { Ok(bound.serve(resolver, stop).await?) }, runtime);
            Ok(address)
        }
    }
}

/// Counts as the program's metrics do, without their text.
#[derive(Default)]
struct Counts {
    in_flight: AtomicU64,
    reviewed: AtomicU64,
    refused: AtomicU64,
}

impl Observer for Counts {
    fn began(&self, _: Endpoint) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, _: Endpoint) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn reviewed(&self, _: &Reviewed) {
        self.reviewed.fetch_add(1, Ordering::Relaxed);
    }

    fn connection_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}
