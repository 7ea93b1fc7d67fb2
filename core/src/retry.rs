//! Running finished nodes once more without a change of the spec: the annotation asks, the status remembers.

use std::collections::BTreeSet;

use crate::names::{NodeName, NodeUid, node_token};
use crate::types::RetryStatus;

/// What the annotation asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Any word; each is handled once.
    pub token: String,
    /// These nodes, whatever their result; none named means all that failed.
    pub nodes: Option<BTreeSet<NodeName>>,
}

impl Request {
    /// Reads `TOKEN` or `TOKEN node-a,node-b`; nothing if there is no token.
    pub fn parse(text: &str) -> Option<Self> {
        let (token, nodes) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        let names = |text: &str| -> BTreeSet<NodeName> {
            let words = text.split(|c: char| c == ',' || c.is_whitespace());
            words.filter(|word| !word.is_empty()).map(NodeName::new).collect()
        };
        let nodes = Some(names(nodes)).filter(|nodes| !nodes.is_empty());
        (!token.is_empty()).then(|| Self {
            token: token.to_owned(),
            nodes,
        })
    }
}

/// How far a retry is: its token, and the nodes whose new Job has not been seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retry {
    token: String,
    pending: BTreeSet<String>,
}

impl Retry {
    /// A retry of no node yet.
    pub fn new(token: &str) -> Self {
        Self {
            token: token.to_owned(),
            pending: BTreeSet::new(),
        }
    }

    /// Reads what a status remembers.
    pub fn read(status: Option<&RetryStatus>) -> Self {
        status.map_or_else(Self::default, |status| Self {
            token: status.token.clone(),
            pending: status.pending.split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// What a status remembers of it; nothing if no retry was ever asked for.
    pub fn render(&self) -> Option<RetryStatus> {
        let pending: Vec<&str> = self.pending.iter().map(String::as_str).collect();
        (!self.token.is_empty()).then(|| RetryStatus {
            token: self.token.clone(),
            pending: pending.join(" "),
        })
    }

    /// The token, empty if no retry was ever asked for.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The token under which this node is to run again, if it is.
    pub fn pending(&self, node: &NodeUid) -> Option<&str> {
        // Most DaemonJobs have no retry, and a token costs a hash.
        (!self.pending.is_empty() && self.pending.contains(&node_token(node))).then_some(self.token.as_str())
    }

    /// The node is to run again.
    pub fn add(&mut self, node: &NodeUid) {
        self.pending.insert(node_token(node));
    }

    /// The node's new Job has been seen.
    pub fn remove(&mut self, node: &NodeUid) {
        self.pending.remove(&node_token(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(request: &Request) -> Vec<&str> {
        request.nodes.iter().flatten().map(NodeName::as_str).collect()
    }

    #[test]
    fn e45_a_request_is_a_token_and_maybe_nodes() {
        assert_eq!(Request::parse("  "), None);
        let all = Request::parse("2026-11-23").unwrap();
        assert_eq!((all.token.as_str(), &all.nodes), ("2026-11-23", &None));
        assert_eq!(names(&Request::parse("again n1,n2, n3").unwrap()), ["n1", "n2", "n3"]);
        assert_eq!(Request::parse("again ,").unwrap().nodes, None);
    }

    #[test]
    fn what_was_rendered_reads_back() {
        let mut retry = Retry::new("t");
        retry.add(&NodeUid::new("a"));
        retry.add(&NodeUid::new("b"));
        assert_eq!(Retry::read(retry.render().as_ref()), retry);
        assert_eq!(retry.pending(&NodeUid::new("a")), Some("t"));
        retry.remove(&NodeUid::new("a"));
        assert_eq!(retry.pending(&NodeUid::new("a")), None);
        assert_eq!(Retry::default().render(), None);
    }
}
