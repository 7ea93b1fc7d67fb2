//! The webhook on threads of its own: a controller that is busy keeps no review waiting.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use daemonjob_webhook::{Bound, Observer, Settings, WebhookError};
use rustls::server::ResolvesServerCert;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// A review takes microseconds; a second thread answers while a hostile one is read on the first.
const THREADS: usize = 2;

/// A webhook that owns its port and its threads.
pub(crate) struct Webhook {
    threads: Threads,
    bound: Bound,
}

impl Webhook {
    /// Starts the threads and takes the port.
    ///
    /// # Errors
    /// If the system has no thread left, or the address cannot be listened on.
    pub(crate) async fn start(settings: Settings, observer: Arc<dyn Observer>) -> anyhow::Result<Self> {
        let threads = Threads::start()?;
        // On those threads, because a socket belongs to the runtime that opened it.
        let bound = threads.run(daemonjob_webhook::bind(settings, observer)).await??;
        Ok(Self { threads, bound })
    }

    /// The address listened on.
    pub(crate) fn address(&self) -> SocketAddr {
        self.bound.local_address()
    }

    /// Serves until told to stop, and then as long as it drains. Dropped, it ends at once.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub(crate) async fn serve(
        self,
        resolver: Arc<dyn ResolvesServerCert>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let served: Result<(), WebhookError> = self.threads.run(self.bound.serve(resolver, stop)).await?;
        served.map_err(Into::into)
    }
}

/// A runtime that may be dropped on another one's threads.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> anyhow::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("webhook")
            .enable_all()
            .build()
            .context("cannot start the webhook's threads")?;
        Ok(Self(Some(runtime)))
    }

    async fn run<F>(&self, work: F) -> anyhow::Result<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let runtime = self.0.as_ref().context("the webhook's threads have ended")?;
        runtime.spawn(work).await.context("the webhook panicked")
    }
}

impl Drop for Threads {
    /// Without waiting: a runtime that is waited for on an asynchronous thread panics.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use daemonjob_certs::Resolver;
    use daemonjob_webhook::TlsVersion;
    use tokio::task::JoinSet;

    use super::*;
    use crate::metrics::Metrics;

    fn settings() -> Settings {
        Settings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            min_tls: TlsVersion::V1_3,
            drain: Duration::ZERO,
        }
    }

    /// The one thread of this test's runtime is blocked, as a plan over very many nodes would block it.
    #[tokio::test]
    async fn answers_while_every_thread_of_the_process_is_busy() {
        let webhook = Webhook::start(settings(), Arc::new(Metrics::new())).await.unwrap();
        let address = webhook.address();
        let stop = CancellationToken::new();
        let mut served = JoinSet::new();
        served.spawn(webhook.serve(Arc::new(Resolver::new()), stop.clone()));
        tokio::task::yield_now().await;

        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        let mut alert = [0];
        stream.read_exact(&mut alert).expect("it says that this is no TLS");
        assert_eq!(alert, [21], "the record type of an alert");

        stop.cancel();
        served.join_next().await.expect("one task").unwrap().unwrap();
    }

    #[tokio::test]
    async fn dropped_it_gives_its_port_back() {
        let webhook = Webhook::start(settings(), Arc::new(Metrics::new())).await.unwrap();
        let address = webhook.address();
        drop(webhook);
        std::net::TcpListener::bind(address).expect("the port is free");
    }
}
