//! Keeps the records from growing with nodes that are gone: at most hourly, and only against a complete list.

use std::collections::BTreeSet;
use std::time::Duration;

use daemonjob_core::names::node_token;
use daemonjob_core::plan::Answer;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::Server;
use super::observe::Index;

/// Between two lists.
const PAUSE: Duration = Duration::from_secs(3600);

/// The tokens of nodes that are gone, as far as records held them when a complete list was asked for.
pub(super) struct Census {
    not_before: Instant,
    list: JoinSet<Result<BTreeSet<String>, Answer>>,
    gone: BTreeSet<String>,
}

impl Census {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            not_before: now + PAUSE,
            list: JoinSet::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Tokens of nodes that are gone. A UID never comes back, so they stay true.
    pub(super) fn gone(&self) -> &BTreeSet<String> {
        &self.gone
    }

    /// When the next list is due.
    pub(super) fn due(&self) -> Instant {
        self.not_before
    }

    /// Asks for a list if one is due and the records name nodes that the cache does not know.
    pub(super) fn start(&mut self, now: Instant, index: &Index, server: &Server) {
        if self.not_before > now {
            return;
        }
        self.not_before = now + PAUSE;
        let known: BTreeSet<String> = index.nodes().values().map(|node| node_token(&node.uid)).collect();
        let strangers: BTreeSet<String> = index
            .subjects()
            .flat_map(|subject| subject.record().strangers(&known).cloned().collect::<Vec<_>>())
            .collect();
        if strangers.is_empty() {
            return;
        }
        let server = server.clone();
        self.list.spawn(async move {
            let live: BTreeSet<String> = server.node_uids().await?.iter().map(node_token).collect();
            Ok(strangers.difference(&live).cloned().collect())
        });
    }

    /// Waits for a list that was asked for; forever if none was.
    pub(super) async fn listed(&mut self) -> Result<(), Answer> {
        match self.list.join_next().await {
            Some(Ok(Ok(gone))) => self.gone = gone,
            Some(Ok(Err(answer))) => return Err(answer),
            Some(Err(panicked)) => {
                return Err(Answer {
                    message: panicked.to_string(),
                    ..Answer::default()
                });
            }
            None => std::future::pending().await,
        }
        Ok(())
    }
}
