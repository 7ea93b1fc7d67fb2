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
    fn a_token_that_stands_there_twice_counts_where_it_stands_last_and_stands_there_once() {
        let node = NodeUid::new("n1");
        let group = |hash: &TemplateHash, succeeded: &str, failed: &str| FinishedNodes {
            template_hash: hash.to_string(),
            succeeded: succeeded.to_owned(),
            failed: failed.to_owned(),
        };
        let token = node_token(&node);
        let twice = format!("{token} {token}");
        let record = Record::read(&[group(&hash('b'), &twice, ""), group(&hash('a'), &token, &token)]);
        assert_eq!(record.of(&node), Some((hash('a').as_str(), Finish::Succeeded)));
        assert_eq!(record.render(), [group(&hash('a'), &token, "")]);
    }

    #[test]
    fn e41_5000_nodes_take_at_most_60_kb_whatever_they_ran() {
        let mut record = Record::default();
        for n in 0..5000_u32 {
            let template = char::from(b'a' + u8::try_from(n % 6).unwrap());
            let finish = if n % 7 == 0 { Finish::Failed } else { Finish::Succeeded };
            let uid = NodeUid::new(format!("0b8e7c1e-5a52-4a7b-9a4c-{n:012}"));
            record.finish(&uid, &hash(template), finish);
        }
        assert!(serde_json::to_vec(&record.render()).unwrap().len() <= 60_000);
    }

    /// Which node finished, how, and with which template.
    type Finished = (u16, bool, u8);

    fn recorded(finished: &[Finished]) -> Record {
        let mut record = Record::default();
        for (node, succeeded, template) in finished {
            let finish = if *succeeded { Finish::Succeeded } else { Finish::Failed };
            record.finish(&uid(*node), &hash(char::from(b'a' + template)), finish);
        }
        record
    }

    fn uid(node: u16) -> NodeUid {
        NodeUid::new(format!("uid-{node}"))
    }

    fn finished() -> impl Strategy<Value = Vec<Finished>> {
        prop::collection::vec((0_u16..80, any::<bool>(), 0_u8..4), 0..200)
    }

    /// One finish a node, in two orders.
    fn in_two_orders() -> impl Strategy<Value = (Vec<Finished>, Vec<Finished>)> {
        let nodes = prop::collection::btree_map(0_u16..500, (any::<bool>(), 0_u8..4), 0..100);
        nodes.prop_flat_map(|nodes| {
            let finished: Vec<Finished> = nodes.into_iter().map(|(node, (how, what))| (node, how, what)).collect();
            (Just(finished.clone()), Just(finished).prop_shuffle())
        })
    }

    /// Groups as no version of ours has written them: any hash, any tokens, any white space between.
    fn garbage() -> impl Strategy<Value = Vec<FinishedNodes>> {
        let tokens = || prop::collection::vec("[!-~é]{1,14}", 0..4).prop_map(|tokens| tokens.join(" \n "));
        let group = ("[!-~]{0,70}", tokens(), tokens()).prop_map(|(template_hash, succeeded, failed)| FinishedNodes {
            template_hash,
            succeeded,
            failed,
        });
        prop::collection::vec(group, 0..4)
    }

    /// All tokens of a record as it is written, a text list each.
    fn lists(record: &Record) -> Vec<String> {
        let groups = record.render().into_iter();
        let lists = groups.flat_map(|group| [group.succeeded, group.failed]);
        lists.filter(|list| !list.is_empty()).collect()
    }

    proptest! {
        #[test]
        fn reading_what_was_rendered_gives_the_same_record(finished in finished()) {
            let record = recorded(&finished);
            prop_assert_eq!(Record::read(&record.render()), record);
        }

        #[test]
        fn each_node_stands_once_under_what_it_finished_last(finished in finished()) {
            let record = recorded(&finished);
            let last: BTreeMap<u16, (bool, u8)> =
                finished.iter().map(|(node, succeeded, template)| (*node, (*succeeded, *template))).collect();
            for (node, (succeeded, template)) in &last {
                let (recorded, finish) = record.of(&uid(*node)).unwrap();
                prop_assert!(recorded.starts_with(char::from(b'a' + template)));
                prop_assert_eq!(finish == Finish::Succeeded, *succeeded);
            }
            let lists = lists(&record);
            let tokens: Vec<&str> = lists.iter().flat_map(|list| list.split(' ')).collect();
            let distinct: BTreeSet<String> = last.keys().map(|node| node_token(&uid(*node))).collect();
            prop_assert_eq!(tokens.len(), distinct.len());
            prop_assert!(tokens.iter().all(|token| distinct.contains(*token)));
        }

        #[test]
        fn what_is_written_is_sorted_and_takes_eleven_bytes_a_node(finished in finished()) {
            let groups = recorded(&finished).render();
            prop_assert!(groups.iter().map(|group| &group.template_hash).is_sorted_by(|a, b| a < b));
            prop_assert!(groups.iter().all(|group| !group.succeeded.is_empty() || !group.failed.is_empty()));
            for list in lists(&recorded(&finished)) {
                let tokens: Vec<&str> = list.split(' ').collect();
                prop_assert!(tokens.is_sorted_by(|a, b| a < b), "{}", list);
                prop_assert_eq!(list.len() + 1, 11 * tokens.len());
            }
        }

        #[test]
        fn records_of_the_same_finishes_are_the_same_text((finished, again) in in_two_orders()) {
            prop_assert_eq!(recorded(&finished).render(), recorded(&again).render());
            let mut groups = recorded(&finished).render();
            groups.reverse();
            prop_assert_eq!(Record::read(&groups), recorded(&finished));
        }

        #[test]
        fn what_is_not_understood_is_kept(groups in garbage(), node in any::<u16>()) {
            let mut record = Record::read(&groups);
            let read = record.clone();
            let written = groups.iter().flat_map(|group| [&group.succeeded, &group.failed]);
            let written: BTreeSet<&str> = written.flat_map(|list| list.split_whitespace()).collect();
            let kept = lists(&record);
            let kept: BTreeSet<&str> = kept.iter().flat_map(|list| list.split(' ')).collect();
            prop_assert_eq!(kept, written);
            record.finish(&uid(node), &hash('a'), Finish::Failed);
            record.forget(&uid(node));
            prop_assert_eq!(record, read);
        }
    }
}
