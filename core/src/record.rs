//! The record of finished work, `status.finishedNodes`: which node finished last with which template, and how.
//!
//! It is what keeps finished work from running again once its Job is gone, so nothing here ever guesses:
//! what is not understood is kept as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::hash::TemplateHash;
use crate::names::{NodeUid, node_token};
use crate::types::FinishedNodes;

/// How a node finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finish {
    /// Its Job failed.
    Failed,
    /// Its Job succeeded.
    Succeeded,
}

/// The decoded record: each node's last finish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    by_token: BTreeMap<String, (String, Finish)>,
}

impl Record {
    /// Reads the record from a status. A token that stands there twice counts where it stands last.
    pub fn read(finished: &[FinishedNodes]) -> Self {
        let mut by_token = BTreeMap::new();
        for group in finished {
            for (tokens, finish) in [(&group.failed, Finish::Failed), (&group.succeeded, Finish::Succeeded)] {
                for token in tokens.split_whitespace() {
                    by_token.insert(token.to_owned(), (group.template_hash.clone(), finish));
                }
            }
        }
        Self { by_token }
    }

    /// The template that the node finished last, and how.
    pub fn of(&self, node: &NodeUid) -> Option<(&str, Finish)> {
        self.by_token
            .get(&node_token(node))
            .map(|(hash, finish)| (hash.as_str(), *finish))
    }

    /// The node finished a run of this template.
    pub fn finish(&mut self, node: &NodeUid, hash: &TemplateHash, finish: Finish) {
        self.by_token
            .insert(node_token(node), (hash.as_str().to_owned(), finish));
    }

    /// The node has started another template: what it finished before counts no longer.
    pub fn forget(&mut self, node: &NodeUid) {
        self.by_token.remove(&node_token(node));
    }

    /// The tokens of nodes that are not among these.
    pub fn strangers<'a>(&'a self, known: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
        self.by_token.keys().filter(|token| !known.contains(*token))
    }

    /// Drops the tokens of nodes that are gone for good: a node's UID never comes back.
    pub fn drop_gone(&mut self, gone: &BTreeSet<String>) {
        self.by_token.retain(|token, _| !gone.contains(token));
    }

    /// The record as a status holds it, sorted, so that equal records are equal texts.
    pub fn render(&self) -> Vec<FinishedNodes> {
        let mut groups: BTreeMap<&str, (Vec<&str>, Vec<&str>)> = BTreeMap::new();
        for (token, (hash, finish)) in &self.by_token {
            let (succeeded, failed) = groups.entry(hash).or_default();
            match finish {
                Finish::Failed => failed.push(token),
                Finish::Succeeded => succeeded.push(token),
            }
        }
        groups
            .into_iter()
            .map(|(hash, (succeeded, failed))| FinishedNodes {
                template_hash: hash.to_owned(),
                succeeded: succeeded.join(" "),
                failed: failed.join(" "),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(c: char) -> TemplateHash {
        TemplateHash::parse(&c.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a_node_stands_only_under_what_it_finished_last() {
        let node = NodeUid::new("n1");
        let mut record = Record::default();
        record.finish(&node, &hash('a'), Finish::Failed);
        record.finish(&node, &hash('b'), Finish::Succeeded);
        assert_eq!(record.of(&node), Some((hash('b').as_str(), Finish::Succeeded)));
        assert_eq!(record.render().len(), 1);
        record.forget(&node);
        assert_eq!(record.render(), []);
    }

    #[test]
    fn e06_only_the_tokens_of_gone_nodes_are_dropped() {
        let (here, gone) = (NodeUid::new("here"), NodeUid::new("gone"));
        let mut record = Record::default();
        record.finish(&here, &hash('a'), Finish::Succeeded);
        record.finish(&gone, &hash('a'), Finish::Failed);
        let known = BTreeSet::from([node_token(&here)]);
        let strangers: BTreeSet<String> = record.strangers(&known).cloned().collect();
        assert_eq!(strangers, BTreeSet::from([node_token(&gone)]));
        record.drop_gone(&strangers);
        assert_eq!((record.of(&gone), record.of(&here).is_some()), (None, true));
    }

    #[test]
    fn e41_5000_nodes_take_at_most_60_kb() {
        let mut record = Record::default();
        for n in 0..5000 {
            record.finish(&NodeUid::new(format!("uid-{n}")), &hash('a'), Finish::Succeeded);
        }
        assert!(serde_json::to_vec(&record.render()).unwrap().len() <= 60_000);
    }

    proptest! {
        #[test]
        fn reading_what_was_rendered_gives_the_same_record(nodes in prop::collection::vec(("[a-z]{1,8}", prop::bool::ANY, 0_u8..3), 0..50)) {
            let mut record = Record::default();
            for (node, succeeded, template) in nodes {
                let finish = if succeeded { Finish::Succeeded } else { Finish::Failed };
                record.finish(&NodeUid::new(node), &hash(char::from(b'a' + template)), finish);
            }
            prop_assert_eq!(Record::read(&record.render()), record);
        }
    }
}
