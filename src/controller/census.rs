//! Asks which nodes there are: hourly, so that the records do not grow with nodes that are gone, and whenever a watch
//! began anew with a list that lacked some. Only a complete list made for the question answers it.

use std::collections::BTreeSet;
use std::time::Duration;

use daemonjob_core::index::{Changes, Index};
use daemonjob_core::names::{NodeUid, node_token};
use daemonjob_core::plan::Answer;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::Server;

/// Between two lists for the records.
const PAUSE: Duration = Duration::from_secs(3600);
/// Before a list that could not be read is asked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// What is asked, and what the last answer was.
pub(super) struct Census {
    not_before: Instant,
    list: JoinSet<Result<BTreeSet<NodeUid>, Answer>>,
    /// What the records told, when the list was asked for, of nodes that the cache does not know.
    strangers: BTreeSet<String>,
    /// Nodes were missing when the list was asked for: one from before says nothing of them.
    is_about_missing: bool,
    gone: BTreeSet<String>,
}

impl Census {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            not_before: now + PAUSE,
            list: JoinSet::new(),
            strangers: BTreeSet::new(),
            is_about_missing: false,
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

    /// A watch began anew with a list that lacked nodes: ask at once, unless that is under way or has just failed.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.list.is_empty() && self.not_before > now + AGAIN {
            self.not_before = now;
        }
    }

    /// Asks for a list if one is due and there is a question.
    pub(super) fn start(&mut self, now: Instant, index: &Index, server: &Server) {
        if self.not_before > now || !self.list.is_empty() {
            return;
        }
        self.not_before = now + PAUSE;
        let known: BTreeSet<String> = index.nodes().values().map(|node| node_token(&node.uid)).collect();
        let strangers = |record: &daemonjob_core::record::Record| record.strangers(&known).cloned().collect::<Vec<_>>();
        self.strangers = index
            .subjects()
            .flat_map(|subject| strangers(subject.record()))
            .collect();
        self.is_about_missing = index.is_missing_nodes();
        if self.strangers.is_empty() && !self.is_about_missing {
            return;
        }
        let server = server.clone();
        self.list.spawn(async move { server.node_uids().await });
    }

    /// Waits for a list that was asked for; forever if none was.
    pub(super) async fn listed(&mut self) -> Result<BTreeSet<NodeUid>, Answer> {
        match self.list.join_next().await {
            Some(Ok(listed)) => listed,
            Some(Err(panicked)) => Err(Answer {
                message: panicked.to_string(),
                ..Answer::default()
            }),
            None => std::future::pending().await,
        }
    }

    /// Takes in a list.
    pub(super) fn take(&mut self, live: &BTreeSet<NodeUid>, index: &mut Index) -> Changes {
        let live_tokens: BTreeSet<String> = live.iter().map(node_token).collect();
        self.gone = self.strangers.difference(&live_tokens).cloned().collect();
        if self.is_about_missing {
            index.confirm_missing(live)
        } else {
            Changes::default()
        }
    }

    /// The list could not be read.
    pub(super) fn failed(&mut self, now: Instant) {
        self.not_before = now + AGAIN;
    }
}
