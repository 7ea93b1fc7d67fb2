//! Reviews as an API server sends them, while others do harm.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client::{Client, Connection};

/// Between two reviews.
const PACE: Duration = Duration::from_millis(5);
/// When a review counts as lost; no API server waits as long.
const LOST: Duration = Duration::from_secs(30);

/// A steady stream of reviews: every other one on a connection of its own, the rest on connections that are kept.
#[derive(Debug)]
pub struct Genuine {
    client: Client,
    kept: Vec<Connection>,
    review: Vec<u8>,
}

/// How long reviews took, sorted.
#[derive(Clone, Debug)]
pub struct Took {
    /// From dialling to the answer.
    pub new: Vec<Duration>,
    /// On a connection that carried reviews before.
    pub kept: Vec<Duration>,
}

impl Genuine {
    /// Opens the connections that are kept; each carries a review at once.
    ///
    /// # Errors
    /// If one is not answered.
    pub async fn begin(client: &Client, kept: usize, review: Vec<u8>) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..kept {
            let mut connection = client.connect().await?;
            connection.ask_for_leave(&review).await?;
            connections.push(connection);
        }
        Ok(Self {
            client: client.clone(),
            kept: connections,
            review,
        })
    }

    /// Sends reviews until this many were sent and `is_over` says so.
    ///
    /// # Errors
    /// If one is not answered, or a connection that is kept breaks.
    pub async fn run(&mut self, at_least: usize, is_over: impl Fn() -> bool) -> Result<Took> {
        let mut took = Took {
            new: Vec::new(),
            kept: Vec::new(),
        };
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let count = self.kept.len();
        for turn in 0.. {
            if turn >= at_least && is_over() {
                break;
            }
            pace.tick().await;
            let begin = Instant::now();
            let new = async { self.client.connect().await?.ask_for_leave(&self.review).await };
            timeout(LOST, new)
                .await
                .context("a review was lost")?
                .context("on a new connection")?;
            took.new.push(begin.elapsed());

            let begin = Instant::now();
            let kept = self.kept[turn % count].ask_for_leave(&self.review);
            timeout(LOST, kept)
                .await
                .context("a review was lost")?
                .context("on a connection that is kept")?;
            took.kept.push(begin.elapsed());
        }
        took.new.sort();
        took.kept.sort();
        Ok(took)
    }
}
